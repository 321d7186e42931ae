"""Waiting, bounded, for what nobody is told of: in tasks, or in tests that hold processes."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

import trio


async def until(condition: Callable[[], Any], what: Callable[[], object] = str) -> Any:
    """What *condition*, which may be async, gives once it is true; *what* says how it is else."""
    with trio.move_on_after(1000):
        while True:
            value = condition()
            if isinstance(value, Awaitable):
                value = await value
            if value:
                return value
            await trio.sleep(0.01)  # the clock jumps, so looking often costs nothing
    raise AssertionError(f"it did not come about: {what()}")


def eventually(
    condition: Callable[[], Any], timeout: float = 10.0, what: Callable[[], object] | str = str
) -> Any:
    """What *condition* gives once it is true, within *timeout* seconds; *what* says how it is."""
    end = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() > end:
            told = what if isinstance(what, str) else what()
            raise AssertionError(f"still {value!r} after {timeout:g} s: {told}")
        time.sleep(0.01)
    return value
