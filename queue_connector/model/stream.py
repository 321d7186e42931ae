"""What an exchange is made of: `DataSource`, `DataPipe`, `DataSink` and `ErrorPolicy`.

The documented interface is one datum at a time: ``async for value in source``,
``await sink.awrite(value)``. The engine uses the batch forms, `DataSource.receive_batch` and
`DataSink.awrite_batch`, which default to loops over the single ones.

``start()`` acquires and never spawns a task; ``stop()`` is idempotent and bounded; ``async with``
calls both, the latter shielded from cancellation for at most `STOP_GRACE` seconds.
"""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Sequence
from types import TracebackType
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import trio

from .datatypes import Data, DataSpec
from .delivery import Delivery
from .errors import DataError, untraced
from .ledger import Batch, Refusal
from .outcome import FAULTED, Outcome
from .provenance import Provenance, readable

STOP_GRACE = 15.0
"""Seconds that releasing one source or sink may take before it is given up."""

_E = TypeVar("_E", bound="Endpoint")


class Endpoint(abc.ABC):
    """What sources and sinks share: they are opened and closed."""

    @abc.abstractmethod
    async def start(self) -> None:
        """Acquire what reading or writing needs: connections, subscriptions.

        Raises:
            EndpointError: it cannot be had, and waiting for it would not help.
        """

    @abc.abstractmethod
    async def stop(self) -> None:
        """Release everything; calling it again does nothing."""

    async def __aenter__(self: _E) -> _E:
        try:
            await self.start()
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._close()

    async def _close(self) -> None:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + STOP_GRACE):
            await self.stop()


class DataSource(Endpoint):
    """Where data come from.

    After `finish`, receiving goes on until what was already taken in has been handed over; then
    it raises `trio.EndOfChannel`, as it does when a finite source has ended. A call that waits is
    cancelled before `finish` is called.
    """

    @abc.abstractmethod
    async def receive(self) -> Data:
        """The next datum. A cancelled call loses nothing.

        Raises:
            trio.EndOfChannel: no datum will ever come again.
            DataError: the next datum cannot be used; the one after it may.
            EndpointError: the endpoint failed for good.
        """

    async def finish(self) -> None:
        """Take in nothing more; `stop` comes once what was taken in has been delivered."""
        await self.stop()

    def acknowledge(self, batch: Batch) -> None:
        """All data of a batch that was received have come to their end, and need not come again.

        Called once for each such batch, not always in the order in which they were received.
        """

    def collect(self) -> None:
        """Bring the account up to date with what other threads have counted: somebody reads it."""

    def provenance(self, value: Data, raw: Any) -> Provenance:
        """Where a value comes from, given what stands for it in `Batch.raw`.

        Of a source whose data never were bytes, the payload is text that Python reads.
        """
        return Provenance(readable(value))

    def position(self, raw: Any) -> str:
        """Where a datum stood, given what stands for it in `Batch.raw`; empty: nobody knows."""
        return ""

    def positions(self) -> Any:
        """Where another source of the same origin can go on once this one has stopped.

        What was acknowledged lies before it. None when it cannot: what comes between the two is
        lost to both.
        """
        return None

    def resume(self, positions: Any) -> None:
        """Go on at the `positions` of an earlier source, at the next start."""

    async def receive_batch(self) -> Batch:
        """The next data that are there together, at least one. A cancelled call loses nothing."""
        return Batch([await self.receive()])

    async def receive_batches(self) -> Sequence[tuple[int, Batch]]:
        """What the engine calls: the next data, as a batch of each source that it stands for.

        A source stands for itself alone, which is number 0; see `MergedSource`.
        """
        return ((0, await self.receive_batch()),)

    def __aiter__(self) -> AsyncIterator[Data]:
        return self

    async def __anext__(self) -> Data:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None


class MergedSource(DataSource):
    """Several sources of one exchange that share a task, as `SourceDescriptor.merge_key` says.

    Each of them keeps its account, its condition and its order. `receive_batches` gives one batch
    for each source that has data, with its number among the descriptors it was built from; what it
    cannot use stands in `Batch.refused`, so it raises no `DataError`. `acknowledge` and
    `provenance` are asked for the data of all of them: what they need to tell them apart is to
    stand in `Batch.token` and `Batch.raw`.
    """

    async def receive(self) -> Data:
        """There is no single datum without a source that it is of."""
        raise TypeError(f"{type(self).__name__} stands for several sources: use receive_batches")

    @abc.abstractmethod
    async def receive_batches(self) -> Sequence[tuple[int, Batch]]:
        """The next data of each source that has some. A cancelled call loses nothing.

        Raises:
            trio.EndOfChannel: no datum will ever come again, of any of them.
            EndpointError: one of them failed for good.
        """


class DataSink(Endpoint):
    """Where data go.

    Write `awrite`, for each datum by itself, or `awrite_batch`, where many together are cheaper.
    """

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.awrite is DataSink.awrite and cls.awrite_batch is DataSink.awrite_batch:
            raise TypeError(f"{cls.__name__} has neither awrite nor awrite_batch")

    async def awrite(self, value: Data) -> None:
        """Deliver one datum; on return the endpoint has accepted it.

        Raises:
            DataError: this datum cannot be delivered; the next one may be.
            EndpointError: the endpoint failed for good.
        """
        delivery = Delivery([value])
        await self.awrite_batch(delivery)
        for error in delivery.refused.values():
            raise error

    async def awrite_batch(self, delivery: Delivery) -> None:
        """Deliver many data in order, and tell *delivery* of each whether it was accepted.

        On return every value was accepted or refused. When it raises or is cancelled, the
        values of which nothing was told were not accepted as far as is known.
        """
        for index, value in enumerate(delivery.values):
            try:
                await self.awrite(value)
            except DataError as error:
                delivery.refuse(index, untraced(error))
            else:
                delivery.accept(index)

    async def begin(self, delivery: Delivery) -> None:
        """Take data on, behind those that were taken on before; they may be under way on return.

        The engine calls it for one delivery after another, and goes on to the next when it returns;
        a sink that has as much under way as it can bear, in data and in bytes, makes it wait here.
        *delivery* is told what becomes of each value, then or later, always on the Trio thread
        once this has returned. What is not told when it raises or is cancelled, or when the sink is
        stopped, was not accepted as far as is known.
        """
        await self.awrite_batch(delivery)
        if delivery.untold:
            missing = f"{delivery.untold} of {len(delivery.values)} data"
            raise RuntimeError(f"{type(self).__name__} told nothing of {missing}")

    def begin_nowait(self, delivery: Delivery) -> bool:
        """Do as `begin` does where that need not wait; False: nothing was done, `begin` has to.

        It is called while no `begin` is under way, by the task that has the data: a sink that is
        idle then costs no wake-up of its own task.
        """
        return False


class Upstream(Protocol):
    """What a pipe reads from: the two receiving methods of a `trio.MemoryReceiveChannel`."""

    async def receive(self) -> Batch:
        """The next batch; raises `trio.EndOfChannel` after the last one."""
        ...

    def receive_nowait(self) -> Batch:
        """The next batch if it is there; raises `trio.WouldBlock` otherwise."""
        ...


class DataPipe(abc.ABC):  # noqa: B024  either of two methods is to be written
    """A functor between sources and sinks: data in, data out.

    Write `apply`, for each datum by itself, or `transform`, where several make one.
    """

    transparent: ClassVar[bool] = False
    """Whether it hands on what it reads as it is; the engine leaves it out then."""

    def __init__(self, spec: DataSpec) -> None:
        self._input = spec

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if cls.apply is DataPipe.apply and cls.transform is DataPipe.transform:
            raise TypeError(f"{cls.__name__} has neither apply nor transform")

    @property
    def is_single(self) -> bool:
        """Whether it takes each datum by itself; the engine calls `apply` then."""
        return type(self).apply is not DataPipe.apply

    @property
    def output_dtype(self) -> np.dtype[Any]:
        """The dtype of what comes out; a pipe never changes it silently."""
        return self._input.dtype

    @property
    def output_shape(self) -> list[int]:
        """The shape of what comes out."""
        return list(self._input.shape)

    def apply(self, value: Data) -> Data | None:
        """What comes out for one datum; None leaves it out, which is counted as filtered.

        It must not wait, nor change the datum. It is called on the Trio thread, or in a worker
        thread while its data take long, never in both at once.

        Raises:
            DataError: this datum cannot be used; the next one may be.
        """
        raise NotImplementedError

    async def transform(self, upstream: Upstream) -> Batch:
        """The next batch out, made of one or more batches that are read for it whole.

        Its values stand for what was read, all of it, in the same order.

        Raises:
            trio.EndOfChannel: upstream has ended and everything read from it was emitted.
            DataError: what was read does not go together; what comes next may.
        """
        while True:
            made = map(self.apply, (await upstream.receive()).values)
            if values := [value for value in made if value is not None]:
                return Batch(values)

    async def __call__(self, upstream: Upstream) -> AsyncIterator[Data]:
        """What comes out, one datum at a time."""
        while True:
            try:
                batch = await self.transform(upstream)
            except trio.EndOfChannel:
                return
            for value in batch.values:
                yield value


class ErrorPolicy(Endpoint):
    """What becomes of data that cannot be used: the first one ends the exchange, by default.

    ``outcome`` is what they are counted as. One that is not final ends the exchange, after all that
    is good was delivered.
    """

    outcome: Outcome = FAULTED

    async def start(self) -> None:
        """Acquire what the policy needs, if it needs anything."""
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """Release it."""
        await trio.lowlevel.checkpoint()

    async def take(self, refusals: Sequence[Refusal]) -> None:
        """Deal with them; on return they are dealt with for good.

        Raises:
            EndpointError: it cannot be done.
        """
        await trio.lowlevel.checkpoint()
