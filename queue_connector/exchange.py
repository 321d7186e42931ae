"""One exchange at work: sources → buffer → pipe → memory channel → sinks.

Every stage is a task of one nursery and hands on batches. A batch is in the ledger from the
moment a source hands it over until it is settled, so that whatever ends the stream, every datum
is accounted for.

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
import math
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import attrs
import trio

from .buffer import StreamBuffer
from .descriptors import AttributeHost, Buffer, ExchangeDescriptor, ExchangeName, Services
from .errors import DataError, ExchangeError, leaves
from .ledger import (
    ABORTED,
    DELIVERED,
    Account,
    Batch,
    Ledger,
    Outcome,
    Refusal,
    settle,
    settle_each,
)
from .rejection import Rejected, Rejection
from .shared import Shared
from .stream import DataPipe, DataSink, DataSource, Delivery

CHANNEL_DEPTH = 2
"""Batches between two stages. Few, so that while a sink is busy its sources' batches grow."""

Marks = dict[Hashable, deque[Any]]
"""Origin of sources → where each of them has stopped, first exchange first."""


class Exchange:
    """A stream from sources to sinks; ``async with`` starts and stops its ends."""

    def __init__(
        self,
        name: ExchangeName,
        sources: Sequence[DataSource],
        pipe: DataPipe,
        sinks: Sequence[DataSink],
        ledger: Ledger,
        rejection: Rejection,
        *,
        buffer: Buffer | None = None,
        on_fault: Callable[[ExchangeError], None] | None = None,
    ) -> None:
        self.ledger = ledger
        self._name = name
        self._on_fault = on_fault
        self._sources = sources
        self._pipe = pipe
        self._sinks = sinks
        self._rejection = rejection
        self._depth = CHANNEL_DEPTH
        if buffer is None:
            self._buffer = StreamBuffer("block", math.inf, len(sources), CHANNEL_DEPTH)
        else:
            self._buffer = StreamBuffer(buffer.policy, buffer.size, len(sources))
            if buffer.policy == "latest":
                self._depth = 0  # what waits further on is not superseded
        self._stopping = False
        self._fault: ExchangeError | None = None
        self._receiving: set[trio.CancelScope] = set()
        self._ends = AsyncExitStack()
        self._origins: list[Hashable] = [None] * len(sources)
        for source, account in zip(sources, ledger.sources, strict=True):
            account.on_settled = source.acknowledge

    @classmethod
    def build(
        cls,
        name: str,
        descriptor: ExchangeDescriptor,
        ledger: Ledger,
        attributes: AttributeHost | None,
        log: logging.Logger,
        on_fault: Callable[[ExchangeError], None] | None = None,
        shared: Shared | None = None,
    ) -> Exchange:
        """The exchange that a descriptor describes, not started.

        *on_fault* is told of the first bad datum at once; `run` raises it when all is drained.
        """
        live, common = ExchangeName(name), shared or Shared()

        def services(account: Account) -> Services:
            return Services(
                exchange=live,
                account=account,
                shared=common,
                attributes=attributes,
                log=log,
            )

        policy = descriptor.error_policy
        exchange = cls(
            live,
            [
                source.build(descriptor.spec, services(account))
                for source, account in zip(descriptor.sources, ledger.sources, strict=True)
            ],
            descriptor.pipe.build(descriptor.spec),
            [
                sink.build(descriptor.output, services(account))
                for sink, account in zip(descriptor.sinks, ledger.sinks, strict=True)
            ],
            ledger,
            Rejection(live, policy.build(services(Account())), policy.limit, log),
            buffer=descriptor.buffer,
            on_fault=on_fault,
        )
        exchange._origins = [source.origin for source in descriptor.sources]
        return exchange

    @property
    def name(self) -> str:
        """For errors and log lines: group and place in it."""
        return self._name.text

    @name.setter
    def name(self, name: str) -> None:
        self._name.text = name

    def leave_off(self, marks: Marks) -> None:
        """Note where the sources have stopped, for others of the same origin to go on."""
        for source, origin in zip(self._sources, self._origins, strict=True):
            if origin is not None and (positions := source.positions()):
                marks.setdefault(origin, deque()).append(positions)

    def take_up(self, marks: Marks) -> None:
        """Go on, at the next start, where sources of the same origins have stopped."""
        for source, origin in zip(self._sources, self._origins, strict=True):
            if marks.get(origin):
                source.resume(marks[origin].popleft())

    async def __aenter__(self) -> Exchange:
        """Start error policy, sinks, sources, so that nothing arrives before it can be taken.

        Raises:
            ExchangeError: one of them cannot be started.
        """
        try:
            async with AsyncExitStack() as opening:
                for end in (self._rejection.policy, *self._sinks, *self._sources):
                    await opening.enter_async_context(end)
                self._ends = opening.pop_all()
        except Exception as error:
            raise ExchangeError(self.name, error) from error
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._ends.aclose()

    def request_stop(self) -> None:
        """End in order: `run` returns once what the sources hold has been delivered."""
        self._stopping = True
        for scope in self._receiving:
            scope.cancel()

    async def run(self) -> None:
        """Stream until the end.

        Returning means that every datum received was delivered, or dealt with by a policy.

        Raises:
            ExchangeError: a datum or an endpoint stopped it; all that was accepted before a bad
                datum has been delivered.
        """
        transformed, to_sinks = trio.open_memory_channel[Batch](self._depth)
        try:
            async with trio.open_nursery() as nursery:
                for index in range(len(self._sources)):
                    nursery.start_soon(self._feed, index)
                nursery.start_soon(self._transform, transformed)
                nursery.start_soon(self._drain, to_sinks)
        except* Exception as errors:
            if self._fault is None:
                cause = next(leaves(errors))
                self._fault = ExchangeError(self.name, cause)
                self._fault.__cause__ = cause
        finally:
            self.ledger.abandon()
            self._rejection.finish()
        if self._fault is not None:
            raise self._fault

    async def _feed(self, index: int) -> None:
        source, account = self._sources[index], self.ledger.sources[index]
        path = "$.source" if len(self._sources) == 1 else f"$.source[{index}]"
        finished = False
        while True:
            if self._stopping and not finished:
                await source.finish()
                finished = True
            try:
                batch = await self._receive(source, interruptible=not finished)
            except trio.EndOfChannel:
                self._buffer.writer_left()
                return
            if batch is None:  # interrupted to be finished
                continue
            account.receive(batch)
            if batch.refused:
                refused = [(batch, attrs.evolve(each, path=path)) for each in batch.refused]
                await self._reject(refused)
            if batch.values:
                await self._buffer.put(batch)

    async def _receive(self, source: DataSource, *, interruptible: bool) -> Batch | None:
        with trio.CancelScope() as scope:
            if interruptible:
                self._receiving.add(scope)
            try:
                return await source.receive_batch()
            except DataError as error:
                return Batch([], [Refusal(error)])
            finally:
                self._receiving.discard(scope)
        return None

    async def _transform(self, send: trio.MemorySendChannel[Batch]) -> None:
        async with send:
            upstream = _Taken(self._buffer)
            while True:
                try:
                    batch = await self._pipe.transform(upstream)
                except trio.EndOfChannel:
                    return
                except DataError as error:
                    spoilt, upstream.batches = upstream.batches, []
                    await self._reject(
                        [
                            (part, self._refusal(error, part, index, "$.pipe"))
                            for whole in spoilt
                            for part in whole.origins
                            for index in range(len(part.values))
                        ]
                    )
                    continue
                if upstream.batches != [batch]:
                    batch.parts = [part for whole in upstream.batches for part in whole.origins]
                    taken = sum(len(part.values) for part in batch.parts)
                    if batch.count != taken:
                        pipe = type(self._pipe).__name__
                        raise RuntimeError(f"{pipe} made {batch.count} data out of {taken}")
                upstream.batches = []
                try:
                    await send.send(batch)
                except trio.BrokenResourceError:
                    return  # the sinks have failed, and their task tells why

    async def _drain(self, receive: trio.MemoryReceiveChannel[Batch]) -> None:
        async with receive:
            async for batch in receive:
                await self._deliver(batch)

    async def _deliver(self, batch: Batch) -> None:
        """Write a batch to every sink, and settle each of its values."""
        deliveries = [Delivery(batch.values) for _ in self._sinks]
        for account in self.ledger.sinks:
            account.hold(batch, len(batch.values))
        try:
            if len(self._sinks) == 1:
                await self._sinks[0].begin(deliveries[0])
            else:
                async with trio.open_nursery() as nursery:
                    for sink, delivery in zip(self._sinks, deliveries, strict=True):
                        nursery.start_soon(sink.begin, delivery)
            for delivery in deliveries:
                await _over(delivery)
        except BaseException:
            refused = self._settle(batch, deliveries)
            self._rejection.give_up(self._refused_values(batch, refused))
            raise
        if refused := self._settle(batch, deliveries):
            await self._reject(self._refused_values(batch, refused))

    def _settle(
        self, batch: Batch, deliveries: Sequence[Delivery]
    ) -> dict[int, tuple[DataError, int]]:
        """Delivered is what every sink accepted. What one refused is still in flight.

        Gives the refused values, each with the error of the first sink that refused it.
        """
        for account, delivery in zip(self.ledger.sinks, deliveries, strict=True):
            account.settle(batch, sum(delivery.accepted), DELIVERED)
            account.settle(batch, len(delivery.refused), Outcome("failed"))
            account.settle(batch, delivery.untold, ABORTED)
        if all(all(delivery.accepted) for delivery in deliveries):
            settle(batch, DELIVERED)
            return {}
        refused: dict[int, tuple[DataError, int]] = {}
        outcomes: list[Outcome | None] = []
        for index in range(len(batch.values)):
            if all(delivery.accepted[index] for delivery in deliveries):
                outcomes.append(DELIVERED)
                continue
            errors = ((d.refused.get(index), place) for place, d in enumerate(deliveries))
            first = next(((error, place) for error, place in errors if error is not None), None)
            if first is None:
                outcomes.append(ABORTED)
            else:
                refused[index] = first
                outcomes.append(None)
        settle_each(batch, outcomes)
        return refused

    def _refused_values(
        self, batch: Batch, refused: dict[int, tuple[DataError, int]]
    ) -> list[Rejected]:
        """Every datum that a refused value stands for."""
        rejected: list[Rejected] = []
        for index, runs in enumerate(batch.shares()):
            if index in refused:
                error, place = refused[index]
                path = "$.sink" if len(self._sinks) == 1 else f"$.sink[{place}]"
                rejected.extend(
                    (part, self._refusal(error, part, number, path))
                    for part, first, count in runs
                    for number in range(first, first + count)
                )
        return rejected

    def _refusal(self, error: DataError, part: Batch, index: int, path: str) -> Refusal:
        """What is to be told of a datum of a source's batch."""
        source = self._sources[self._index_of(part)]
        raw = None if part.raw is None else part.raw[index]
        found = source.provenance(part.values[index], raw)
        return Refusal(error, found.payload, found.position, path)

    def _index_of(self, part: Batch) -> int:
        return next(i for i, kept in enumerate(self.ledger.sources) if kept is part.account)

    async def _reject(self, rejected: Sequence[Rejected]) -> None:
        """Let the error policy deal with bad data, else deliver what is good, and then fail."""
        if (stop := await self._rejection.take(rejected)) is None:
            return
        if self._fault is None:
            position, reason = stop
            where = f"{self.name} at {position}" if position else self.name
            self._fault = ExchangeError(where, reason)
            if self._on_fault is not None:
                self._on_fault(self._fault)
        self.request_stop()


async def _over(delivery: Delivery) -> None:
    """Wait until the sink has said what became of every value.

    Raises:
        Exception: the sink failed for good.
    """
    told = trio.Event()

    def look() -> None:
        if delivery.over:
            told.set()

    delivery.on_told = look
    look()
    await told.wait()
    if delivery.failure is not None:
        raise delivery.failure


class _Taken:
    """A pipe's upstream that remembers which batches went into what the pipe makes next."""

    def __init__(self, buffer: StreamBuffer) -> None:
        self._buffer = buffer
        self.batches: list[Batch] = []

    async def receive(self) -> Batch:
        batch = await self._buffer.receive()
        self.batches.append(batch)
        return batch

    def receive_nowait(self) -> Batch:
        batch = self._buffer.receive_nowait()
        self.batches.append(batch)
        return batch
