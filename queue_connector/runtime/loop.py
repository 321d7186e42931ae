"""The Trio loop itself, in a thread of its own, and what begins and ends it."""

from __future__ import annotations

import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import Any, TypeVar, TypeVarTuple

import trio

from ..model.errors import QueueConnectorError
from .worker import TICK, current_thread

T = TypeVar("T")
Args = TypeVarTuple("Args")
Context = Callable[[], AbstractContextManager[Any]]
"""Makes what a thread must be inside while it calls into a client library."""

CANCEL_GRACE = 20.0
"""Seconds that a cancelled Trio loop has for what is shielded, before its thread is given up."""


class Renewal:
    """Lets one thread at a time end something and begin it anew, in two calls of its host's."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holder = 0
        self._waiting: set[int] = set()
        self.closed = False
        """Whether it is never to be begun anew; only `close` sets it."""
        self._ended = False

    @property
    def under_way(self) -> bool:
        """Whether it has been ended, and not begun anew."""
        return self._lock.locked()

    def begin(self, patience: float) -> bool:
        """Be the one that ends it and begins it anew; False where others were for so long.

        After `close` nobody is any more.
        """
        self._waiting.add(current_thread())
        try:
            found = self._acquire(patience, lambda: self.closed)
            if found and self.closed:  # it was closed while this thread waited for its turn
                self.end()
            return found and not self.closed
        finally:
            self._waiting.discard(current_thread())

    def end(self) -> None:
        """It has been begun anew, by this thread; for any other one nothing happens."""
        if self._holder == current_thread():
            self._holder = 0
            self._lock.release()

    def close(self, patience: float) -> bool:
        """End it for good; whether nobody has it in hand any more, nor waits to, after so long.

        The calling thread must not be the one that `begin` chose.
        """
        self.closed = True
        end = time.monotonic() + patience
        self._ended = self._ended or self._acquire(patience, lambda: self._ended)
        while self._waiting and time.monotonic() < end:
            time.sleep(TICK / 10)
        return self._ended and not self._waiting

    def _acquire(self, patience: float, given_up: Callable[[], bool]) -> bool:
        end = time.monotonic() + patience
        while not given_up():
            if self._lock.acquire(timeout=TICK):
                self._holder = current_thread()
                return True
            if time.monotonic() > end:
                break
        return False


class LoopStoppedError(QueueConnectorError):
    """A call came for a Trio loop that is not running, or that stopped during the call."""


class TrioThread:
    """``trio.run(main)`` in a thread of its own, for a host whose threads are not Trio's.

    *main* is given a function to call once it is ready for calls, and an event that is set when
    it shall end in order.
    """

    def __init__(
        self,
        main: Callable[[Callable[[], None], trio.Event], Awaitable[None]],
        *,
        name: str = "trio",
        context: Context = nullcontext,
        on_crash: Callable[[BaseException], None],
    ) -> None:
        self._main = main
        self._context = context
        self._on_crash = on_crash
        self._up = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._scope: trio.CancelScope
        self._stopping: trio.Event
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Start the thread and wait until *main* is ready, or has ended."""
        self._thread.start()
        self._up.wait()

    def _run(self) -> None:
        with self._context():
            try:
                trio.run(self._root)
            except BaseException as error:
                self._on_crash(error)
            finally:
                self._token = None
                self._up.set()

    async def _root(self) -> None:
        self._stopping = trio.Event()
        with trio.CancelScope() as self._scope:
            token = trio.lowlevel.current_trio_token()

            def ready() -> None:
                self._token = token
                self._up.set()

            await self._main(ready, self._stopping)

    def call(self, function: Callable[[*Args], Awaitable[T]], *args: *Args) -> T:
        """Run an async function in the loop and wait for it, from any other thread.

        Raises:
            LoopStoppedError: the loop is not running, or stopped before the answer.
        """
        token = self._token
        try:
            if token is not None:
                return trio.from_thread.run(function, *args, trio_token=token)
        except (trio.RunFinishedError, trio.Cancelled):
            pass  # not this thread's cancellation: the loop ended under the call
        raise LoopStoppedError("the connector is stopping or has stopped; try again once it is up")

    def stop(self, grace: float) -> bool:
        """End *main* in order within *grace* seconds, else cancel it; whether it has ended.

        Calls are refused from now on. Who comes second waits for as long.
        """
        token, self._token = self._token, None
        if token is None:
            if self._thread.is_alive():
                self._thread.join(grace + CANCEL_GRACE)
            return not self._thread.is_alive()
        for end, seconds in ((self._stopping.set, grace), (self._scope.cancel, CANCEL_GRACE)):
            with suppress(trio.RunFinishedError):  # it has just ended by itself
                token.run_sync_soon(end)
            self._thread.join(seconds)
        return not self._thread.is_alive()
