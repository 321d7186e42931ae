"""One exchange at work: sources → (buffer → pipes) → sinks.

A task for each source hands batches on to the sinks, which have a task each for what cannot begin
at once, see `outlets`. A pipe that does something, or a configured buffer, stands between them with
a task of its own. A batch is in the ledger from the moment a source hands it over until it is
settled, so that whatever ends the stream, every datum is accounted for. Data that cannot be used go
to the error policy one after the other, beside the stream.

An exchange ends

* by itself, when every source has ended and everything was delivered;
* in order, by `Exchange.request_stop`: sources take in nothing more, what they hold is delivered;
* by a datum that cannot be used, unless the error policy deals with it: as in order, then
  `ExchangeError` is raised;
* at once, by cancellation or when an endpoint fails for good: what is in flight is dropped and
  counted so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from functools import partial

import trio

from ..model.condition import Condition
from ..model.errors import DataError, ExchangeError, leaves
from ..model.exchanges import Buffer, ExchangeDescriptor
from ..model.ledger import Account, Batch, Ledger, Refusal, joined
from ..model.services import AttributeHost, ExchangeName, Services
from ..model.shared import Shared
from ..model.stream import DataPipe, DataSink, DataSource, ErrorPolicy
from .buffer import StreamBuffer
from .inlets import Inlet, Inlets, build_inlets
from .outlets import Outlets, Refused
from .piping import piped
from .rejection import Rejected, Rejection
from .window import MOST_BYTES, MOST_DATA, Window, sharing


class Exchange:
    """A stream from sources to sinks; ``async with`` starts and stops its ends."""

    _nursery: trio.Nursery
    _rejecting = False
    _fault: ExchangeError | None = None

    def __init__(
        self,
        sources: Sequence[DataSource | Inlet],
        sinks: DataSink | Sequence[DataSink],
        pipe: DataPipe | Sequence[DataPipe] = (),
        *,
        name: ExchangeName | str = "exchange",
        ledger: Ledger | None = None,
        rejection: Rejection | None = None,
        conditions: Sequence[Condition] = (),
        buffer: Buffer | None = None,
        window: Window | None = None,
        shared: Shared | None = None,
        on_fault: Callable[[ExchangeError], None] | None = None,
    ) -> None:
        """An exchange between ends that exist.

        Args:
            sources: Where data come from; their order against each other is not kept.
            sinks: Where each datum goes; all of them get it.
            pipe: What is done to the data in between, one after the other.
            name: Told in errors and log lines.
            ledger: An account for each source and sink; *conditions* are those of the sinks.
            rejection: What becomes of data that cannot be used; else the first one ends it.
            buffer: What waits in front of the pipe, and what is dropped when that is full.
            window: How much may be under way to the sinks, of the room of all with this *shared*.
            on_fault: Told of the first bad datum at once; `run` raises it when all is drained.
        """
        self._sinks = sinks = [sinks] if isinstance(sinks, DataSink) else sinks
        self._name = ExchangeName.of(name)
        self.ledger = ledger = ledger if ledger is not None else _ledger_of(sources, sinks)
        self._rejection = rejection = rejection or _first_ends(self._name)
        self._on_fault = on_fault
        self.inlets = Inlets(sources, ledger.sources, self._reject, rejection.backlog, self._room)
        self._pipes = [pipe] if isinstance(pipe, DataPipe) else pipe
        self._shared = shared or Shared()
        self._windows = [window if window is not None else Window()]
        self._buffer = self._built(buffer)
        self.outlets = Outlets(
            *(sinks, ledger.sinks, conditions or [Condition() for _ in sinks], self._refused),
            *(self._windows[0], rejection.backlog),
            direct=self._buffer is not None or len(self.inlets.all) == 1,
        )
        self._ends = AsyncExitStack()

    def _built(self, buffer: Buffer | None) -> StreamBuffer | None:
        """What waits in front of the pipe, where anything has to."""
        if buffer is not None:
            return StreamBuffer(buffer.policy, buffer.size, len(self.inlets.all))
        if all(each.transparent for each in self._pipes):
            return None
        plain = StreamBuffer("block", MOST_DATA, len(self.inlets.all), MOST_BYTES)
        self._windows.append(plain.window)
        return plain

    @classmethod
    def build(
        cls,
        name: ExchangeName | str,
        descriptor: ExchangeDescriptor,
        ledger: Ledger,
        attributes: AttributeHost | None,
        log: logging.Logger,
        on_fault: Callable[[ExchangeError], None] | None = None,
        *,
        shared: Shared | None = None,
        conditions: Sequence[Condition] = (),
    ) -> Exchange:
        """The exchange that a descriptor describes, not started.

        *conditions* are those of its sources, of its sinks, and of its error policy.
        """
        live, shared = ExchangeName.of(name), shared or Shared()
        accounts = (*ledger.sources, *ledger.sinks, Account())
        services = [
            Services(live, account, condition, shared, attributes, log)
            for account, condition in zip(
                accounts, conditions or [Condition() for _ in accounts], strict=True
            )
        ]
        count = len(ledger.sources)
        of_sources, of_sinks, of_policy = services[:count], services[count:-1], services[-1]
        sources = list(build_inlets(descriptor, of_sources))
        policy = descriptor.error_policy
        rejection = Rejection(live, policy.build(of_policy), policy.limit, log)
        of_policy.condition.gauges["queued"] = lambda: rejection.backlog.count
        return cls(
            sources,
            [
                sink.build(descriptor.output, its)
                for sink, its in zip(descriptor.sinks, of_sinks, strict=True)
            ],
            list(descriptor.build_pipes()),
            name=live,
            ledger=ledger,
            rejection=rejection,
            conditions=[its.condition for its in of_sinks],
            buffer=descriptor.buffer,
            shared=shared,
            on_fault=on_fault,
        )

    @property
    def name(self) -> str:
        """For errors and log lines: group and place in it, as they are now."""
        return self._name.text

    @name.setter
    def name(self, name: str) -> None:
        self._name.text = name

    @property
    def buffered(self) -> int:
        """Data that wait in front of the pipe."""
        return self._buffer.count if self._buffer is not None else 0

    def collect(self) -> None:
        """Bring the ledger up to date with what sources and sinks know in other threads."""
        self.inlets.collect()
        self.outlets.collect()

    async def start(self) -> None:
        """Start error policy, sinks, sources, so that nothing arrives before it can be taken.

        Raises:
            ExchangeError: one of them cannot be started; those that were are stopped again.
        """
        sources = [inlet.source for inlet in self.inlets.all]
        try:
            async with AsyncExitStack() as opening:
                await opening.enter_async_context(sharing(self._shared, self._windows))
                for end in (self._rejection.policy, *self._sinks, *sources):
                    await opening.enter_async_context(end)
                self._ends = opening.pop_all()
        except Exception as error:
            raise ExchangeError(self.name, error) from error

    async def stop(self) -> None:
        """Stop all of them, in the order in which data flow; calling it again does nothing."""
        await self._ends.aclose()

    async def __aenter__(self) -> Exchange:
        await self.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.stop()

    def request_stop(self) -> None:
        """End in order: `run` returns once what the sources hold has been delivered."""
        self.inlets.finish()

    async def run(self) -> None:
        """Stream until the end.

        Returning means that every datum received was delivered, or dealt with by a policy.

        Raises:
            ExchangeError: a datum or an endpoint stopped it; all that was accepted before a bad
                datum has been delivered.
        """
        self._feeding = len(self.inlets.all)
        try:
            async with trio.open_nursery() as self._nursery:
                for inlet in self.inlets.all:
                    self._nursery.start_soon(self._feed, inlet)
                if self._buffer is not None:
                    self._nursery.start_soon(self._transform, self._buffer)
                for place in range(len(self._sinks)):
                    self._nursery.start_soon(self.outlets.write, place)
        except* Exception as errors:
            if self._fault is None:
                cause = next(leaves(errors))
                self._fault = ExchangeError(self.name, cause)
                self._fault.__cause__ = cause
        finally:
            self.outlets.cut_off()
            self._rejection.finish()
            self.ledger.abandon()
        if self._fault is not None:
            raise self._fault

    # -- from the sources --------------------------------------------------------------------------

    async def _feed(self, inlet: Inlet) -> None:
        await self.inlets.feed(inlet, self._put)
        self._feeding -= 1
        if self._buffer is not None:
            self._buffer.writer_left()
        elif not self._feeding:
            self.outlets.complete()

    async def _room(self) -> None:
        """Wait until there is room for what a source has, so that it stays there meanwhile."""
        await (self.outlets.room() if self._buffer is None else self._buffer.room())

    async def _put(self, batches: list[Batch]) -> None:
        """Pass on what a source has handed over."""
        if self._buffer is None:
            if batches:
                await self.outlets.put(joined(batches))
                batches.clear()
            return
        while batches:
            await self._buffer.put(batches[0])
            batches.pop(0)

    # -- through the pipe --------------------------------------------------------------------------

    async def _transform(self, buffer: StreamBuffer) -> None:
        upstream = piped(self._pipes, buffer, lambda path: partial(self._spoilt, path))
        while True:
            if buffer.policy == "latest":  # what is further on is not superseded
                await self.outlets.all_told()
            elif buffer.policy != "block":  # what is further on is not dropped
                await self.outlets.all_taken()
            try:
                batch = await upstream.receive()
            except trio.EndOfChannel:
                self.outlets.complete()
                return
            await self.outlets.put(batch)

    # -- bad data ----------------------------------------------------------------------------------

    def _refused(self, batch: Batch, refused: Refused) -> None:
        """Every datum that a value stands for which a sink has refused."""
        found = [
            (index, self._sink_path(place), error) for index, (place, error) in refused.items()
        ]
        self._reject(self._refusals(batch, found))

    def _spoilt(self, path: str, batch: Batch, refused: Mapping[int, DataError]) -> None:
        """Every datum that a value stands for which a pipe has refused."""
        found = [(index, path, error) for index, error in refused.items()]
        self._reject(self._refusals(batch, found))

    def _refusals(
        self, batch: Batch, refused: Sequence[tuple[int, str, DataError]]
    ) -> list[Rejected]:
        return [
            (part, self._refusal(error, part, number, path))
            for index, path, error in refused
            for part, first, count in batch.runs(index, 1)
            for number in range(first, first + count)
        ]

    def _sink_path(self, place: int) -> str:
        return "$.sink" if len(self._sinks) == 1 else f"$.sink[{place}]"

    def _refusal(self, error: DataError, part: Batch, index: int, path: str) -> Refusal:
        """What is to be told of a datum of a source's batch."""
        source = self.inlets.source_of(part)
        raw = None if part.raw is None else part.raw[index]
        return source.provenance(part.values[index], raw).refusal(error, path)

    def _reject(self, rejected: Sequence[Rejected]) -> None:
        """Hand bad data to the error policy, else deliver what is good, and then fail."""
        if self.outlets.broken:
            self._rejection.give_up(rejected)
            return
        if (stop := self._rejection.meet(rejected)) is not None:
            self._fail(*stop)
        if not self._rejection.idle and not self._rejecting:
            self._rejecting = True
            self._nursery.start_soon(self._work_off)

    async def _work_off(self) -> None:
        while not self._rejection.idle:
            if (stop := await self._rejection.work_off()) is not None:
                self._fail(*stop)
        self._rejecting = False

    def _fail(self, position: str, reason: Exception) -> None:
        if self._fault is None:
            where = f"{self.name} at {position}" if position else self.name
            self._fault = ExchangeError(where, reason)
            if self._on_fault is not None:
                self._on_fault(self._fault)
        self.request_stop()


def _ledger_of(sources: Sequence[object], sinks: Sequence[object]) -> Ledger:
    """An account for each, by the names of their classes."""
    return Ledger(*([type(end).__name__ for end in ends] for ends in (sources, sinks)))


def _first_ends(name: ExchangeName) -> Rejection:
    """The first datum that cannot be used ends the exchange."""
    return Rejection(name, ErrorPolicy(), None, logging.getLogger(__name__))
