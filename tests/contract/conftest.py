"""Fixtures of the contract tests: an embedded broker for all, and one of its own to be hurt."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from queue_connector.demo.embedded_broker import embedded_broker


@pytest.fixture(scope="session")
def broker() -> Iterator[str]:
    """The bootstrap servers of a broker that the tests share."""
    with embedded_broker() as servers:
        yield servers


@pytest.fixture
def own_broker() -> Iterator[tuple[str, psutil.Process]]:
    """A broker for one test, and its process, which may be suspended and resumed."""
    before = set(psutil.Process().children())
    with embedded_broker() as servers:
        (process,) = set(psutil.Process().children()) - before
        yield servers, process
        process.resume()
