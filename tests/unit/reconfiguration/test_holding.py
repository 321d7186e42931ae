"""Who of several connectors holds a path: rules one by one, and random schedules, on virtual time.

The server's clock may run a tenth faster or slower than that of the connectors.
"""

import itertools
import random
import uuid
from types import SimpleNamespace

import pytest
import trio

from queue_connector.configdb.database import UnreachableError
from queue_connector.configdb.memory import MemoryDatabase
from queue_connector.model.errors import EndpointError
from queue_connector.reconfiguration.holding import LOOK_PERIOD, Holding, Terms
from tests.schedules import FEWER

PATH = "/component/connector/owner"
HOLDER = f"{PATH}/state/holder"
TERMS = Terms()
SKEW = 0.1
"""By how much the server's clock is faster or slower."""


@pytest.fixture(autouse=True)
def server(monkeypatch):
    """Leases end by virtual time, at the server's rate; each connector is a process of its own."""
    clock = SimpleNamespace(rate=1.0)
    clock.monotonic = lambda: trio.current_time() * clock.rate
    monkeypatch.setattr("queue_connector.configdb.memory.time", clock)
    numbers = itertools.count()
    identity = "queue_connector.reconfiguration.holder.process_identity"
    monkeypatch.setattr(identity, lambda: f"elsewhere {next(numbers)}")
    return clock


class Line(MemoryDatabase):
    """A client of one connector, whose line to the server can be hurt."""

    def __init__(self, name, chance=None):
        super().__init__(name)
        self.manner = "passes"
        self.denied = False
        self.sees_standby = False
        self._chance = chance

    async def _reach(self, operation):
        await self._carry(operation)
        await super()._reach(operation)

    async def _carry(self, operation):
        if self._chance is not None:
            await trio.sleep(self._chance.uniform(0, 0.1))
        if self.manner == "hangs":
            await trio.sleep_forever()
        if self.manner == "refuses":
            raise UnreachableError("a line", operation, "it is cut")

    async def view(self, levels):
        view = await super().view(levels)
        await self._carry("reply")
        others = (path for path in view.values if "/standby-" in path)
        self.sees_standby = any(not path.endswith(self.token) for path in others)
        return view

    async def transact(self, changes, **options):
        if self.denied:
            raise EndpointError("a line", "write", "permission denied")
        done = await super().transact(changes, **options)
        await self._carry("reply")
        return done

    async def renew_lease(self, lease):
        alive = await super().renew_lease(lease)
        await self._carry("reply")
        return alive

    async def grant_lease(self, seconds):
        lease = await super().grant_lease(seconds)
        await self._carry("reply")
        return lease


class Peer:
    """A connector that streams nothing, and tells when it would."""

    def __init__(self, world, name, *, standby=True, drain=0.0):
        self.world = world
        self.name = name
        self.streams = False
        self.history = []
        self.reasons = []
        self.line = Line(world.name, world.chance)
        self.drain = drain
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.holding = Holding(
            self.line,
            PATH,
            PATH,
            device=name,
            standby=standby,
            take_up=self._take_up,
            leave_off=self._leave_off,
            on_change=lambda: None,
        )
        self.line.token = self.holding._self.token
        world.peers.append(self)
        world.nursery.start_soon(self._run)

    async def _run(self):
        with self.scope:
            await self.holding.run()
        self._is(False)
        self.ended.set()

    def _is(self, streams):
        if streams is not self.streams:
            self.streams = streams
            self.history.append((trio.current_time(), streams))
            if streams:
                self.world.began(self)

    def _take_up(self):
        self._is(True)

    async def _leave_off(self, reason, deadline):
        self.reasons.append(reason)
        with trio.CancelScope(deadline=deadline):
            await trio.sleep(self.drain)
        self._is(False)

    async def stop(self):
        """End in order: what streams is stopped before the path is released."""
        self._is(False)
        self.scope.cancel()
        await self.ended.wait()

    async def kill(self):
        self.line.manner = "refuses"
        await self.stop()


class World:
    def __init__(self, nursery, chance=None):
        self.nursery = nursery
        self.chance = chance
        self.name = uuid.uuid4().hex
        self.peers = []
        self.overlaps = []

    def began(self, peer):
        for other in self.peers:
            if other is not peer and other.streams:
                self.overlaps.append((trio.current_time(), other, peer, other.line.sees_standby))

    def streaming(self):
        return [peer.name for peer in self.peers if peer.streams]

    async def until(self, *names, within):
        began = trio.current_time()
        with trio.fail_after(within):
            while self.streaming() != list(names):  # noqa: ASYNC110  (it is to be exact)
                await trio.sleep(0.01)
        return trio.current_time() - began


@pytest.fixture
async def world():
    async with trio.open_nursery() as nursery:
        yield World(nursery)
        nursery.cancel_scope.cancel()


async def test_the_first_streams_and_the_second_says_who_does(world, autojump_clock):
    first = Peer(world, "a/b/1", standby=False)
    await world.until("a/b/1", within=1)
    second = Peer(world, "a/b/2", standby=False)
    await second.holding.decided()
    assert world.streaming() == ["a/b/1"]
    assert second.holding.refusal.startswith(f"{PATH}: held by a/b/1 on ")
    assert " since 20" in second.holding.refusal
    assert first.holding.refusal == ""
    await first.stop()
    assert await world.until("a/b/2", within=1) <= LOOK_PERIOD + 0.1
    assert second.holding.refusal == ""


async def test_of_a_holder_that_was_killed_a_standby_takes_over_within_the_lease(
    world, autojump_clock
):
    first = Peer(world, "first")
    await world.until("first", within=1)
    second = Peer(world, "second")
    await trio.sleep(60)
    (note,) = second.holding.notes
    assert note.startswith(f"{PATH}: standing by for first on ")
    await first.kill()
    assert await world.until("second", within=TERMS.lease + 1) <= TERMS.lease + LOOK_PERIOD + 0.1
    assert second.holding.notes == ()


@pytest.mark.parametrize("manner", ["refuses", "hangs"])
@pytest.mark.parametrize("drain", [0.0, 60.0])
async def test_a_holder_without_its_database_stops_before_a_standby_begins(
    world, manner, drain, autojump_clock
):
    first = Peer(world, "first", drain=drain)
    await world.until("first", within=1)
    Peer(world, "second")
    await trio.sleep(5)
    first.line.manner = manner
    await world.until("second", within=TERMS.lease + 1)
    assert world.overlaps == []
    (_, (stopped, _)) = first.history
    assert trio.current_time() - stopped >= TERMS.margin
    first.line.manner = "passes"
    await trio.sleep(60)
    assert world.streaming() == ["second"]
    assert first.holding.notes


async def test_a_holder_whose_database_comes_back_within_the_lease_goes_on(world, autojump_clock):
    first = Peer(world, "first")
    await world.until("first", within=1)
    Peer(world, "second")
    await trio.sleep(5)
    first.line.manner = "refuses"
    await world.until(within=TERMS.lease)
    first.line.manner = "passes"
    await world.until("first", within=1)
    await trio.sleep(60)
    assert world.streaming() == ["first"]


@pytest.mark.parametrize("manner", ["refuses", "hangs"])
async def test_without_a_standby_no_outage_stops_a_stream(world, manner, autojump_clock):
    only = Peer(world, "only", standby=False)
    await world.until("only", within=1)
    for outage in (1, 9, 60, 3600):
        only.line.manner = manner
        await trio.sleep(outage)
        only.line.manner = "passes"
        await trio.sleep(20)
        assert Line(world.name)._store.latest().values[HOLDER]
    assert only.history == [(only.history[0][0], True)]


async def test_a_standby_that_has_gone_is_not_stopped_for(world, autojump_clock):
    first = Peer(world, "first")
    await world.until("first", within=1)
    second = Peer(world, "second")
    await trio.sleep(5)
    await second.kill()
    await trio.sleep(TERMS.lease + TERMS.period + 1)
    first.line.manner = "refuses"
    await trio.sleep(600)
    assert world.streaming() == ["first"]


async def test_a_refused_one_does_not_begin_where_the_holder_may_stream_on(world, autojump_clock):
    """The holder has seen no standby, so it goes on without its database."""
    first = Peer(world, "first", standby=False)
    await world.until("first", within=1)
    second = Peer(world, "second", standby=False)
    await trio.sleep(30)
    first.line.manner = "refuses"
    await trio.sleep(600)
    assert world.streaming() == ["first"]
    assert "gone without saying" in second.holding.refusal
    first.line.manner = "passes"
    await trio.sleep(5)
    assert ": held by first" in second.holding.refusal
    await first.kill()
    await trio.sleep(60)
    assert world.streaming() == []
    second.holding.look_again()
    await world.until("second", within=1)


async def test_what_was_killed_just_before_keeps_nobody_away_for_longer_than_its_lease(
    world, autojump_clock
):
    first = Peer(world, "first", standby=False)
    await trio.sleep(30)
    await first.kill()
    Peer(world, "second", standby=False)
    assert await world.until("second", within=TERMS.lease + 1) > 5


async def test_one_that_finds_its_path_taken_stops(world, autojump_clock):
    first = Peer(world, "first", standby=False)
    await world.until("first", within=1)
    first.line.manner = "refuses"
    await trio.sleep(60)
    Peer(world, "second")
    await world.until("first", "second", within=1)
    first.line.manner = "passes"
    bound = TERMS.period + LOOK_PERIOD + 0.1
    assert await world.until("second", within=10) <= bound
    assert first.holding.refusal.startswith(f"{PATH}: held by second")


async def test_a_key_that_somebody_deletes_or_spoils_is_written_again(world, autojump_clock):
    Peer(world, "only")
    await world.until("only", within=1)
    database = MemoryDatabase(world.name)
    await database.delete(HOLDER)
    await trio.sleep(TERMS.period + 1)
    assert b'"only"' in (await database.get(HOLDER)).value
    await database.put(HOLDER, "[" * 10_000)
    await trio.sleep(TERMS.period + 1)
    assert b'"only"' in (await database.get(HOLDER)).value
    assert world.streaming() == ["only"]


async def test_who_may_not_write_streams_and_says_that_it_keeps_nobody_away(world, autojump_clock):
    only = Peer(world, "only", standby=False)
    only.line.denied = True
    await world.until("only", within=1)
    (problem,) = only.holding.problems
    assert "keeping others from streaming it too is refused: permission denied" in problem
    only.line.denied = False
    await trio.sleep(TERMS.period + 1)
    assert only.holding.problems == ()
    assert only.history == [(only.history[0][0], True)]


async def test_a_standby_that_may_not_write_never_streams(world, autojump_clock):
    only = Peer(world, "only")
    only.line.denied = True
    await trio.sleep(60)
    assert world.streaming() == []
    assert "standing by is refused" in only.holding.problems[0]


async def hurt(world, chance):
    """One more thing happens."""
    living = [peer for peer in world.peers if not peer.ended.is_set()]
    choices = ["nothing", "line", "line", "kill", "stop", "outage"]
    if len(living) < 3:
        choices += ["begin"] * 4
    what = chance.choice(choices)
    if what == "begin":
        drain = chance.choice([0, 0.5, 4, 60])
        Peer(world, f"peer {len(world.peers)}", drain=drain)
    elif living and what == "line":
        chance.choice(living).line.manner = chance.choice(["passes", "passes", "refuses", "hangs"])
    elif living and what in ("kill", "stop"):
        await getattr(chance.choice(living), what)()
    elif what == "outage":
        manner = chance.choice(["refuses", "hangs"])
        for peer in living:
            peer.line.manner = manner
        await trio.sleep(chance.uniform(0, 20))
        for peer in living:
            peer.line.manner = "passes"
    await trio.sleep(chance.choice([0.1, 1, 3, 8, 14]) * chance.random())


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_only_one_streams_that_knows_of_the_others(
    seed, server, autojump_clock
):
    overlaps = begun = 0
    for number in range(FEWER // 3):
        chance = random.Random(f"{seed} {number}")
        server.rate = chance.uniform(1 - SKEW, 1 + SKEW)
        async with trio.open_nursery() as nursery:
            world = World(nursery, chance)
            Peer(world, "peer 0")
            for _ in range(25):
                await hurt(world, chance)
            for when, one, other, known in world.overlaps:
                told = f"seed {seed} {number}: at {when:.2f} {other.name} beside {one.name}"
                assert not known, f"{told}, which had seen a standby"
            for peer in world.peers:
                if not peer.ended.is_set():
                    peer.line.manner = "passes"
            await trio.sleep(2 * TERMS.lease)
            alive = [peer for peer in world.peers if not peer.ended.is_set()]
            assert len(world.streaming()) == min(1, len(alive)), f"seed {seed} {number}"
            overlaps += len(world.overlaps)
            begun += sum(len(peer.history) for peer in world.peers)
            nursery.cancel_scope.cancel()
    assert begun > FEWER
    assert overlaps < begun / 20, "only what could not have been known"
