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


def _count(key: str, doc: str, unit: str = "data") -> attribute:
    """An attribute that tells one of the counts."""

    def read(self: CountingDevice) -> int:
        return self._total(key)

    return attribute(read, dtype="int64", unit=unit, doc=doc)


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

    dataReceived = _count(
        "received", "Data that came to all exchanges: all that the next ones account for."
    )
    dataDelivered = _count("delivered", "Data that every sink of their exchange has accepted.")
    dataFiltered = _count("filtered", "Data that pipes left out, as they were told to.")
    dataDropped = _count("dropped", "Data that were given up, for whatever reason.")
    dataFailed = _count("failed", "Data that could not be used, skipped or dead-lettered ones too.")
    dataInFlight = _count("in_flight", "Data that are on their way right now.")
    upstreamTrouble = _count(
        "upstream",
        "What went wrong before the sources, such as lost events; it is no datum.",
        unit="",
    )
    exchangesPaused = _count(
        "paused",
        "Exchanges that take nothing in, since the command Pause was given.",
        unit="exchanges",
    )
