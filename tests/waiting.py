"""Waiting, on a virtual clock, for what nobody is told of."""

from __future__ import annotations

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
