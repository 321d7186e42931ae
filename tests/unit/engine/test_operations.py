"""What is done to one exchange while the others of its group stream."""

import contextlib
import datetime
import random
from functools import partial

import pytest
import trio

import queue_connector.connectors.pipes.default  # noqa: F401 - registers the default pipe
from queue_connector.engine.following import Wanted
from queue_connector.engine.state import Health, State
from queue_connector.engine.window import Window
from queue_connector.model.errors import StateError, UnknownExchangeError
from queue_connector.observability.explaining import Weight, explain
from queue_connector.testing.endpoints import Keeper, Numbers, Recorded, exchange
from tests.unit.engine.test_reconfigure import World, settles


@pytest.fixture
def world():
    return World()


@pytest.fixture
async def supervisor(world, nursery):
    async with world.open() as supervisor:
        supervisor.follow({"g": Wanted(1, [world.exchange("a"), world.exchange("b")])})
        await settles(supervisor, g=State.ON)
        yield supervisor


def kept(world, name, session=-1):
    return world.sinks[name][session].kept


async def test_a_paused_exchange_takes_in_nothing_and_the_others_go_on(
    autojump_clock, world, supervisor
):
    await trio.sleep(5.5)
    supervisor.operations.pause("g[0]")
    before = list(kept(world, "a"))
    await trio.sleep(10)
    assert kept(world, "a") == before == world.sources["a"][0].handed
    assert len(kept(world, "b")) >= 14
    assert supervisor.state is State.ON
    supervisor.operations.resume("g[0]")
    await trio.sleep(5)
    assert kept(world, "a") == list(range(len(kept(world, "a"))))
    assert len(kept(world, "a")) >= len(before) + 4
    assert world.sources["a"][0].acknowledged == kept(world, "a")


async def test_what_was_taken_in_is_delivered_behind_a_slow_sink(autojump_clock, world, nursery):
    async with world.open() as supervisor:
        slow = world.exchange("a", batch=10, sink={"period": 1}, count=30)
        supervisor.follow({"g": Wanted(1, [slow])})
        await settles(supervisor, g=State.ON)
        await trio.sleep(2.5)
        supervisor.operations.pause("g[0]")
        handed = list(world.sources["a"][0].handed)
        assert len(kept(world, "a")) < len(handed)
        await trio.sleep(60)
        assert kept(world, "a") == handed == world.sources["a"][0].handed
        assert supervisor.statistics()["g[0]"]["in_flight"] == 0


async def test_what_is_in_hand_when_it_is_paused_is_delivered(autojump_clock, nursery):
    """Of two sources that both saw room for one datum, one has to wait with what it has."""
    record = Recorded()
    sources = [Numbers(record, first=first, period=1) for first in (0, 100)]
    sink = Keeper(record, period=3)
    async with exchange(sources, [sink], window=Window(1)) as running:
        nursery.start_soon(running.run)
        await trio.sleep(1.5)
        running.inlets.pause()
        handed = [*sources[0].handed, *sources[1].handed]
        assert handed == [0, 100]
        await trio.sleep(30)
        assert sorted(sink.kept) == handed
        assert running.ledger.in_flight == 0
        nursery.cancel_scope.cancel()


async def test_a_pause_is_told_everywhere(autojump_clock, world, supervisor):
    await trio.sleep(3.5)
    supervisor.operations.pause("g[1]")
    statistics = supervisor.statistics()
    since = statistics["g[1]"]["paused"]
    assert since
    assert statistics["g[1]"]["sources"][0]["condition"]["paused"] == since
    assert statistics["g[0]"]["paused"] == ""
    assert supervisor.status == f"g: ON, 2 exchanges\n  g[1] is paused since {since}"
    assert supervisor.health is Health.OK
    assert supervisor.as_dict()["g"]["paused"] == ["g[1]"]
    now = datetime.datetime.now(datetime.UTC)
    reasons = explain(supervisor.as_dict(), statistics, now)
    assert reasons[0].weight is Weight.STOPS
    told = f"paused since {since}: the command Resume has it go on where it was"
    assert str(reasons[0]) == f"g[1]: {told}"
    supervisor.operations.resume("g[1]")
    assert supervisor.status == "g: ON, 2 exchanges"
    assert supervisor.statistics()["g[1]"]["sources"][0]["condition"]["paused"] == ""


async def test_twice_is_the_same_as_once(autojump_clock, world, supervisor):
    supervisor.operations.resume("g[0]")
    supervisor.operations.pause("g[0]")
    since = supervisor.statistics()["g[0]"]["paused"]
    await trio.sleep(3)
    supervisor.operations.pause("g[0]")
    assert supervisor.statistics()["g[0]"]["paused"] == since
    supervisor.operations.resume("g[0]")
    await trio.sleep(3)
    assert kept(world, "a")


async def test_a_change_keeps_the_pause_of_what_it_keeps(autojump_clock, world, supervisor):
    supervisor.operations.pause("g[1]")
    [_, b] = supervisor.groups["g"].exchanges
    supervisor.follow({"g": Wanted(2, [b, world.exchange("c")])})
    await trio.sleep(2)
    assert supervisor.as_dict()["g"]["exchanges"] == ["g[0]", "g[1]"]
    assert supervisor.as_dict()["g"]["paused"] == ["g[0]"]
    before = list(kept(world, "b"))
    await trio.sleep(10)
    assert kept(world, "b") == before
    assert len(kept(world, "c")) >= 9


async def test_a_stop_delivers_what_there_is_and_ends_the_pause(autojump_clock, world, supervisor):
    await trio.sleep(3.5)
    supervisor.operations.pause("g[0]")
    await trio.sleep(5)
    await supervisor.stop()
    await settles(supervisor, g=State.OFF)
    world.nothing_lost()
    assert supervisor.as_dict()["g"]["paused"] == []
    with pytest.raises(StateError, match=r"Pause is not allowed in state OFF; .* OPEN, ON"):
        supervisor.operations.pause("g[0]")
    await supervisor.start()
    await settles(supervisor, g=State.ON)
    await trio.sleep(5.5)
    assert len(kept(world, "a")) >= 4


async def test_an_exchange_that_is_opening_can_be_paused_before_it_streams(
    autojump_clock, world, nursery
):
    async with world.open() as supervisor:
        opening = world.exchange("a", start=partial(trio.sleep, 5))
        supervisor.follow({"g": Wanted(1, [opening])})
        await settles(supervisor, g=State.OPEN)
        supervisor.operations.pause("g[0]")
        await settles(supervisor, g=State.ON)
        await trio.sleep(10)
        assert kept(world, "a") == []
        supervisor.operations.resume("g[0]")
        await trio.sleep(5.5)
        assert len(kept(world, "a")) >= 4


async def test_a_restart_begins_anew_beside_the_others(autojump_clock, world, supervisor):
    await trio.sleep(3.5)
    supervisor.operations.pause("g[0]")
    supervisor.operations.restart("g[0]")
    supervisor.operations.restart("g[0]")
    await trio.sleep(5.2)
    assert len(world.sources["a"]) == 2
    assert len(world.sources["b"]) == 1
    assert len(kept(world, "a")) >= 3
    assert supervisor.state is State.ON
    assert supervisor.statistics()["g[0]"]["restarts"] == 1
    assert supervisor.as_dict()["g"]["paused"] == []
    world.nothing_lost()


async def test_a_restart_that_a_stop_meets_starts_nothing(autojump_clock, world, nursery):
    async with world.open() as supervisor:
        supervisor.follow({"g": Wanted(1, [world.exchange("a", sink={"period": 3})])})
        await settles(supervisor, g=State.ON)
        await trio.sleep(5.5)
        supervisor.operations.restart("g[0]")
        await trio.testing.wait_all_tasks_blocked()
        await supervisor.stop()
        await settles(supervisor, g=State.OFF)
        assert len(world.sources["a"]) == 1
        assert world.record.open == 0
        await supervisor.start()
        await settles(supervisor, g=State.ON)


async def test_an_exchange_that_has_ended_can_be_restarted_and_not_paused(
    autojump_clock, world, nursery
):
    async with world.open() as supervisor:
        wanted = [world.exchange("a", count=2), world.exchange("b")]
        supervisor.follow({"g": Wanted(1, wanted)})
        await settles(supervisor, g=State.ON)
        await trio.sleep(5)
        with pytest.raises(StateError, match=r"ON, where g\[0\] has ended"):
            supervisor.operations.pause("g[0]")
        supervisor.operations.restart("g[0]")
        await trio.sleep(5)
        assert [sink.kept for sink in world.sinks["a"]] == [[0, 1], [0, 1]]


async def test_what_is_not_there_is_named(autojump_clock, world, supervisor):
    with pytest.raises(UnknownExchangeError, match=r"called 'g\[2\]' \(did you mean 'g\[1\]'\?\)"):
        supervisor.operations.pause("g[2]")
    with pytest.raises(UnknownExchangeError, match=r"called 'else' \(known: g\[0\], g\[1\]\)"):
        supervisor.operations.restart("else")


@pytest.mark.parametrize("seed", range(150))
async def test_in_whatever_order_they_come_nothing_is_lost(autojump_clock, nursery, seed):
    """Two exchanges, one of them behind a slow sink; what is held is never handed over."""
    rng = random.Random(seed)
    world = World()
    async with world.open() as supervisor:
        wanted = [world.exchange("a", batch=3), world.exchange("b", batch=2, sink={"period": 0.4})]
        supervisor.follow({"g": Wanted(1, wanted)})
        await settles(supervisor, g=State.ON)
        for number in range(30):
            name = f"g[{rng.randrange(2)}]"
            act = rng.choice(["pause", "pause", "resume", "resume", "restart", "reset", "change"])
            if act == "reset":
                supervisor.operations.reset_statistics()
            elif act == "change":
                wanted = [*wanted[::-1]]
                supervisor.follow({"g": Wanted(number + 2, wanted)})
            else:
                with contextlib.suppress(StateError):  # it is between a stop and a start
                    getattr(supervisor.operations, act)(name)
            await trio.sleep(rng.choice([0, 0.1, 1, 5]))
            for stream in supervisor.groups["g"].streams:
                assert stream.ledger.balanced
            assert supervisor.state is State.ON
        await trio.sleep(60)  # what was taken in is delivered, and restarts are over
        held = [stream for stream in supervisor.groups["g"].streams if stream.paused]
        before = [stream.ledger.received for stream in held]
        await trio.sleep(60)
        assert [stream.ledger.received for stream in held] == before
        assert all(stream.ledger.in_flight == 0 for stream in held)
        await supervisor.stop()
        await settles(supervisor, g=State.OFF)
        world.nothing_lost()
        assert world.record.open == 0


async def test_statistics_count_from_zero_and_still_balance(autojump_clock, world, nursery):
    async with world.open() as supervisor:
        slow = world.exchange("a", batch=10, sink={"period": 1})
        supervisor.follow({"g": Wanted(1, [slow])})
        await settles(supervisor, g=State.ON)
        stream = supervisor.groups["g"].streams[0]
        await trio.sleep(2.5)
        supervisor.operations.reset_statistics()
        assert stream.ledger.balanced
        assert stream.ledger.received == stream.ledger.in_flight > 0
        assert stream.statistics()["latency"]["sum"] == 0
        await trio.sleep(20)
        assert stream.ledger.balanced
        assert stream.ledger.delivered
