"""Any thread → Trio: what comes by callbacks, which must not block.

===========  ==================================================
`ToTrio`     calls that nobody waits for
`Inbox`      items, bounded, with a count of what was dropped
`Bell`       a burst of news that one function looks at
`Mailbox`    many sources of items, one wake-up for all
===========  ==================================================
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Args = TypeVarTuple("Args")


class Bell:
    """Has a function called on the Trio thread, once for all the rings since it was called last.

    Made on the Trio thread. The function has to see to its own errors: nobody waits for it.
    """

    def __init__(self, function: Callable[[], None]) -> None:
        self._function = function
        self._rung = False
        self._token = trio.lowlevel.current_trio_token()

    def ring(self) -> None:
        """Have it called soon; from any thread."""
        if not self._rung:
            self._rung = True
            with suppress(trio.RunFinishedError):  # the loop is over, and so is who would look
                self._token.run_sync_soon(self._answer)

    def _answer(self) -> None:
        self._rung = False  # before it looks: what comes while it does rings again
        self._function()


class ToTrio:
    """Calls functions on the Trio thread, from any thread, in order and without waiting."""

    def __init__(self) -> None:
        self._token = trio.lowlevel.current_trio_token()

    def __call__(self, function: Callable[[*Args], object], *args: *Args) -> None:
        """Call ``function(*args)`` soon, unless the loop is over; it must not raise."""
        with suppress(trio.RunFinishedError):
            self._token.run_sync_soon(function, *args)


class Inbox(Generic[T]):
    """What callbacks of any thread hand to one Trio task, without ever blocking them.

    Beyond *limit* items the oldest is dropped and counted in ``overflowed``. Made on the Trio
    thread; one task at a time may receive.
    """

    def __init__(self, limit: float) -> None:
        self.overflowed = 0
        self._items: deque[T] = deque()
        self._limit = limit
        self._lock = threading.Lock()
        self._awaited = False
        self._arrived = trio.Event()
        self._closed = False
        self._token = trio.lowlevel.current_trio_token()

    def put(self, item: T) -> None:
        """Append one item, from any thread."""
        with self._lock:
            if self._closed:
                return
            self._items.append(item)
            if len(self._items) > self._limit:
                self._items.popleft()
                self.overflowed += 1
            if not self._awaited:
                return
            self._awaited = False
        with suppress(trio.RunFinishedError):  # the loop is over, and so is whoever could receive
            self._token.run_sync_soon(self._wake)

    def close(self) -> None:
        """Take nothing more; what is inside can still be received. From the Trio thread."""
        with self._lock:
            self._closed = True
        self._arrived.set()

    def _wake(self) -> None:
        self._arrived.set()

    async def receive(self, most: int) -> list[T]:
        """The oldest items, at least one and at most *most*. A cancelled call loses nothing.

        Raises:
            trio.EndOfChannel: closed, and everything was received.
        """
        await trio.lowlevel.checkpoint()
        while True:
            with self._lock:
                if self._items:
                    self._awaited = False
                    return [self._items.popleft() for _ in range(min(most, len(self._items)))]
                if self._closed:
                    raise trio.EndOfChannel
                if not self._awaited:  # who was cancelled may have left it set, with its event
                    self._awaited, self._arrived = True, trio.Event()
                arrived = self._arrived
            await arrived.wait()


class Mailbox(Generic[T]):
    """What the callbacks of one origin hand over; *arrived* is called when there is something.

    The bell is an `Inbox` without a limit: a mailbox stands in it once, however much is inside,
    so that a burst of many origins costs one wake-up. Whoever answers the bell calls `heard`.
    Beyond *limit* items the oldest are dropped and counted in ``overflowed``.
    """

    def __init__(self, bell: Inbox[Any], limit: int, arrived: Callable[[], None]) -> None:
        self.overflowed = 0
        self.limit = limit
        """How many items there may be; a lower one holds from the next item on."""
        self._bell = bell
        self._arrived = arrived
        self._items: deque[T] = deque()
        self._lock = threading.Lock()
        self._rung = False
        self._closed = False

    def __len__(self) -> int:
        return len(self._items)

    def put(self, item: T) -> None:
        """Append one item, from any thread."""
        with self._lock:
            if self._closed:
                return
            self._items.append(item)
            while len(self._items) > self.limit:
                self._items.popleft()
                self.overflowed += 1
            if self._rung:
                return
            self._rung = True
        self._bell.put(self)

    def heard(self) -> bool:
        """The bell was answered, and rings again for the next item; whether there are several."""
        with self._lock:
            self._rung = False
        self._arrived()
        return len(self._items) > 1

    def take(self, most: int) -> list[T]:
        """The oldest items, at most *most*, perhaps none."""
        with self._lock:
            return [self._items.popleft() for _ in range(min(most, len(self._items)))]

    def close(self) -> None:
        """Take nothing more; what is inside can still be taken."""
        with self._lock:
            self._closed = True
