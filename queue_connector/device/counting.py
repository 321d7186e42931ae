"""The main counts of a device as numeric attributes, for archivers and whoever reads no JSON.

Nothing is pushed: they are counted when somebody reads them, or when Tango polls them.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping

from tango.server import attribute

from ..engine.supervisor import Supervisor
from .trio_device import TrioDevice

MIN_AGE = 0.1
"""Seconds for which the counts are told again: those that are read together are of one instant."""


class CountingDevice(TrioDevice):
    """Tells what all its exchanges have counted together, see `Supervisor.totals`."""

    _counts: tuple[float, Mapping[str, int]] = (-math.inf, {})

    def _total(self, key: str) -> int:
        taken, counts = self._counts
        if time.monotonic() - taken >= MIN_AGE:
            counts = self._answer(Supervisor.totals)
            self._counts = (time.monotonic(), counts)
        return counts.get(key, 0)

    @attribute(dtype="int64", unit="data")
    def dataReceived(self) -> int:
        """Data that came to all exchanges: all that the next ones account for."""
        return self._total("received")

    @attribute(dtype="int64", unit="data")
    def dataDelivered(self) -> int:
        """Data that every sink of their exchange has accepted."""
        return self._total("delivered")

    @attribute(dtype="int64", unit="data")
    def dataFiltered(self) -> int:
        """Data that pipes left out, as they were told to."""
        return self._total("filtered")

    @attribute(dtype="int64", unit="data")
    def dataDropped(self) -> int:
        """Data that were given up, for whatever reason."""
        return self._total("dropped")

    @attribute(dtype="int64", unit="data")
    def dataFailed(self) -> int:
        """Data that could not be used, skipped or dead-lettered ones too."""
        return self._total("failed")

    @attribute(dtype="int64", unit="data")
    def dataInFlight(self) -> int:
        """Data that are on their way right now."""
        return self._total("in_flight")

    @attribute(dtype="int64")
    def upstreamTrouble(self) -> int:
        """What went wrong before the sources, such as lost events; it is no datum."""
        return self._total("upstream")

    @attribute(dtype="int64", unit="exchanges")
    def exchangesPaused(self) -> int:
        """Exchanges that take nothing in, since the command Pause was given."""
        return self._total("paused")
