"""The time from OPEN to OFF of a group: the nursery in which its exchanges stream."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from ..model.errors import leaves
from ..model.services import AttributeHost
from ..model.shared import Shared
from .configured import ConfiguredExchange, feeding
from .inlets import Marks
from .permission import Permission


@attrs.frozen
class Resources:
    """What the exchanges of a group are made with."""

    attributes: AttributeHost | None
    shared: Shared
    log: logging.Logger
    stop_grace: float
    permission: Permission = attrs.field(factory=Permission)


class Session:
    """One session; `run` it in a task of its own.

    *on_failure* is told why an exchange cannot go on, *on_progress* that one has started or ended.
    """

    def __init__(
        self,
        resources: Resources,
        on_failure: Callable[[BaseException], None],
        on_progress: Callable[[], None],
    ) -> None:
        self._resources = resources
        self._on_failure = on_failure
        self._on_progress = on_progress
        self._nursery: trio.Nursery | None = None
        self._scope = trio.CancelScope()
        self._ended = trio.Event()

    async def run(self, begin: Callable[[], None]) -> None:
        """Run what *begin* launches, and what is launched later, until all of it has ended.

        Raises:
            BaseExceptionGroup: what a task has failed with.
        """
        try:
            with self._scope:
                async with trio.open_nursery() as self._nursery:
                    begin()
        finally:
            self._nursery = None
            self._ended.set()

    @property
    def running(self) -> bool:
        """Whether something can be launched in it."""
        return self._nursery is not None

    def cancel(self) -> None:
        """Cut off everything that runs in it."""
        self._scope.cancel()

    async def wait_ended(self) -> None:
        """Wait until nothing of it runs any more."""
        await self._ended.wait()

    def launch(
        self,
        new: Sequence[ConfiguredExchange],
        beside: Sequence[ConfiguredExchange],
        marks: Marks,
    ) -> None:
        """Start some of the exchanges *beside* which they stream, where *marks* say."""
        assert self._nursery is not None
        has, readers = self._resources, feeding(beside)
        for exchange in new:
            exchange.build(has.shared, has.attributes, has.log, self._on_failure, marks)
            self._nursery.start_soon(self._stream, exchange, readers[exchange])

    async def _stream(
        self, exchange: ConfiguredExchange, readers: Sequence[ConfiguredExchange]
    ) -> None:
        try:
            await exchange.run(readers, self._on_progress, self._resources.log)
        except* Exception as errors:
            self._on_failure(next(leaves(errors)))
        finally:
            self._on_progress()

    def request_stop(self, exchanges: Sequence[ConfiguredExchange]) -> None:
        """Stop some exchanges in order; after the stop grace they are cut off."""
        for exchange in exchanges:
            exchange.request_stop(self._resources.stop_grace)

    async def stop(self, exchanges: Sequence[ConfiguredExchange], marks: Marks) -> None:
        """The same; on return they have ended, and *marks* say where."""
        leaving = [(each, each.exchange) for each in exchanges if each.exchange is not None]
        self.request_stop([each for each, _ in leaving])
        for each, exchange in leaving:
            await each.ended.wait()
            exchange.inlets.leave_off(marks)

    async def restart(
        self,
        exchange: ConfiguredExchange,
        beside: Sequence[ConfiguredExchange],
        still: Callable[[], bool],
    ) -> None:
        """Stop one exchange in order and start it where it has stopped, if it is *still* wanted."""

        async def again() -> None:
            marks: Marks = {}
            await self.stop([exchange], marks)
            if still():
                self.launch([exchange], beside, marks)
                exchange.restarts += 1
                self._on_progress()

        await self.change(again)

    async def change(self, make: Callable[[], Awaitable[None]]) -> None:
        """Do something in the session, so that it lasts as long as that, and ends with it."""
        assert self._nursery is not None
        done = trio.Event()

        async def do() -> None:
            try:
                await make()
            except Exception as error:
                self._on_failure(error)
            finally:
                done.set()

        self._nursery.start_soon(do)
        await done.wait()
