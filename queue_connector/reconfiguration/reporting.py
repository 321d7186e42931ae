"""What tells a configuration database how something is, whenever that changes."""

from __future__ import annotations

import abc
from collections.abc import Callable, Sequence

import trio

from ..configdb import ConfigDatabase

PAUSE = 0.02
"""Seconds from one round of writing to the next: what changes meanwhile is told together."""

FIRST_RETRY = 0.05
"""Seconds before a write that failed is tried again for the first time."""


class Reporting(abc.ABC):
    """Writes what has changed; *on_change* is called when there are other `problems`."""

    def __init__(self, database: ConfigDatabase, on_change: Callable[[], None]) -> None:
        self._database = database
        self._on_change = on_change
        self._changed = trio.Event()
        self._up_to_date = trio.Event()

    @property
    @abc.abstractmethod
    def problems(self) -> Sequence[str]:
        """What keeps the states from being told, for people."""

    @abc.abstractmethod
    async def run(self) -> None:
        """Tell until cancelled."""

    def changed(self) -> None:
        """Something may be another way than was told."""
        self._changed.set()
        if self._up_to_date.is_set():  # who waits for it already goes on waiting for the next
            self._up_to_date = trio.Event()

    async def reported(self) -> None:
        """Wait until the database has been told how all is now."""
        await self._up_to_date.wait()
