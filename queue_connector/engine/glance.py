"""The last datum that an exchange has handed on to its sinks, while somebody looks at it.

It is kept as it is, only while it is asked for, and until the next batch after `LEASE`. Else a
batch costs one comparison.
"""

from __future__ import annotations

import time

from ..model.datatypes import Data
from ..model.ledger import Batch

LEASE = 10.0
"""Seconds for which the last datum is kept without being asked for."""


class Glance:
    """At one exchange; used on the Trio thread."""

    def __init__(self) -> None:
        self.value: Data | None = None
        """The last one since it was opened; None: there was none."""
        self._until = time.monotonic() + LEASE

    def asked(self) -> Data | None:
        """The last datum, which somebody asks for."""
        self._until = time.monotonic() + LEASE
        return self.value

    def handed_on(self, batch: Batch) -> bool:
        """What the sinks are given; False: nobody has asked for long."""
        self.value = batch.values[-1]
        return time.monotonic() < self._until
