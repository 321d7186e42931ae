"""What waits between the sources of an exchange and its pipe, and what goes when it is full.

===============  ======================================================================
``block``        who brings more than there is room for waits; nothing is dropped
``drop_oldest``  what has waited longest makes room
``drop_newest``  what comes while there is no room is dropped
``latest``       of each source the newest datum waits; it supersedes the one before it
===============  ======================================================================

* order     kept; only ``latest`` may hand on the data of different sources in another order than
            they came, that of their first arrival
* batches   what has waited is handed on together, up to `MOST` values, so that a slow sink is given
            large batches
* counts    what is dropped is settled in the account of its source, ``buffer full`` or
            ``superseded``
* size      in data, and in memory `BUFFER_BYTES`, whichever is reached first; what a source hands
            over together may be more, and is let in whole by ``block`` as soon as nothing waits.
            ``latest`` has one datum of each source, however large
"""

from __future__ import annotations

from collections import deque

import trio

from ..model.exchanges import BufferPolicy
from ..model.ledger import Batch, joined
from ..model.outcome import BUFFER_FULL, SUPERSEDED, Outcome
from .outlets import MOST
from .window import WAITING, Window, size_of

BUFFER_BYTES = 64 * 2**20
"""Bytes that may wait in a `buffer` that is configured, about."""


class StreamBuffer:
    """Several sources put, one pipe receives."""

    def __init__(
        self, policy: BufferPolicy, size: int, writers: int, most_bytes: int = BUFFER_BYTES
    ) -> None:
        self.policy = policy
        self._size = size
        self._most_bytes = most_bytes
        self._writers = writers
        self._waiting: deque[Batch] = deque()
        self.window = Window(size, most_bytes)
        self._arrived = trio.lowlevel.ParkingLot()

    @property
    def count(self) -> int:
        """Data that wait."""
        return self.window.count

    async def room(self) -> None:
        """Wait for room as `put` would; it is no checkpoint where there is some."""
        if self.policy == "block":
            await self.window.room()

    async def put(self, batch: Batch) -> None:
        """Bring in a batch of one source, which has values; of several sources with ``block``.

        Cancelled before there was room for it, the batch is not in. It is no checkpoint where it
        need not wait.
        """
        batch.size = WAITING + (batch.size or size_of(batch.values))
        match self.policy:
            case "block":
                await self.window.enter(len(batch.values), batch.size)
                self._waiting.append(batch)
                self._arrived.unpark()
                return
            case "drop_newest":
                self._drop_last(batch)
            case "drop_oldest":
                self._drop_first(batch, len(batch.values) - self._fitting(batch), BUFFER_FULL)
                self._make_room(batch)
            case "latest":
                self._drop_first(batch, len(batch.values) - 1, SUPERSEDED)
                if self._supersede(batch):
                    return
        if batch.values:
            self._waiting.append(batch)
            self.window.add(len(batch.values), batch.size)
            self._arrived.unpark()

    def writer_left(self) -> None:
        """A source has put its last batch."""
        self._writers -= 1
        if not self._writers:
            self._arrived.unpark_all()

    async def receive(self) -> Batch:
        """What waits, at least one value; raises `trio.EndOfChannel` after the last.

        A cancelled call loses nothing.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while not self._waiting:
            if not self._writers:
                raise trio.EndOfChannel
            await self._arrived.park()
        return self._take()

    def receive_nowait(self) -> Batch:
        """What waits; raises `trio.WouldBlock` when nothing does."""
        if self._waiting:
            return self._take()
        raise trio.WouldBlock if self._writers else trio.EndOfChannel

    def _take(self) -> Batch:
        taken = [self._waiting.popleft()]
        count, size = len(taken[0].values), taken[0].size
        while self._waiting and count + len(self._waiting[0].values) <= MOST:
            taken.append(self._waiting.popleft())
            count += len(taken[-1].values)
            size += taken[-1].size
        self.window.leave(count, size)
        return joined(taken)

    def _supersede(self, batch: Batch) -> bool:
        """Put the one value of *batch* in the place of the one that waits, if one does."""
        for index, waiting in enumerate(self._waiting):
            if waiting.account is batch.account:
                self._settle(waiting, 1, SUPERSEDED)
                self._waiting[index] = batch
                self.window.add(0, batch.size - waiting.size)
                return True
        return False

    def _fitting(self, batch: Batch) -> int:
        """How many values of a batch fit into the buffer while it is empty: one does, always."""
        each = max(1, batch.size // len(batch.values))
        return max(1, min(len(batch.values), self._size, self._most_bytes // each))

    def _make_room(self, batch: Batch) -> None:
        while self._waiting and not self.window.has_room(len(batch.values), batch.size):
            oldest = self._waiting[0]
            excess = self.window.count + len(batch.values) - self._size
            if 0 < excess < len(oldest.values):
                before = oldest.size
                self._drop_first(oldest, excess, BUFFER_FULL)
                self.window.leave(excess, before - oldest.size)
            else:
                self._waiting.popleft()
                self.window.leave(len(oldest.values), oldest.size)
                self._settle(oldest, len(oldest.values), BUFFER_FULL)

    def _drop_first(self, batch: Batch, count: int, outcome: Outcome) -> None:
        if count > 0:
            self._keep(batch, slice(count, None))
            self._settle(batch, count, outcome)

    def _drop_last(self, batch: Batch) -> None:
        each = max(1, batch.size // len(batch.values))
        room = min(self._size - self.window.count, (self._most_bytes - self.window.size) // each)
        fitting = max(room, 0 if self.window.count else 1)
        if (count := len(batch.values) - fitting) > 0:
            self._keep(batch, slice(len(batch.values) - count))
            self._settle(batch, count, BUFFER_FULL)

    @staticmethod
    def _keep(batch: Batch, which: slice) -> None:
        before = len(batch.values)
        batch.keep(which)
        batch.size = batch.size * len(batch.values) // before

    @staticmethod
    def _settle(batch: Batch, count: int, outcome: Outcome) -> None:
        assert batch.account is not None
        batch.account.settle(batch, count, outcome)
