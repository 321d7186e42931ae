"""Trio → a thread, and back: blocking calls of one client, one at a time.

A hop costs some 50 to 100 µs, so it is paid per batch and never per datum. A function that a
`Worker` runs may loop as long as it calls `check_cancelled` every `TICK` seconds: that is how a
cancelled task gets its thread back, and no thread is ever abandoned.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Args = TypeVarTuple("Args")
Context = Callable[[], AbstractContextManager[Any]]
"""Makes what a thread must be inside while it calls into a client library."""

TICK = 0.1
"""Seconds that a blocking call inside a `Worker` may take before it looks at cancellation."""


def check_cancelled() -> None:
    """Raise `trio.Cancelled` in a worker thread whose task was cancelled."""
    trio.from_thread.check_cancelled()


def current_thread() -> int:
    """What tells the calling thread from all others, those that have ended too.

    Python's own identifier of a thread is given to the next one as soon as it has ended.
    """
    return threading.get_native_id()


class Worker:
    """Runs the blocking calls of one client in a thread, one call at a time, or *most* at once.

    Each worker has a limiter of its own, so that a client that blocks never uses up threads that
    another one waits for.
    """

    def __init__(self, context: Context = nullcontext, most: int = 1) -> None:
        self._context = context
        self._limiter = trio.CapacityLimiter(most)

    async def run(self, function: Callable[[*Args], T], *args: *Args) -> T:
        """Call ``function(*args)`` in the thread and give back what it returns.

        A call that has begun is waited for even when the task is cancelled, and its result is
        not lost: cancellation shows at the next checkpoint, unless *function* itself looks for
        it with `check_cancelled`.
        """

        def call() -> T:
            with self._context():
                return function(*args)

        return await trio.to_thread.run_sync(call, limiter=self._limiter)


class OneAtATime:
    """``with`` it, one worker thread of all goes on: for what a library cannot do in parallel.

    Waiting for it blocks the thread, so what is done inside must be bounded.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *_exc: object) -> None:
        self._lock.release()
