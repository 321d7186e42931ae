"""What waits between the sources of an exchange and its pipe, and what goes when it is full.

===============  ======================================================================
``block``        who brings more than there is room for waits; nothing is dropped
``drop_oldest``  what has waited longest makes room
``drop_newest``  what comes while there is no room is dropped
``latest``       of each source the newest datum waits; it supersedes the one before it
===============  ======================================================================

* order     kept; only ``latest`` may hand on the data of different sources in another order than
            they came, that of their first arrival
* batches   of a buffer that counts data, what has waited is handed on together, up to `MOST`
            values, so that a slow sink is given large batches
* counts    what is dropped is settled in the account of its source, ``buffer full`` or
            ``superseded``
* size      in data; with ``block``, what a source hands over together is let in whole as soon as
            nothing waits, however much it is
"""

from __future__ import annotations

import math
from collections import deque

import trio

from .descriptors import BufferPolicy
from .ledger import BUFFER_FULL, SUPERSEDED, Batch, Outcome, joined

MOST = 1000
"""Values that are handed on together, unless one source has handed over more."""


class StreamBuffer:
    """Several sources put, one pipe receives.

    With ``block``, *depth* is the number of batches that may wait, however few data are in them.
    """

    def __init__(
        self, policy: BufferPolicy, size: float, writers: int, depth: float = math.inf
    ) -> None:
        self._policy = policy
        self._size = size
        self._depth = depth
        self._writers = writers
        self._waiting: deque[Batch] = deque()
        self._count = 0
        self._arrived = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()

    async def put(self, batch: Batch) -> None:
        """Bring in a batch of one source, which has values.

        Cancelled before there was room for it, the batch is not in.
        """
        await trio.lowlevel.checkpoint()
        match self._policy:
            case "block":
                while self._full_for(batch):
                    await self._room.park()
            case "drop_newest":
                self._drop_last(batch, len(batch.values) - int(self._size) + self._count)
            case "drop_oldest":
                self._make_room(len(batch.values))
                self._drop_first(batch, len(batch.values) - int(self._size), BUFFER_FULL)
            case "latest":
                self._drop_first(batch, len(batch.values) - 1, SUPERSEDED)
                if self._supersede(batch):
                    return
        if batch.values:
            self._waiting.append(batch)
            self._count += len(batch.values)
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
        await trio.lowlevel.checkpoint()
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

    def _full_for(self, batch: Batch) -> bool:
        waiting = len(self._waiting)
        too_much = self._count + len(batch.values) > self._size
        return waiting >= self._depth or (waiting > 0 and too_much)

    def _take(self) -> Batch:
        taken = [self._waiting.popleft()]
        count = len(taken[0].values)
        most = MOST if self._depth == math.inf else 0
        while self._waiting and count + len(self._waiting[0].values) <= most:
            taken.append(self._waiting.popleft())
            count += len(taken[-1].values)
        self._count -= count
        self._room.unpark_all()
        return joined(taken)

    def _supersede(self, batch: Batch) -> bool:
        """Put the one value of *batch* in the place of the one that waits, if one does."""
        for index, waiting in enumerate(self._waiting):
            if waiting.account is batch.account:
                self._settle(waiting, 1, SUPERSEDED)
                self._waiting[index] = batch
                return True
        return False

    def _make_room(self, count: int) -> None:
        while self._waiting and self._count + count > self._size:
            oldest = self._waiting[0]
            excess = min(self._count + count - int(self._size), len(oldest.values))
            self._count -= excess
            if excess == len(oldest.values):
                self._waiting.popleft()
                self._settle(oldest, excess, BUFFER_FULL)
            else:
                self._drop_first(oldest, excess, BUFFER_FULL)

    def _drop_first(self, batch: Batch, count: int, outcome: Outcome) -> None:
        if count > 0:
            batch.keep(slice(count, None))
            self._settle(batch, count, outcome)

    def _drop_last(self, batch: Batch, count: int) -> None:
        if count > 0:
            batch.keep(slice(len(batch.values) - count))
            self._settle(batch, count, BUFFER_FULL)

    @staticmethod
    def _settle(batch: Batch, count: int, outcome: Outcome) -> None:
        assert batch.account is not None
        batch.account.settle(batch, count, outcome)
