"""Whether Graphviz is there, which draws the pictures of ``queue-connector graph``."""

from __future__ import annotations

import shutil

from tests.services.fixtures import unavailable
from tests.services.process import ServiceUnavailable


def need_dot() -> None:
    """Skip where there is no ``dot``; fail there under ``CI``."""
    if shutil.which("dot") is None:
        unavailable(ServiceUnavailable("there is no dot: make graphviz installs it"))
