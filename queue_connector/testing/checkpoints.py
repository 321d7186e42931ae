"""Cancel a scenario at every step that any of its tasks takes, one run for each.

Trio gives control to a task at each of its checkpoints that does not return at once: cancelling
before the n-th such step, for every n, interrupts the scenario at every checkpoint in it.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import trio

from .clock import run_on_virtual_clock


class _CancelAt(trio.abc.Instrument):
    def __init__(self, step: int, scope: trio.CancelScope) -> None:
        self._left = step
        self._scope = scope

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._left -= 1
        if self._left == 0:
            self._scope.cancel()


def cancel_at_every_step(scenario: Callable[[], Awaitable[None]], most: int = 5000) -> int:
    """Run *scenario* again and again on a virtual clock, cancelled one step later each time.

    Returns how many runs were cancelled; the last one was not. *scenario* itself checks what
    must hold after it, whether it was cancelled or not.
    """

    async def run(step: int) -> bool:
        with trio.CancelScope() as scope:
            instrument = _CancelAt(step, scope)
            trio.lowlevel.add_instrument(instrument)
            try:
                with trio.fail_after(3600):
                    await scenario()
            finally:
                trio.lowlevel.remove_instrument(instrument)
        return scope.cancelled_caught

    for step in itertools.count(1):
        assert step < most, "the scenario does not come to an end"
        if not run_on_virtual_clock(run, step):
            return step - 1
    raise AssertionError
