"""The main counts of a device as numeric attributes, for archivers and whoever reads no JSON.

Nothing is pushed: they are counted when somebody reads them, or when Tango polls them.
"""

from __future__ import annotations

from collections.abc import Mapping

from tango.server import attribute

from ..engine.supervisor import Supervisor
from ..runtime.worker import current_thread
from .trio_device import TrioDevice

MOST_THREADS = 64
"""Threads of Tango's whose counts are kept; beyond them all are taken anew."""


class CountingDevice(TrioDevice):
    """Tells what all its exchanges have counted together, see `Supervisor.totals`."""

    def init_device(self) -> None:
        """Begin anew: nothing was counted."""
        # By Tango's thread: for Python it is another one in each call, see `current_thread`.
        self._taken: dict[int, Mapping[str, int]] = {}
        super().init_device()

    def read_attr_hardware(self, attributes: list[int]) -> None:
        """Called once before the attributes that a client reads together."""
        super().read_attr_hardware(attributes)
        if len(self._taken) > MOST_THREADS:
            self._taken.clear()
        self._taken.pop(current_thread(), None)

    def _total(self, key: str) -> int:
        """One of the counts; those that are read together are of one instant."""
        thread = current_thread()
        counts = self._taken.get(thread)
        if counts is None:
            counts = self._taken[thread] = self._answer(Supervisor.totals)
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
