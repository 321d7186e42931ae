"""One exchange at work: sources → memory channel → pipe → memory channel → sinks.

Every stage is a task of one nursery and hands on batches. A batch is in the ledger from the
moment a source hands it over until it is settled, so that whatever ends the stream, every datum
is accounted for.

An exchange ends

* by itself, when every source has ended and everything was delivered;
* in order, by `Exchange.request_stop`: sources take in nothing more, what they hold is delivered;
* by a datum that cannot be used: as in order, then `ExchangeError` is raised;
* at once, by cancellation or when an endpoint fails for good: what is in flight is dropped and
  counted so.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from contextlib import AsyncExitStack
from typing import Any

import trio

from .descriptors import AttributeHost, ExchangeDescriptor, Services
from .errors import DataError, ExchangeError, leaves
from .ledger import Batch, Ledger, Refusal
from .stream import DataPipe, DataSink, DataSource, Delivery

CHANNEL_DEPTH = 2
"""Batches between two stages. Few, so that while a sink is busy its sources' batches grow."""

ABORTED = "aborted"
"""The reason that the ledger gives for data that were in flight when a stream was cut off."""

Marks = dict[Hashable, deque[Any]]
"""Origin of sources → where each of them has stopped, first exchange first."""


class Exchange:
    """A stream from sources to sinks; ``async with`` starts and stops its ends."""

    def __init__(
        self,
        name: str,
        sources: Sequence[DataSource],
        pipe: DataPipe,
        sinks: Sequence[DataSink],
        ledger: Ledger,
        on_fault: Callable[[ExchangeError], None] | None = None,
    ) -> None:
        self.name = name
        self.ledger = ledger
        self._on_fault = on_fault
        self._sources = sources
        self._pipe = pipe
        self._sinks = sinks
        self._stopping = False
        self._fault: ExchangeError | None = None
        self._receiving: set[trio.CancelScope] = set()
        self._ends = AsyncExitStack()
        self._origins: list[Hashable] = [None] * len(sources)

    @classmethod
    def build(
        cls,
        name: str,
        descriptor: ExchangeDescriptor,
        ledger: Ledger,
        attributes: AttributeHost | None,
        log: logging.Logger,
        on_fault: Callable[[ExchangeError], None] | None = None,
    ) -> Exchange:
        """The exchange that a descriptor describes, not started.

        *on_fault* is told of the first bad datum at once; `run` raises it when all is drained.
        """
        services = Services(exchange=name, ledger=ledger, attributes=attributes, log=log)
        exchange = cls(
            name,
            [source.build(descriptor.spec, services) for source in descriptor.sources],
            descriptor.pipe.build(descriptor.spec),
            [sink.build(descriptor.output, services) for sink in descriptor.sinks],
            ledger,
            on_fault,
        )
        exchange._origins = [source.origin for source in descriptor.sources]
        return exchange

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
        """Start the sinks, then the sources, so that nothing arrives before it can be taken.

        Raises:
            ExchangeError: one of them cannot be started.
        """
        try:
            async with AsyncExitStack() as opening:
                for end in (*self._sinks, *self._sources):
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
        """Stream until the end. Returning means that every datum received was delivered.

        Raises:
            ExchangeError: a datum or an endpoint stopped it; all that was accepted before a bad
                datum has been delivered.
        """
        taken_in, to_pipe = trio.open_memory_channel[Batch](CHANNEL_DEPTH)
        transformed, to_sinks = trio.open_memory_channel[Batch](CHANNEL_DEPTH)
        try:
            async with trio.open_nursery() as nursery:
                async with taken_in:
                    for source in self._sources:
                        nursery.start_soon(self._feed, source, taken_in.clone())
                nursery.start_soon(self._transform, to_pipe, transformed)
                nursery.start_soon(self._drain, to_sinks)
        except* Exception as errors:
            if self._fault is None:
                cause = next(leaves(errors))
                self._fault = ExchangeError(self.name, cause)
                self._fault.__cause__ = cause
        finally:
            self.ledger.abandon(ABORTED)
        if self._fault is not None:
            raise self._fault

    async def _feed(self, source: DataSource, send: trio.MemorySendChannel[Batch]) -> None:
        stopped = False
        async with send:
            while True:
                if self._stopping and not stopped:
                    await source.stop()
                    stopped = True
                try:
                    batch = await self._receive(source, interruptible=not stopped)
                except trio.EndOfChannel:
                    return
                if batch is None:  # interrupted to be stopped
                    continue
                self.ledger.receive(batch)
                for refusal in batch.refused:
                    self._refuse(refusal.error, refusal.position)
                if batch.values:
                    await send.send(batch)

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

    async def _transform(
        self, receive: trio.MemoryReceiveChannel[Batch], send: trio.MemorySendChannel[Batch]
    ) -> None:
        async with receive, send:
            upstream = _Taken(receive)
            while True:
                try:
                    batch = await self._pipe.transform(upstream)
                except trio.EndOfChannel:
                    return
                except DataError as error:
                    for spoilt in upstream.batches:
                        self.ledger.settle(spoilt, failed=spoilt.count)
                    upstream.batches.clear()
                    self._refuse(error)
                    continue
                if upstream.batches != [batch]:
                    self.ledger.replace(upstream.batches, batch)
                upstream.batches.clear()
                await send.send(batch)

    async def _drain(self, receive: trio.MemoryReceiveChannel[Batch]) -> None:
        async with receive:
            async for batch in receive:
                deliveries = [Delivery(batch.values) for _ in self._sinks]
                try:
                    if len(self._sinks) == 1:
                        await self._sinks[0].awrite_batch(deliveries[0])
                    else:
                        async with trio.open_nursery() as nursery:
                            for sink, delivery in zip(self._sinks, deliveries, strict=True):
                                nursery.start_soon(sink.awrite_batch, delivery)
                finally:
                    self._settle(batch, deliveries)
                for sink, delivery in zip(self._sinks, deliveries, strict=True):
                    for error in delivery.refused.values():
                        self._refuse(error)
                    if delivery.untold:
                        name = type(sink).__name__
                        raise RuntimeError(
                            f"{name} told nothing of {delivery.untold} of {len(batch.values)} data"
                        )

    def _settle(self, batch: Batch, deliveries: Sequence[Delivery]) -> None:
        """Delivered is what every sink accepted, failed what any refused."""
        if all(all(delivery.accepted) for delivery in deliveries):
            self.ledger.settle(batch, delivered=batch.count)
            return
        weights = batch.weights or [1] * len(batch.values)
        delivered = failed = 0
        for index, weight in enumerate(weights):
            if all(delivery.accepted[index] for delivery in deliveries):
                delivered += weight
            elif any(index in delivery.refused for delivery in deliveries):
                failed += weight
        rest = batch.count - delivered - failed
        self.ledger.settle(batch, delivered=delivered, failed=failed, dropped=rest, reason=ABORTED)

    def _refuse(self, error: DataError, position: str = "") -> None:
        """One datum is bad: deliver what is good of that which was taken in, then fail."""
        if self._fault is None:
            where = f"{self.name} at {position}" if position else self.name
            self._fault = ExchangeError(where, error)
            if self._on_fault is not None:
                self._on_fault(self._fault)
        self.request_stop()


class _Taken:
    """A pipe's upstream that remembers which batches went into what the pipe makes next."""

    def __init__(self, receive: trio.MemoryReceiveChannel[Batch]) -> None:
        self._receive = receive
        self.batches: list[Batch] = []

    async def receive(self) -> Batch:
        batch = await self._receive.receive()
        self.batches.append(batch)
        return batch

    def receive_nowait(self) -> Batch:
        batch = self._receive.receive_nowait()
        self.batches.append(batch)
        return batch
