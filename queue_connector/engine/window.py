"""How much may be under way in an exchange, by number and by bytes.

* size      what values take up is told by their source, or estimated by `size_of`; what a batch
            takes up beside them is `UNDER_WAY`
* share     the more exchanges a device has, the less may be under way in each, see `ALL_BYTES`:
            what does not come in waits at its source, where it takes up least
* limits    whoever brings more than there is room for waits, first come, first served; what comes
            together is let in whole as soon as nothing is under way, however much it is
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext

import numpy as np
import trio

from ..model.datatypes import Data
from ..model.shared import Shared
from ..model.shares import Shares

MOST_DATA = 10_000
"""Data that may be under way between pipe and sinks, and as many that may wait in front of them."""

MOST_BYTES = 8 * 2**20
"""Their bytes, about: of large data, more than one under way is memory and no speed."""

ALL_BYTES = 64 * 2**20
"""Bytes, about, that may be under way in all exchanges of a device; each has its share of it."""

UNDER_WAY = 4096
"""Bytes that one batch on its way takes up beside its values, about: most of it is what a sink and
its client keep until it is acknowledged. Measured with single data under way to Kafka."""

WAITING = 512
"""Bytes that one batch takes up beside its values while it waits in front of a pipe, about."""

OVERHEAD = 64
"""Bytes of one Python object and the reference to it, about."""


class Window:
    """Counts what is inside; `enter` waits for room."""

    def __init__(self, count: float = MOST_DATA, size: float = MOST_BYTES) -> None:
        self.count = 0
        self.size = 0
        self._most = count
        self._most_bytes = self._own_bytes = size
        self._waiting = trio.lowlevel.ParkingLot()

    def resize(self, share: int) -> None:
        """Have this share of the room of all, in bytes; not more than it was made for."""
        self._most_bytes = min(share, self._own_bytes)
        if self._waiting:
            self._waiting.unpark()

    def has_room(self, count: int, size: int) -> bool:
        """Whether so much may come in now."""
        if not self.count:
            return True
        return self.count + count <= self._most and self.size + size <= self._most_bytes

    async def enter(self, count: int, size: int) -> None:
        """Wait until there is room, and take it. Cancelled, nothing was taken.

        It is no checkpoint where there is room at once.
        """
        while not self.has_room(count, size):
            await self._waiting.park()
        self.count += count
        self.size += size
        if self._waiting:
            self._waiting.unpark()  # there may be room for one more, which asks itself

    def add(self, count: int, size: int) -> None:
        """Take so much in, whether there is room or not."""
        self.count += count
        self.size += size

    async def room(self) -> None:
        """Wait until something may come in."""
        while not self.has_room(1, 0):
            await self._waiting.park()
        if self._waiting:
            self._waiting.unpark()

    def leave(self, count: int, size: int) -> None:
        """So much is not inside any more."""
        self.count -= count
        self.size -= size
        if self._waiting:
            self._waiting.unpark()


@asynccontextmanager
async def sharing(shared: Shared, windows: Sequence[Window]) -> AsyncIterator[None]:
    """These windows have their share of the room that all exchanges of a device have."""
    async with shared.use(Shares, lambda: nullcontext(Shares(ALL_BYTES))) as shares:
        for window in windows:
            shares.add(window, window.resize)
        try:
            yield
        finally:
            for window in windows:
                shares.remove(window)


def size_of(values: Sequence[Data]) -> int:
    """Bytes of memory that these values take up, about; all of them are of one kind."""
    if not len(values):  # it may be an array
        return 0
    first = values[0]
    if isinstance(first, bool | int | float | complex | np.generic):  # all are as large
        return (OVERHEAD + getattr(first, "nbytes", 0)) * len(values)
    return sum(map(_size, values))


def _size(value: Data) -> int:
    if isinstance(value, tuple):  # bytes, with their encoding
        return OVERHEAD + sum(map(_size, value))
    if isinstance(value, str | bytes):
        return OVERHEAD + len(value)
    return OVERHEAD + int(getattr(value, "nbytes", 0))
