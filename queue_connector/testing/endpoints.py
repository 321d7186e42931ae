"""Sources, sinks and an attribute host whose every act is recorded, for tests of the engine.

They keep the contracts of `queue_connector.model.stream` and add what no real endpoint offers:
values at exact times of a virtual clock, and faults on demand.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import trio

from ..engine.exchange import Exchange
from ..engine.rejection import Rejection
from ..model.datatypes import Data, DataSpec
from ..model.delivery import Delivery
from ..model.endpoints import Breaker, SinkDescriptor, SourceDescriptor
from ..model.errors import DataError, EndpointError
from ..model.ledger import Batch, Ledger, Refusal
from ..model.services import ExchangeName, PublishedAttribute, Services
from ..model.stream import DataPipe, DataSink, DataSource, ErrorPolicy


class Recorded:
    """Counts of what is open, shared by endpoints."""

    def __init__(self) -> None:
        self.open = 0
        self.started = 0


class Numbers(DataSource):
    """The whole numbers from *start* on, in batches, *period* apart; after a stop, one more batch.

    ``handed`` is what was handed over, ``acknowledged`` what need not come again; a value whose
    number is in *bad* is refused.
    """

    def __init__(
        self,
        record: Recorded,
        *,
        first: int = 0,
        count: float = math.inf,
        batch: int = 1,
        period: float = 0.0,
        bad: Sequence[int] = (),
        start: Callable[[], Any] | None = None,
    ) -> None:
        self.handed: list[int] = []
        self.acknowledged: list[int] = []
        self._record = record
        self._next = first
        self._last = first + count
        self._batch = batch
        self._period = period
        self._bad = bad
        self._start = start
        self._is_open = False
        self._remainder: list[int] = []

    async def start(self) -> None:
        if self._start is not None:
            await self._start()
        await trio.lowlevel.checkpoint()
        self._is_open = True
        self._record.open += 1
        self._record.started += 1
        self._remainder = [-1]

    async def stop(self) -> None:
        if self._is_open:
            self._record.open -= 1
            self._is_open = False
        await trio.lowlevel.checkpoint()

    async def receive(self) -> Data:
        raise NotImplementedError

    async def receive_batch(self) -> Batch:
        await trio.sleep(self._period if self._is_open else 0)
        if not self._is_open and self._remainder:
            self._remainder = []  # what it held when it was stopped
        elif not self._is_open or self._next >= self._last:
            raise trio.EndOfChannel
        end = min(self._next + self._batch, self._last)
        numbers = range(self._next, int(end))
        self._next = int(end)
        self.handed.extend(numbers)
        return Batch(
            [number for number in numbers if number not in self._bad],
            [Refusal(DataError(f"{number} is bad")) for number in numbers if number in self._bad],
            token=numbers,
        )

    def acknowledge(self, batch: Batch) -> None:
        self.acknowledged.extend(batch.token)


class Keeper(DataSink):
    """Keeps what it accepts; each value takes *period*; refuses *bad* ones; breaks at *broken*."""

    def __init__(
        self,
        record: Recorded,
        *,
        period: float = 0.0,
        bad: Sequence[int] = (),
        broken: int | None = None,
    ) -> None:
        self.kept: list[Data] = []
        self._record = record
        self._period = period
        self._bad = bad
        self._broken = broken
        self._is_open = False

    async def start(self) -> None:
        await trio.lowlevel.checkpoint()
        self._is_open = True
        self._record.open += 1
        self._record.started += 1

    async def stop(self) -> None:
        await trio.lowlevel.checkpoint()
        if self._is_open:
            self._record.open -= 1
            self._is_open = False

    async def awrite(self, value: Data) -> None:
        assert self._is_open
        await trio.sleep(self._period)
        if value in self._bad:
            raise DataError(f"{value} is bad")
        if self._broken is not None and value >= self._broken:
            raise EndpointError("keeper", "write", "broken")
        self.kept.append(value)


class Hasty(Keeper):
    """A sink that forgets to say what became of a batch."""

    async def awrite_batch(self, delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()


@attrs.frozen(kw_only=True)
class Given(SourceDescriptor):
    """Builds what a test made beforehand, or anew for each session; *seen* gets its services."""

    make: Callable[[], DataSource]
    reading: tuple[str, ...] = ()
    seen: Callable[[Services], object] = attrs.field(default=str, eq=False)

    def reads(self) -> tuple[str, ...]:
        return self.reading

    def build(self, spec: DataSpec, services: Services) -> DataSource:
        self.seen(services)
        return self.make()


@attrs.frozen(kw_only=True)
class Taken(SinkDescriptor):
    """Builds what a test made beforehand; claims attributes by name; *seen* gets its services."""

    make: Callable[[], DataSink]
    names: tuple[str, ...] = ()
    writing: tuple[str, ...] = ()
    seen: Callable[[Services], object] = attrs.field(default=str, eq=False)

    def writes(self) -> tuple[str, ...]:
        return self.writing

    def claims(self) -> Iterator[tuple[str, str]]:
        return (("$", name) for name in self.names)

    def publishes(self, spec: DataSpec) -> tuple[PublishedAttribute, ...]:
        return tuple(PublishedAttribute(name, spec, 0) for name in self.names)

    def build(self, spec: DataSpec, services: Services) -> DataSink:
        self.seen(services)
        return self.make()


class Attributes:
    """A publisher of attributes in memory; *refuse* makes defining fail.

    ``owned`` is what each owner has defined, ``values`` what each attribute reads as, and ``lines``
    what is told of subscribers.
    """

    def __init__(self) -> None:
        self.owned: dict[str, list[str]] = {}
        self.values: dict[str, Data] = {}
        self.lines: list[str] = []
        self.refuse = False

    def owners(self) -> list[str]:
        return list(self.owned)

    async def define(self, owner: str, wanted: Sequence[PublishedAttribute]) -> None:
        await trio.lowlevel.checkpoint()
        if self.refuse:
            raise EndpointError("host", "define", "refused")
        for attribute in wanted:
            for other, names in self.owned.items():
                if other != owner and attribute.name in names:
                    raise EndpointError("host", "define", f"{attribute.name} is {other}'s")
        before = self.owned.pop(owner, [])
        if wanted:
            self.owned[owner] = [attribute.name for attribute in wanted]
        for name in before:
            if name not in self.owned.get(owner, ()):
                self.values.pop(name, None)
        for attribute in wanted:
            self.values.setdefault(attribute.name, attribute.default)

    async def publish(self, values: Sequence[tuple[str, Data]]) -> None:
        await trio.lowlevel.checkpoint()
        self.values.update(values)

    def problems(self) -> list[str]:
        return self.lines

    def slow_subscribers(self) -> int:
        return len(self.lines)

    def cut_subscribers(self) -> int:
        return 0


def exchange(
    sources: Sequence[DataSource],
    sinks: Sequence[DataSink],
    pipe: DataPipe | Sequence[DataPipe] | None = None,
    policy: ErrorPolicy | None = None,
    limit: Breaker | None = None,
    **options: Any,
) -> Exchange:
    """An exchange between ends that a test has made."""
    ledger = Ledger([f"source {n}" for n in range(len(sources))], ["sink"] * len(sinks))
    name = ExchangeName("x")
    rejection = Rejection(name, policy or ErrorPolicy(), limit, logging.getLogger("x"))
    return Exchange(
        sources, sinks, pipe or (), name=name, ledger=ledger, rejection=rejection, **options
    )


class Pipelined(Keeper):
    """Takes data on at once, up to *most*, and accepts each delivery *period* after it was begun.

    ``begun`` is what was taken on, delivery by delivery.
    """

    def __init__(self, record: Recorded, *, most: float = math.inf, **options: Any) -> None:
        super().__init__(record, **options)
        self.begun: list[list[Data]] = []
        self._most = most
        self._under_way: list[Delivery] = []
        self._room = trio.Event()

    async def begin(self, delivery: Delivery) -> None:
        assert self._is_open
        await trio.lowlevel.checkpoint()
        while sum(other.untold for other in self._under_way) >= self._most:
            self._room = trio.Event()
            await self._room.wait()
        self.take_on(delivery)

    def take_on(self, delivery: Delivery) -> None:
        self.begun.append(list(delivery.values))
        self._under_way.append(delivery)
        trio.lowlevel.spawn_system_task(self._acknowledge, delivery)

    async def _acknowledge(self, delivery: Delivery) -> None:
        await trio.sleep(self._period)
        for index, value in enumerate(delivery.values):
            if self._broken is not None and value >= self._broken:
                delivery.fail(EndpointError("keeper", "write", "broken"))
                return
            if value in self._bad:
                delivery.refuse(index, DataError(f"{value} is bad"))
            else:
                self.kept.append(value)
                delivery.accept(index)
        self._under_way.remove(delivery)
        self._room.set()
