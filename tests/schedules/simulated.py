"""Durable logs, and the sources, pipes, error policies and sinks of a schedule at work.

Each end notes what it did and what was done to it, in the `Session` of its exchange: from one start
to the stop after it. What is against the contract of an end goes to `World.violations`.

A crash is what SIGKILL does to a process: from that moment on, nothing that the ends of the old
life do reaches the logs or what lies behind the sinks.
"""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any

import attrs
import trio

import queue_connector.connectors  # noqa: F401  registers the default pipe
from queue_connector.model.datatypes import Data, DataSpec
from queue_connector.model.delivery import Delivery
from queue_connector.model.endpoints import (
    Breaker,
    ErrorPolicyDescriptor,
    PipeDescriptor,
    SinkDescriptor,
    SourceDescriptor,
    TolerantPolicyDescriptor,
    error_policies,
)
from queue_connector.model.errors import DataError, EndpointError
from queue_connector.model.exchanges import Buffer, ExchangeDescriptor
from queue_connector.model.ledger import Batch, Refusal
from queue_connector.model.outcome import DEAD_LETTERED
from queue_connector.model.provenance import Provenance
from queue_connector.model.services import PublishedAttribute, Services
from queue_connector.model.stream import DataPipe, DataSink, DataSource, ErrorPolicy
from tests.schedules.plan import BreakerPlan, ExchangePlan, SetAside, Skip, Window


def place(value: int) -> int:
    """Where a datum stands in its log."""
    return value % 1000


def members(value: Any) -> tuple[int, ...]:
    """The data that a value stands for."""
    return value if isinstance(value, tuple) else (value,)


@attrs.define
class Log:
    """What outlives the connector: the position of a durable source, and when it got there."""

    moves: list[tuple[float, int]] = attrs.field(factory=lambda: [(-math.inf, 0)])
    open_in: Session | None = None

    @property
    def position(self) -> int:
        return self.moves[-1][1]

    def crash(self, before: float) -> None:
        """Forget what was not committed *before*."""
        self.moves = [move for move in self.moves if move[0] <= before]


@attrs.define(eq=False)
class World:
    """All that the lives of one connector share."""

    violations: list[str] = attrs.field(factory=list)
    sessions: list[Session] = attrs.field(factory=list)
    latest: dict[int, Session] = attrs.field(factory=dict)
    """The last session of each exchange."""
    logs: dict[int, Log] = attrs.field(factory=dict)
    accounts: dict[Any, list[SimulatedSource | SimulatedSink]] = attrs.field(factory=dict)
    handed: Counter[Any] = attrs.field(factory=Counter)
    """How many data each account's sources have handed over."""
    spent: Counter[Any] = attrs.field(factory=Counter)
    """Breaks and failures that have happened: each happens once."""
    delivered: dict[tuple[int, int], list[int]] = attrs.field(factory=dict)
    """What lies behind each sink: (exchange, sink) → data."""
    life: int = 0
    events: int = 0

    def next_event(self) -> int:
        """Numbers that tell what comes first at one time of the virtual clock."""
        self.events += 1
        return self.events

    def violated(self, what: str) -> None:
        self.violations.append(f"{trio.current_time():g}: {what}")

    def log(self, number: int) -> Log:
        return self.logs.setdefault(number, Log())

    def happens(self, key: Any, most: int = 1) -> bool:
        self.spent[key] += 1
        return self.spent[key] <= most


@attrs.define(eq=False)
class Session:
    """An exchange from one start to the stop after it, as its ends saw it."""

    world: World
    plan: ExchangePlan
    life: int
    built: float
    event: int
    sources: list[SimulatedSource] = attrs.field(factory=list)
    sinks: list[SimulatedSink] = attrs.field(factory=list)
    policy: SimulatedPolicy | None = None
    failures: list[tuple[float, str]] = attrs.field(factory=list)
    """When an end has failed for good."""
    spoilt: list[int] = attrs.field(factory=list)
    """Data of windows that do not go together."""
    allowed: list[int] = attrs.field(factory=list)
    """Bad data that the error policy may deal with, by the model's own count."""
    faults: list[tuple[float, int]] = attrs.field(factory=list)
    """Bad data that end the exchange, and when they were met."""
    tripped: bool = False
    ambiguous: bool = False
    """Whether bad data of one instant may be counted in one order or another."""
    first_stop: float = math.inf
    """When the first of its ends was stopped."""
    last_stop: float = -math.inf
    _bad_times: list[float] = attrs.field(factory=list)
    _written: Counter[Any] = attrs.field(factory=Counter)
    _last_reject: tuple[float, str] = (-math.inf, "")

    @property
    def alive(self) -> bool:
        """Whether the process that it runs in has not been killed."""
        return self.life == self.world.life

    @property
    def ends(self) -> list[_End]:
        return [*self.sources, *self.sinks, *([self.policy] if self.policy else [])]

    @property
    def name(self) -> str:
        return f"exchange {self.plan.number} v{self.plan.version} of life {self.life}"

    def reject(self, values: Sequence[int], by: str) -> None:
        """Bad data were met: count them as the breaker should."""
        now = trio.current_time()
        self.ambiguous |= self._last_reject[0] == now and self._last_reject[1] != by
        self._last_reject = now, by
        for value in values:
            if self.plan.on_error is None:
                self.faults.append((now, value))
                continue
            limit = self.plan.on_error.breaker
            self._bad_times.append(now)
            if limit is not None and not self.tripped:
                recent = [then for then in self._bad_times if now - then <= limit.seconds]
                self.tripped = len(recent) >= limit.errors
            if self.tripped:
                self.faults.append((now, value))
            else:
                self.allowed.append(value)

    def written(self, values: Sequence[Any]) -> None:
        """A sink has told what became of these; what the last sink has told of too may be bad."""
        self._written.update(values)
        over = [value for value in values if self._written[value] == len(self.sinks)]
        refused = [value for value in over if any(value in s.refused_values for s in self.sinks)]
        if refused:
            self.reject([one for value in refused for one in members(value)], "sink")

    def fates_known(self, value: int) -> bool:
        """Whether this datum has come to an end that lets its source forget it."""
        if all(value in sink.accepted for sink in self.sinks):
            return True
        if self.policy is not None:
            return value in self.policy.kept
        return value in self.allowed


class _End:
    """What all simulated ends share: they notice when they are used out of turn."""

    def __init__(self, session: Session, plan: Any, name: str) -> None:
        self.session = session
        self.plan = plan
        self.name = name
        self.world = session.world
        self.key = (session.plan.number, name)
        self.is_open = False
        self.start_called = False
        self.stop_called = False
        self.calls = 0
        self.in_use = False

    async def start(self) -> None:
        if self.start_called:
            self.world.violated(f"{self.name} was started twice")
        self.start_called = True
        await trio.sleep(self.plan.start_delay)
        if self.plan.start_failures and self.world.happens((*self.key, "start")):
            raise self.failure("start")
        self.is_open = True

    async def stop(self) -> None:
        if not self.start_called:
            self.world.violated(f"{self.name} was stopped before it was started")
        if not self.stop_called:
            self.stop_called = True
            self.session.first_stop = min(self.session.first_stop, trio.current_time())
            self.is_open = False
            try:
                self.release()
                await trio.sleep(self.plan.stop_delay)
            finally:
                self.session.last_stop = trio.current_time()
        else:
            await trio.lowlevel.checkpoint()

    def release(self) -> None:
        """Let go of what was acquired."""

    def used(self, how: str) -> None:
        if not self.is_open:
            when = "after it was stopped" if self.stop_called else "before it was started"
            self.world.violated(f"{self.name}: {how} {when}")

    def failure(self, what: str) -> EndpointError:
        self.session.failures.append((trio.current_time(), what))
        return EndpointError(self.name, what, "as the schedule says")

    async def delayed(self, seconds: float, what: str) -> None:
        """Work for so long, and while there is no outage; raise the break that comes before."""
        await trio.lowlevel.checkpoint()
        left = seconds
        while True:
            now = trio.current_time()
            for moment in self.plan.breaks:
                if now >= moment and self.world.happens((*self.key, moment)):
                    raise self.failure(what)
            until = max((end for start, end in self.plan.outages if start <= now < end), default=0)
            if not until and left <= 1e-9:
                return
            moments = [now + left] if not until else [until]
            moments += [m for m in self.plan.breaks if m > now]
            moments += [start for start, _ in self.plan.outages if start > now]
            await trio.sleep_until(min(moments))
            if not until:
                left -= trio.current_time() - now


class SimulatedSource(_End, DataSource):
    """Replays its log from the committed position, or hands over what comes while it is open."""

    def __init__(self, session: Session, plan: Any, account: Any) -> None:
        super().__init__(session, plan, f"source {plan.number}")
        self.key = (plan.number, "source")
        self.account = account
        self.handed: list[int] = []
        self.good: list[int] = []
        self.ended = False
        self.acknowledged: list[Batch] = []
        self.log = session.world.log(plan.number)
        self.batches: deque[tuple[Batch, int]] = deque()
        self.history: list[tuple[float, list[int], list[int]]] = []
        """When each batch was handed over, all data and the good ones in it."""
        self.first = self.position = 0
        self.finished_at = math.inf
        self._times = plan.times
        self._cursor = 0
        self._taken: deque[int] = deque()

    async def start(self) -> None:
        if self.log.open_in is not None and self.session.alive:
            self.world.violated(f"{self.name} was started while its log was being read")
        await super().start()
        if self.session.alive:
            self.log.open_in = self.session
        now = trio.current_time()
        early = sum(time <= now for time in self._times)
        self._cursor = self.log.position if self.plan.durable else early
        self.first = self.position = self._cursor

    def release(self) -> None:
        """Commit what was acknowledged."""
        if self.log.open_in is self.session:
            self.log.open_in = None
            self.log.moves = [(-math.inf, self.position)]

    async def finish(self) -> None:
        self.used("finish")
        if self.finished_at < math.inf:
            self.world.violated(f"{self.name} was finished twice")
        self._take_in()
        self.finished_at = trio.current_time()
        await trio.sleep(self.plan.finish_delay)

    async def receive(self) -> Data:
        raise NotImplementedError

    async def receive_batch(self) -> Batch:
        self.used("receive")
        if self.in_use:
            self.world.violated(f"{self.name}: two calls of receive at once")
        self.in_use = True
        try:
            return await self._receive()
        finally:
            self.in_use = False

    async def _receive(self) -> Batch:
        while True:
            await self.delayed(0, "receive")
            self._take_in()
            if self._taken:
                return self._batch()
            now = trio.current_time()
            if self.finished_at <= now or (self.plan.ends and self._cursor == len(self._times)):
                self.ended = True
                raise trio.EndOfChannel
            moments = [math.inf, *self.plan.breaks, *(start for start, _ in self.plan.outages)]
            moments += self._times[self._cursor : self._cursor + 1]
            await trio.sleep_until(min(moment for moment in moments if moment > now))

    def _take_in(self) -> None:
        """What has come so far: a durable source takes in some more than it hands over."""
        now = min(trio.current_time(), self.finished_at)
        room = 2 * self.plan.most if self.plan.durable else math.inf
        if self.finished_at < math.inf and self.plan.durable:
            return
        while self._cursor < len(self._times) and self._times[self._cursor] <= now:
            if len(self._taken) >= room:
                break
            self._taken.append(self._cursor)
            self._cursor += 1

    def _batch(self) -> Batch:
        places = [self._taken.popleft() for _ in range(min(self.plan.most, len(self._taken)))]
        good = [n for n in places if n not in self.plan.bad]
        bad = [n for n in places if n in self.plan.bad]
        value = self.plan.value
        batch = Batch(
            [value(n) for n in good],
            [
                Refusal(DataError(f"{value(n)} is bad"), str(value(n)).encode(), f"at {n}")
                for n in bad
            ],
            raw=[f"at {n}" for n in good],
            token=tuple(places),
        )
        self.handed += map(value, places)
        self.good += map(value, good)
        self.history.append(
            (trio.current_time(), [value(n) for n in places], [value(n) for n in good])
        )
        self.world.handed[self.account] += len(places)
        self.batches.append((batch, places[-1] + 1))
        if bad:
            self.session.reject([value(n) for n in bad], "source")
        return batch

    def provenance(self, value: Data, raw: Any) -> Provenance:
        if raw != f"at {place(value)}":
            self.world.violated(f"{self.name}: {value} is told to have come from {raw!r}")
        return Provenance(str(value).encode(), raw)

    def acknowledge(self, batch: Batch) -> None:
        self.used("acknowledge")
        if not any(batch is handed for handed, _ in self.batches):
            self.world.violated(f"{self.name}: a batch was acknowledged that it did not hand over")
        if any(batch is done for done in self.acknowledged):
            self.world.violated(f"{self.name}: {batch.token} was acknowledged twice")
        self.acknowledged.append(batch)
        session = self.session
        if not session.plan.lossy:
            early = [v for v in map(self.plan.value, batch.token) if not session.fates_known(v)]
            if early and not session.ambiguous:
                self.world.violated(f"{self.name}: {early} acknowledged before their end")
        while self.batches and any(self.batches[0][0] is done for done in self.acknowledged):
            _, self.position = self.batches.popleft()
            if session.alive:
                self.log.moves.append((trio.current_time(), self.position))


class SimulatedSink(_End, DataSink):
    """Accepts one after the other, or all together; what it has lies in `World.delivered`."""

    def __init__(self, session: Session, plan: Any, account: Any) -> None:
        self.index = len(session.sinks)
        super().__init__(session, plan, f"sink {self.index} of {session.plan.number}")
        self.account = account
        self.accepted: list[int] = []
        self.told: list[int] = []
        """Accepted or refused, in order."""
        self.refused: list[int] = []
        self.refused_values: set[Any] = set()
        self.counts: Counter[str] = Counter()
        """Of the values that were written: all, accepted, refused."""
        self._pending: deque[Delivery] = deque()
        self._moved = trio.Event()
        self._background = trio.CancelScope()

    def release(self) -> None:
        """What is under way is given up."""
        self._background.cancel()

    async def awrite(self, value: Data) -> None:
        raise NotImplementedError

    async def awrite_batch(self, delivery: Delivery) -> None:
        self.used("write")
        if self.in_use:
            self.world.violated(f"{self.name}: two writes at once")
        self.in_use = True
        self.counts["received"] += len(delivery.values)
        try:
            if self.plan.bulk:
                await self.delayed(self.plan.delay * len(delivery.values), "write")
            for index, value in enumerate(delivery.values):
                if not self.plan.bulk:
                    await self.delayed(self.plan.delay, "write")
                self._tell(delivery, index, value)
        finally:
            self.in_use = False
        self.session.written(delivery.values)

    async def begin(self, delivery: Delivery) -> None:
        if not self.plan.under_way:
            await super().begin(delivery)
            return
        await trio.lowlevel.checkpoint()
        self.used("write")
        while len(self._pending) >= self.plan.under_way:
            self._moved = trio.Event()
            await self._moved.wait()
        self._take_on(delivery)

    def begin_nowait(self, delivery: Delivery) -> bool:
        if self.index % 2 or self.in_use or len(self._pending) >= self.plan.under_way:
            return False
        self.used("write")
        self._take_on(delivery)
        return True

    def _take_on(self, delivery: Delivery) -> None:
        self.counts["received"] += len(delivery.values)
        self._pending.append(delivery)
        if len(self._pending) == 1:
            trio.lowlevel.spawn_system_task(self._go_on)

    async def _go_on(self) -> None:
        """Accept what is under way, in the background, until there is nothing or it is stopped."""
        with trio.CancelScope() as self._background:
            while self._pending:
                delivery = self._pending[0]
                for index, value in enumerate(delivery.values):
                    try:
                        await self.delayed(self.plan.delay, "write")
                    except EndpointError as error:
                        delivery.fail(error)
                        return
                    self._tell(delivery, index, value)
                self._pending.popleft()
                self._moved.set()

    def _tell(self, delivery: Delivery, index: int, value: Any) -> None:
        self.told += members(value)
        refused = any(place(one) in self.plan.refuses for one in members(value))
        if refused:
            self.refused += members(value)
            self.refused_values.add(value)
            self.counts["failed"] += 1
        else:
            self.accepted += members(value)
            self.counts["delivered"] += 1
        if self.plan.under_way:  # the engine hears of it now, not when the write is over
            self.session.written([value])
        if refused:
            delivery.refuse(index, DataError(f"{value} is refused"))
            return
        delivery.accept(index)
        if self.session.alive:
            behind = self.world.delivered.setdefault((self.session.plan.number, self.index), [])
            behind += members(value)


class SimulatedPipe(DataPipe):
    """Joins, as `Window` says."""

    def __init__(self, spec: DataSpec, session: Session, plan: Window) -> None:
        super().__init__(spec)
        self._session = session
        self._plan = plan

    async def transform(self, upstream: Any) -> Batch:
        read: list[int] = list((await upstream.receive()).values)
        try:
            if self._plan.span:
                with trio.move_on_after(self._plan.span):
                    while True:
                        read += (await upstream.receive()).values
            else:
                while True:
                    read += upstream.receive_nowait().values
        except (trio.WouldBlock, trio.EndOfChannel):
            pass
        if any(place(value) in self._plan.bad for value in read):
            self._session.spoilt += read
            self._session.reject(read, "pipe")
            raise DataError(f"{read} do not go together")
        size = self._plan.size
        joined = [tuple(read[at : at + size]) for at in range(0, len(read), size)]
        return Batch(joined, weights=[len(value) for value in joined])


class SimulatedPolicy(_End, ErrorPolicy):
    """Sets bad data aside; some of its calls fail."""

    outcome = DEAD_LETTERED

    def __init__(self, session: Session, plan: SetAside) -> None:
        super().__init__(session, plan, f"policy of {session.plan.number}")
        self.kept: list[int] = []
        self.asked = 0
        self.refused: list[int] = []

    async def start(self) -> None:
        self.start_called = self.is_open = True
        await trio.lowlevel.checkpoint()

    async def take(self, refusals: Sequence[Refusal]) -> None:
        self.used("take")
        call, self.asked = self.asked, self.asked + 1
        values = [int(refusal.payload) for refusal in refusals]
        for value, refusal in zip(values, refusals, strict=True):
            if refusal.position != f"at {place(value)}":
                self.world.violated(f"{self.name}: {value} was taken as {refusal.position}")
        await trio.sleep(self.plan.delay)
        if call in self.plan.refusals:
            self.refused += values
            now = trio.current_time()
            self.session.faults += [(now, value) for value in values]
            raise EndpointError(self.name, "take", "as the schedule says")
        self.kept += values


# -- descriptors -----------------------------------------------------------------------------------


@attrs.frozen(kw_only=True, slots=False)  # so that it goes with each base of descriptors
class _Simulated:
    """``world`` and ``life`` are not part of what makes two descriptors equal."""

    world: World = attrs.field(eq=False, repr=False)
    life: int = attrs.field(eq=False, repr=False)
    plan: ExchangePlan
    index: int = 0


def _session(descriptor: _Simulated) -> Session:
    """The session that is being built: the first source of an exchange begins it."""
    return descriptor.world.latest[descriptor.plan.number]


@attrs.frozen(kw_only=True)
class SimulatedSourceDescriptor(_Simulated, SourceDescriptor):
    def build(self, spec: DataSpec, services: Services) -> SimulatedSource:
        if self.index == 0:
            now = trio.current_time()
            world, event = self.world, self.world.next_event()
            session = Session(world, self.plan, self.life, now, event)
            world.sessions.append(session)
            world.latest[self.plan.number] = session
        session = _session(self)
        source = SimulatedSource(session, self.plan.sources[self.index], services.account)
        session.sources.append(source)
        self.world.accounts.setdefault(services.account, []).append(source)
        return source


@attrs.frozen(kw_only=True)
class SimulatedSinkDescriptor(_Simulated, SinkDescriptor):
    def publishes(self, spec: DataSpec) -> tuple[PublishedAttribute, ...]:
        name = f"exchange_{self.plan.number}_{self.index}"
        return (PublishedAttribute(name, spec, 0),)

    def build(self, spec: DataSpec, services: Services) -> SimulatedSink:
        session = _session(self)
        sink = SimulatedSink(session, self.plan.sinks[self.index], services.account)
        session.sinks.append(sink)
        self.world.accounts.setdefault(services.account, []).append(sink)
        return sink


@attrs.frozen(kw_only=True)
class SimulatedPipeDescriptor(_Simulated, PipeDescriptor):
    def build(self, spec: DataSpec) -> SimulatedPipe:
        assert self.plan.pipe is not None
        return SimulatedPipe(spec, _session(self), self.plan.pipe)


@attrs.frozen(kw_only=True)
class SimulatedPolicyDescriptor(_Simulated, TolerantPolicyDescriptor):
    def build(self, services: Services) -> SimulatedPolicy:
        assert isinstance(self.plan.on_error, SetAside)
        session = _session(self)
        session.policy = SimulatedPolicy(session, self.plan.on_error)
        return session.policy


def _limit(plan: BreakerPlan | None) -> Breaker | None:
    return None if plan is None else Breaker(errors=plan.errors, seconds=plan.seconds)


def descriptor(world: World, life: int, plan: ExchangePlan) -> ExchangeDescriptor:
    """The exchange that a plan says, as a configuration would."""
    common: Any = {"world": world, "life": life, "plan": plan}
    on_error: ErrorPolicyDescriptor | str = "fault"
    match plan.on_error:
        case Skip():
            skip: Any = error_policies.lookup("skip")
            on_error = skip(breaker=_limit(plan.on_error.breaker))
        case SetAside():
            on_error = SimulatedPolicyDescriptor(breaker=_limit(plan.on_error.breaker), **common)
    options: dict[str, Any] = {}
    if plan.pipe is not None:
        options["pipe"] = SimulatedPipeDescriptor(**common)
    if plan.buffer is not None:
        options["buffer"] = Buffer(policy=plan.buffer.policy, size=plan.buffer.size)
    return ExchangeDescriptor(
        dtype="int64",
        source=[
            SimulatedSourceDescriptor(index=index, **common) for index in range(len(plan.sources))
        ],
        sink=[SimulatedSinkDescriptor(index=index, **common) for index in range(len(plan.sinks))],
        on_error=on_error,
        **options,
    )
