"""What several endpoints use together, such as one client for all topics of a broker.

The first that takes it opens it, the last that gives it back closes it. `Shared` spawns no task:
what is shared brings a thread of its own if it needs one, see `lane.Lane`, or tasks, see
`background`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeVar

import attrs
import trio

T = TypeVar("T")

CLOSE_GRACE = 15.0
"""Seconds that closing what nobody uses any more may take before it is given up."""


@attrs.define(eq=False)
class _Entry:
    resource: AbstractAsyncContextManager[Any]
    users: int = 0
    opening: trio.Lock = attrs.field(factory=trio.Lock)
    opened: bool = False
    value: Any = None


class Shared:
    """Resources by key, for all exchanges of one device; used on the Trio thread only."""

    def __init__(self) -> None:
        self._entries: dict[Hashable, _Entry] = {}

    @asynccontextmanager
    async def use(
        self, key: Hashable, make: Callable[[], AbstractAsyncContextManager[T]]
    ) -> AsyncIterator[T]:
        """What stands under *key*, made by *make* and entered if nobody has it.

        Whoever comes while it is being opened waits for that; where opening fails, the next tries
        again. Closing is shielded from cancellation for `CLOSE_GRACE` seconds, and whoever comes
        meanwhile gets another one. The tasks that open and close it may differ, so it holds no
        nursery and no cancel scope in between.
        """
        entry = self._entries.get(key)
        if entry is None:
            entry = self._entries[key] = _Entry(make())
        entry.users += 1
        try:
            async with entry.opening:
                if not entry.opened:
                    entry.value = await entry.resource.__aenter__()
                    entry.opened = True
            yield entry.value
        finally:
            entry.users -= 1
            if not entry.users:
                if self._entries.get(key) is entry:
                    del self._entries[key]
                if entry.opened:
                    deadline = trio.current_time() + CLOSE_GRACE
                    with trio.CancelScope(shield=True, deadline=deadline):
                        await entry.resource.__aexit__(None, None, None)


@asynccontextmanager
async def background(function: Callable[[], Awaitable[None]]) -> AsyncIterator[None]:
    """*function* runs while this is entered; different tasks may enter and leave.

    It belongs to no nursery of whoever uses it, so it has to see to its own errors; leaving cancels
    it and waits until it has ended.
    """
    scope, ended = trio.CancelScope(), trio.Event()

    async def run() -> None:
        try:
            with scope:
                await function()
        finally:
            ended.set()

    trio.lowlevel.spawn_system_task(run)
    try:
        yield
    finally:
        scope.cancel()
        with trio.CancelScope(shield=True):  # bounded by what *function* shields
            await ended.wait()
