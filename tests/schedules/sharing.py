"""Members of a group on a virtual clock: the coordinator is simulated, what a member does is ours.

* ours      `Subscription`, `HeldPartitions`, `Bookmark` and `Committing`, and how batches are made
* simulated the log, the client, the thread that polls, the group, and an exchange with a slow sink
* judged    nothing is left out, order is kept, what comes twice has a reason, and giving back ends
"""

from __future__ import annotations

import logging
import math
import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio
from confluent_kafka import OFFSET_INVALID, KafkaError, KafkaException, TopicPartition

from queue_connector.connectors.kafka.bookmark import Bookmark
from queue_connector.connectors.kafka.cluster import EARLIEST, Found
from queue_connector.connectors.kafka.committing import Committing
from queue_connector.connectors.kafka.consumer_source import _Making
from queue_connector.connectors.kafka.held import HeldPartitions
from queue_connector.connectors.kafka.member import GIVING_BACK
from queue_connector.connectors.kafka.subscription import Start, Subscription
from queue_connector.model.condition import Condition
from queue_connector.runtime.inbox import ToTrio
from tests.support.waiting import until

TOPIC = "t"
SESSION = 10.0
TURN = 0.1
LOG = logging.getLogger("sharing")
LOG.disabled = True


@attrs.frozen
class Written:
    """A message as librdkafka hands it over."""

    number: int
    place: int

    def partition(self) -> int:
        return self.number

    def offset(self) -> int:
        return self.place

    def value(self) -> bytes:
        return b"%d" % self.place

    def error(self) -> None:
        return None


class Group:
    """The log, and the coordinator with what is committed."""

    def __init__(self, chance: random.Random, partitions: int) -> None:
        self.chance = chance
        self.ends = [chance.randrange(20) for _ in range(partitions)]
        self.found = Found(dict.fromkeys(range(partitions), 1))
        self.committed: dict[int, int] = {}
        self.begun: dict[int, int] = {}
        self.members: list[SimulatedMember] = []
        self.delivered: dict[int, list[int]] = defaultdict(list)
        self.excused: dict[int, set[int]] = defaultdict(set)
        self.violations: list[str] = []
        self._changing = trio.Lock()

    def excuse(self, numbers: set[int], since: dict[int, int] | None = None) -> None:
        """What of these is not committed, or was not *since*, may come twice."""
        committed = self.committed if since is None else since
        for number in numbers:
            self.excused[number].update(range(committed.get(number, 0), self.ends[number]))

    def commit(self, places: Sequence[TopicPartition]) -> None:
        for place in places:
            self.begun.setdefault(place.partition, place.offset)
            self.committed[place.partition] = place.offset
            there = set(self.delivered[place.partition])
            if missing := set(range(self.begun[place.partition], place.offset)) - there:
                self.violations.append(f"{place} was committed without {sorted(missing)}")

    async def share_out(self) -> None:
        """Kafka's cooperative way: first all give back, then who is to have it is given it."""
        async with self._changing:
            members = [member for member in self.members if not member.expelled]
            if not members:
                return
            target = self._target(members)
            async with trio.open_nursery() as nursery:
                for member in members:
                    if away := member.owned - target[id(member)]:
                        nursery.start_soon(member.give_back, away)
            for member in members:
                member.give(target[id(member)] - member.owned)

    def _target(self, members: list[SimulatedMember]) -> dict[int, set[int]]:
        share = math.ceil(len(self.ends) / len(members))
        target = {id(m): set(sorted(m.owned)[:share]) for m in members}
        free = set(range(len(self.ends))) - set().union(*target.values())
        for number in sorted(free):
            fewest = min(members, key=lambda m: len(target[id(m)]))
            target[id(fewest)].add(number)
        return target


class SimulatedMember:
    """One member with its exchange; it stands for consumer, asker and thread, too."""

    patience = 1.0
    urgent = False

    def __init__(self, group: Group, start: str) -> None:
        self.group = group
        self.owned: set[int] = set()
        self.expelled = self.dead = False
        self.asker = self.consumer = self.trouble = self
        self.tell = ToTrio()
        self.unmarked: set[Any] = set()
        self.bookmark = Bookmark("g", self, shared=True)  # type: ignore[arg-type]
        self.upstream: Counter[str] = Counter()
        self.subscription = Subscription(
            TOPIC, Start.parse(start), None, LOG, self.upstream, Condition()
        )
        self.held = HeldPartitions(self, self.subscription)  # type: ignore[arg-type]
        topics: Any = {TOPIC: self.held}
        self.committing = Committing(self.bookmark, topics, self.unmarked, self.tell)
        self.subscription.on_moved = lambda places: self.committing.moved(TOPIC, places)
        self.scope = trio.CancelScope()
        self._orders: deque[Callable[[], object]] = deque()
        self._fetched: dict[int, int] = {}
        self._polling = trio.Lock()

    # -- client, asker ---------------------------------------------------------------------------

    def post(self, function: Callable[..., object], *args: Any) -> None:
        self._orders.append(lambda: function(*args))

    def hurry(self) -> None:
        pass

    def report(self, _reason: str) -> None:
        pass

    def begins(self, places: Any, spec: Any, then: Callable[..., None]) -> None:
        for topic, number in places:
            then((topic, number), 0 if spec is EARLIEST else self.group.ends[number])

    def committed(self, asked: Any, _timeout: float) -> list[TopicPartition]:
        known = self.group.committed
        return [
            TopicPartition(TOPIC, place.partition, known.get(place.partition, OFFSET_INVALID))
            for place in asked
        ]

    def commit(self, offsets: Any, asynchronous: bool) -> Any:
        refused = self.expelled or self.group.chance.random() < 0.05
        error = KafkaError(KafkaError.UNKNOWN_MEMBER_ID) if refused else None
        if error is None:
            self.group.commit(offsets)
        elif not asynchronous:
            raise KafkaException(error)
        if asynchronous:
            self.post(self.bookmark.settings()["on_commit"], error, offsets)
        return offsets

    def incremental_assign(self, places: Any) -> None:
        for place in places:
            assert place.partition not in self._fetched
            self._fetched[place.partition] = place.offset
            self.group.begun.setdefault(place.partition, place.offset)

    def incremental_unassign(self, places: Any) -> None:
        for place in places:
            del self._fetched[place.partition]

    def pause(self, _places: Any) -> None:
        pass

    resume = pause

    # -- the thread that polls -------------------------------------------------------------------

    async def poll(self) -> None:
        while True:
            async with self._polling:
                for _ in range(len(self._orders)):
                    self._orders.popleft()()
                self.held.looked(self.group.found, 0.0)
                self.committing.commit(self)  # type: ignore[arg-type]
                for number, place in list(self._fetched.items()):
                    end = min(self.group.ends[number], place + self.group.chance.randrange(8))
                    self._fetched[number] = end
                    if not self.subscription.closing:
                        messages: Any = [Written(number, n) for n in range(place, end)]
                        self.held.take(messages)
            await trio.sleep(TURN)

    def give(self, numbers: set[int]) -> None:
        self.owned |= numbers
        self.held.give(numbers)

    async def give_back(self, numbers: set[int]) -> None:
        """As `Member` does it, but that the virtual clock is waited for."""
        async with self._polling:
            self.held.take_away(numbers)
            began = trio.current_time()
            with trio.move_on_after(GIVING_BACK):
                await until(lambda: self.subscription.returned)
            if self.dead:
                return
            committed = self.committing.give_back(self, TOPIC, numbers)  # type: ignore[arg-type]
            whole = committed and self.subscription.returned
            self.held.let_go(numbers, whole)
            if not whole:
                self.group.excuse(numbers)
            if trio.current_time() - began > GIVING_BACK + 2 * TURN:
                self.group.violations.append("giving back took too long")
            self.owned -= numbers

    # -- the exchange ----------------------------------------------------------------------------

    def decode(self, messages: Sequence[Any]) -> list[Any]:
        return [int(message.value()) for message in messages]

    async def carry(self) -> None:
        send, receive = trio.open_memory_channel[Any](self.group.chance.randrange(4))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._deliver, receive)
            async with send:
                while await self.subscription.wait() is not None:
                    most = self.group.chance.randrange(1, 20)
                    making = _Making(self, self.subscription, most)  # type: ignore[arg-type]
                    making.run(math.inf, None)
                    batch = making.batch()
                    self.subscription.took(making.count, making.size, batch.token)
                    await send.send(batch)

    async def _deliver(self, receive: trio.MemoryReceiveChannel[Any]) -> None:
        slow = self.group.chance.choice([0.01, 0.1, 0.5, 3.0])
        async for batch in receive:
            await trio.sleep(self.group.chance.random() * slow)
            for message in batch.raw:
                self.group.delivered[message.partition()].append(message.offset())
            self.subscription.settle(batch.token)

    # -- its life --------------------------------------------------------------------------------

    async def live(self) -> None:
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self.poll)
                nursery.start_soon(self.carry)

    async def leave(self) -> None:
        """In order: deliver what was taken in, commit, go."""
        self.subscription.close()
        async with self._polling:
            pass
        await until(lambda: self.subscription.first is None and not self._under_way())
        self.committing.leaves(self.subscription)
        with trio.move_on_after(5.0):
            await self.subscription.committed.wait()
        await self.end()
        if not self.subscription.committed.is_set():
            self.group.excuse(self.owned)
        self.owned = set()
        await self.group.share_out()

    def _under_way(self) -> bool:
        sub = self.subscription
        return any(end > sub.positions.get(n, end) for n, end in sub._ends_taken.items())

    async def end(self) -> None:
        self.dead = True
        self.scope.cancel()
        self.group.members.remove(self)

    async def killed(self) -> None:
        self.group.excuse(self.owned)
        await self.end()
        await trio.sleep(SESSION)
        self.owned = set()
        await self.group.share_out()

    async def silent(self, seconds: float) -> None:
        """Others get its partitions; it reads on until it hears of that, and joins again."""
        committed = dict(self.group.committed)
        self.expelled = True
        await self.group.share_out()
        await trio.sleep(seconds)
        async with self._polling:
            self.group.excuse(self.owned, committed)
            self.held.lose(set(self.owned))
            self.owned = set()
            self.expelled = False
        await self.group.share_out()


@attrs.frozen
class Clock:
    """The time that a bookmark goes by."""

    monotonic: Callable[[], float] = trio.current_time


async def play(seed: int) -> Group:
    """One schedule: members come, go, are killed and fall silent while messages are written."""
    chance = random.Random(seed)
    group = Group(chance, partitions=chance.choice([1, 3, 12]))
    start = chance.choice(["earliest", "latest"])
    busy: set[int] = set()

    async def write() -> None:
        until = trio.current_time() + 60.0
        while trio.current_time() < until:
            await trio.sleep(chance.random())
            number = chance.randrange(len(group.ends))
            group.ends[number] += chance.randrange(20)

    async def join(nursery: trio.Nursery) -> None:
        member = SimulatedMember(group, start)
        group.members.append(member)
        nursery.start_soon(member.live)
        await group.share_out()

    async def hurt(nursery: trio.Nursery) -> None:
        event = chance.choice(["join", "join", "leave", "kill", "silent"])
        free = [m for m in group.members if id(m) not in busy]
        if event == "join" or not free:
            if len(group.members) < 5:
                await join(nursery)
            return
        member = chance.choice(free)
        busy.add(id(member))
        if event == "leave":
            await member.leave()
        elif event == "kill":
            await member.killed()
        else:
            await member.silent(chance.random() * 20)
        busy.discard(id(member))

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as events:
            await join(nursery)
            events.start_soon(write)
            for _ in range(chance.randrange(1, 8)):
                await trio.sleep(chance.random() * 10)
                events.start_soon(hurt, nursery)
        if not group.members:
            await join(nursery)
        with trio.move_on_after(1000):
            while left_out(group):  # noqa: ASYNC110  costly, so not as often as `until`
                await trio.sleep(1.0)
        nursery.cancel_scope.cancel()
    return group


def left_out(group: Group) -> dict[int, set[int]]:
    """Partition → what was not delivered, since the group began there."""
    found = {
        number: set(range(group.begun.get(number, 0), end)) - set(group.delivered[number])
        for number, end in enumerate(group.ends)
    }
    return {number: places for number, places in found.items() if places}


def judge(group: Group) -> list[str]:
    """What is against the promises."""
    found = list(group.violations)
    found += [f"{places} of {n} were left out" for n, places in left_out(group).items()]
    for number, places in group.delivered.items():
        first = list(dict.fromkeys(places))
        if first != sorted(first):
            found.append(f"the order of {number} was not kept")
        twice = {place for place, count in Counter(places).items() if count > 1}
        if unexcused := twice - group.excused[number]:
            found.append(f"{sorted(unexcused)} of {number} came twice")
    return found
