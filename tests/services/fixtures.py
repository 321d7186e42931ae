"""What the fixtures of services share: a service in a directory of its own, or a reason to skip."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, TypeVar

import pytest

from tests.services.process import ServiceProcess, ServiceUnavailable

S = TypeVar("S", bound=ServiceProcess)


def unavailable(error: ServiceUnavailable) -> NoReturn:
    """Skip the test; fail it where ``CI`` is set."""
    if os.environ.get("CI"):
        pytest.fail(f"{error} (and CI is set, so this is no skip)", pytrace=False)
    pytest.skip(str(error))


@contextlib.contextmanager
def running(make: Callable[[Path], S]) -> Iterator[S]:
    """The service that *make* makes of an empty directory, while it runs."""
    with tempfile.TemporaryDirectory(prefix="service-", ignore_cleanup_errors=True) as directory:
        try:
            server = make(Path(directory))
        except ServiceUnavailable as error:
            unavailable(error)
        with server:
            yield server
