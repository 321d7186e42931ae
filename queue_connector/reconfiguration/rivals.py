"""Other devices that write where one device writes, told from what a dead one has left there.

A device that was killed and started again leaves a record and a lease behind for some seconds, but
nobody who renews the lease; so another device is one whose lease is seen to be renewed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import attrs
import trio

from ..configdb import ConfigDatabase

MAX_RIVALS = 10
"""Other devices that are looked after."""

CLEARLY = 1.5
"""Seconds by which the end of a lease moves when it was renewed, whatever the server rounds."""

log = logging.getLogger(__name__)


@attrs.define
class _Rival:
    name: str
    ends: float
    """When its lease was to end, as it was first seen."""
    alive: bool = False
    """Whether it has renewed it since."""


class Rivals:
    """Those of one device below one path."""

    def __init__(self, database: ConfigDatabase, path: str, on_change: Callable[[], None]) -> None:
        self._database = database
        self._path = path
        self._on_change = on_change
        self._known: dict[int, _Rival] = {}

    @property
    def problems(self) -> list[str]:
        """A line for each that lives."""
        names = {rival.name for rival in self._known.values() if rival.alive}
        return [self._problem(name) for name in sorted(names)]

    def _problem(self, name: str) -> str:
        return f"{self._path} is watched by {name} too: give each device a path of its own"

    async def meet(self, name: str, lease: int) -> bool:
        """Something by another device was found under this lease: whether that may live.

        Raises:
            EndpointError: it is not known.
        """
        remaining = await self._database.lease_remaining(lease)
        if remaining is None:
            return False
        if lease not in self._known and len(self._known) < MAX_RIVALS:
            self._known[lease] = _Rival(name, trio.current_time() + remaining)
            self._judge(self._known[lease], remaining)
        return True

    async def look(self) -> None:
        """Whether those that were met live, or have gone.

        Raises:
            EndpointError: it is not known.
        """
        for lease, rival in list(self._known.items()):
            remaining = await self._database.lease_remaining(lease)
            if remaining is not None:
                self._judge(rival, remaining)
                continue
            del self._known[lease]
            if rival.alive:
                log.info("%s: %s has gone", self._path, rival.name)
                self._on_change()

    def _judge(self, rival: _Rival, remaining: float) -> None:
        renewed = trio.current_time() + remaining > rival.ends + CLEARLY
        if not rival.alive and (renewed or math.isinf(remaining)):
            rival.alive = True
            log.warning("%s", self._problem(rival.name))
            self._on_change()
