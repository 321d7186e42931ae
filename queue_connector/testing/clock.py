"""A virtual clock that waits for worker threads: what they do takes real time, the rest none."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from typing import TypeVar, TypeVarTuple

import trio
import trio.testing

T = TypeVar("T")
Args = TypeVarTuple("Args")


class _RealWhileThreadsWork(trio.abc.Instrument):
    """Trio sees that no task can go on, and not that a thread is about to wake one."""

    def __init__(self, clock: trio.testing.MockClock) -> None:
        self._clock = clock
        self._working = False

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        working = trio.testing.active_thread_count() > 0
        if working is not self._working:
            self._working = working
            self._clock.rate = 1.0 if working else 0.0
            self._clock.autojump_threshold = math.inf if working else 0.0


def run_on_virtual_clock(function: Callable[[*Args], Awaitable[T]], *args: *Args) -> T:
    """Run an async function whose waits take no time, as `trio.run` does.

    The clock jumps to the next deadline when no task can go on. While a `Worker`'s thread works it
    is a real one.
    """
    clock = trio.testing.MockClock(autojump_threshold=0)
    return trio.run(function, *args, clock=clock, instruments=[_RealWhileThreadsWork(clock)])
