"""Changing a group while it streams, by hand and as a configuration database wants it."""

import pytest
import trio

import queue_connector.connectors.pipes.default  # noqa: F401 - registers the default pipe
from queue_connector.engine.following import Wanted
from queue_connector.engine.state import State
from queue_connector.engine.supervisor import Supervisor, open_supervisor
from queue_connector.model.errors import ConfigError, Fault, StateError
from queue_connector.model.exchanges import ExchangeDescriptor
from queue_connector.testing.checkpoints import cancel_at_every_step
from queue_connector.testing.endpoints import Attributes, Given, Keeper, Numbers, Recorded, Taken
from tests.support.waiting import until


class World:
    """Exchanges by name, and what each of their sessions received."""

    def __init__(self) -> None:
        self.record = Recorded()
        self.attributes = Attributes()
        self.sources: dict[str, list[Numbers]] = {}
        self.sinks: dict[str, list[Keeper]] = {}

    def exchange(
        self, name: str, *, names: tuple[str, ...] = (), sink: dict | None = None, **source
    ) -> ExchangeDescriptor:
        def make_source() -> Numbers:
            made = Numbers(self.record, **{"period": 1, **source})
            self.sources.setdefault(name, []).append(made)
            return made

        def make_sink() -> Keeper:
            made = Keeper(self.record, **(sink or {}))
            self.sinks.setdefault(name, []).append(made)
            return made

        return ExchangeDescriptor(
            dtype="int64",
            source=Given(make=make_source),
            sink=Taken(make=make_sink, names=names or (name,)),
        )

    def open(self, **options):
        return open_supervisor(attributes=self.attributes, **options)

    def nothing_lost(self, *but: str) -> None:
        for name, sources in self.sources.items():
            if name in but:
                continue
            for source, sink in zip(sources, self.sinks[name], strict=True):
                assert sink.kept == source.handed, name


async def settles(supervisor: Supervisor, **states: State) -> None:
    """Wait until exactly these groups are in these states."""
    await until(
        lambda: {name: group.state for name, group in supervisor.groups.items()} == states,
        lambda: supervisor.status,
    )


async def test_what_is_wanted_streams_by_itself(autojump_clock):
    world = World()
    async with world.open() as supervisor:
        supervisor.follow({"g": Wanted(7, [world.exchange("a")])})
        await settles(supervisor, g=State.ON)
        await trio.sleep(10)
        assert len(world.sinks["a"][0].kept) >= 9
        assert supervisor.as_dict()["g"]["revision"] == 7


async def test_unchanged_exchanges_of_a_changed_group_are_not_touched(autojump_clock):
    world = World()
    kept = [world.exchange(f"kept{number}") for number in range(20)]
    async with world.open() as supervisor:
        supervisor.follow({"g": Wanted(1, [*kept, world.exchange("old")])})
        await settles(supervisor, g=State.ON)
        await trio.sleep(5)
        supervisor.follow({"g": Wanted(2, [world.exchange("new"), *kept])})
        await trio.sleep(5)
        assert supervisor.state is State.ON
        assert all(len(world.sources[f"kept{number}"]) == 1 for number in range(20))
        assert len(world.sinks["new"][0].kept) >= 3
        assert sorted(world.attributes.owned["g"]) == sorted(
            ["new", *(f"kept{number}" for number in range(20))]
        )
        assert supervisor.statistics()["g[1]"]["received"] >= 9
        supervisor.groups["g"].request_stop()
        await settles(supervisor, g=State.OFF)
        world.nothing_lost()


async def test_an_identical_rewrite_touches_nothing_but_the_revision(autojump_clock):
    world = World()
    exchange = world.exchange("a")
    async with world.open() as supervisor:
        supervisor.follow({"g": Wanted(1, [exchange])})
        await settles(supervisor, g=State.ON)
        supervisor.follow({"g": Wanted(2, [exchange])})
        await trio.sleep(1)
        assert len(world.sources["a"]) == 1
        assert supervisor.groups["g"].revision == 2


async def test_a_refused_configuration_leaves_the_running_one_streaming(autojump_clock):
    world = World()
    exchange = world.exchange("a")
    refusal = ConfigError([Fault("$.exchanges[0].sink", "the key is missing")])
    async with world.open() as supervisor:
        supervisor.follow({"g": Wanted(1, [exchange])})
        await settles(supervisor, g=State.ON)
        supervisor.follow({"g": Wanted(2, refusal=refusal)})
        await trio.sleep(5)
        group = supervisor.groups["g"]
        assert group.state is State.ON
        assert (group.fault.error, group.fault.revision) == ("ConfigError", 2)
        assert group.fault.path == "$.exchanges[0].sink"
        assert len(world.sources["a"]) == 1
        supervisor.follow({"g": Wanted(3, [exchange])})
        await trio.sleep(1)
        assert group.fault is None
        assert len(world.sources["a"]) == 1


async def test_a_refused_configuration_of_a_new_group_is_a_fault_that_can_be_mended(
    autojump_clock,
):
    world = World()
    refusal = ConfigError([Fault("$", "broken")])
    async with world.open() as supervisor:
        supervisor.follow({"g": Wanted(1, refusal=refusal)})
        await settles(supervisor, g=State.FAULT)
        supervisor.follow({"g": Wanted(2, [world.exchange("a")])})
        await settles(supervisor, g=State.ON)
        assert supervisor.groups["g"].fault is None


async def test_a_group_in_fault_is_started_again_by_what_is_written_next(autojump_clock):
    world = World()
    async with world.open() as supervisor:
        wanted = {"g": Wanted(1, [world.exchange("a", bad=[3])])}
        supervisor.follow(wanted)
        await settles(supervisor, g=State.FAULT)
        supervisor.follow(wanted)
        await trio.sleep(10)
        assert supervisor.state is State.FAULT, "the same revision is the same configuration"
        supervisor.follow({"g": Wanted(2, [world.exchange("b")])})
        await settles(supervisor, g=State.ON)


async def test_an_empty_configuration_is_standby_and_a_deleted_one_is_gone(autojump_clock):
    world = World()
    async with world.open() as supervisor:
        supervisor.follow({"g": Wanted(1, [world.exchange("a")]), "h": Wanted(1)})
        await settles(supervisor, g=State.ON, h=State.STANDBY)
        supervisor.follow({"g": Wanted(2)})
        await settles(supervisor, g=State.STANDBY)
        assert world.attributes.owned == {}
        supervisor.follow({})
        await settles(supervisor)
        supervisor.follow({"g": Wanted(3, [world.exchange("a")])})
        await settles(supervisor, g=State.ON)
        world.nothing_lost("a")


async def test_what_is_written_while_one_is_applied_collapses_into_the_last(autojump_clock):
    world = World()
    slow = {"sink": {"period": 2}}
    async with world.open() as supervisor:
        supervisor.follow({"g": Wanted(1, [world.exchange("first", **slow)])})
        await settles(supervisor, g=State.ON)
        await trio.sleep(10)
        for revision in range(2, 10):
            supervisor.follow({"g": Wanted(revision, [world.exchange(f"x{revision}")])})
            await trio.sleep(0.01)
        await trio.sleep(30)
        assert set(world.sources) == {"first", "x2", "x9"}
        assert supervisor.groups["g"].revision == 9
        assert supervisor.state is State.ON


async def test_a_group_that_drains_slowly_does_not_hold_up_another(autojump_clock):
    world = World()
    async with world.open() as supervisor:
        slow = world.exchange("slow", sink={"period": 60})
        supervisor.follow({"s": Wanted(1, [slow])})
        await settles(supervisor, s=State.ON)
        await trio.sleep(5)
        wanted = {"s": Wanted(2, [world.exchange("t")]), "q": Wanted(2, [world.exchange("q")])}
        supervisor.follow(wanted)
        await trio.sleep(0.1)
        assert supervisor.groups["q"].state is State.ON
        assert supervisor.groups["s"].state is State.CLOSE


async def test_two_groups_may_swap_their_attributes(autojump_clock):
    world = World()
    async with world.open() as supervisor:
        supervisor.follow(
            {
                "g": Wanted(1, [world.exchange("a", names=("x",)), world.exchange("c")]),
                "h": Wanted(1, [world.exchange("b", names=("y",))]),
            }
        )
        await settles(supervisor, g=State.ON, h=State.ON)
        supervisor.follow(
            {
                "g": Wanted(2, [world.exchange("a2", names=("y",)), world.exchange("c")]),
                "h": Wanted(2, [world.exchange("b2", names=("x",))]),
            }
        )
        await trio.sleep(30)
        await settles(supervisor, g=State.ON, h=State.ON)
        assert sorted(world.attributes.owned["g"]) == ["c", "y"]
        assert world.attributes.owned["h"] == ["x"]


async def test_an_attribute_that_another_group_keeps_is_a_fault_and_no_hang(autojump_clock):
    world = World()
    async with world.open(stop_grace=10) as supervisor:
        first = world.exchange("a", names=("x",))
        supervisor.follow({"g": Wanted(1, [first])})
        await settles(supervisor, g=State.ON)
        supervisor.follow({"g": Wanted(1, [first]), "h": Wanted(1, [world.exchange("x")])})
        await settles(supervisor, g=State.ON, h=State.FAULT)
        assert "x: still held by g" in supervisor.groups["h"].fault.message


@pytest.mark.parametrize("command", ["stop", "abort"])
async def test_a_command_during_a_change_ends_it_off_with_the_new_configuration(
    command, autojump_clock
):
    world = World()
    async with world.open() as supervisor:
        old = world.exchange("old", sink={"period": 3})
        kept = world.exchange("kept")
        supervisor.follow({"g": Wanted(1, [old, kept])})
        await settles(supervisor, g=State.ON)
        await trio.sleep(10)
        supervisor.follow({"g": Wanted(2, [kept, world.exchange("new")])})
        await trio.sleep(0.5)
        await getattr(supervisor, command)()
        await trio.sleep(30)
        group = supervisor.groups["g"]
        assert group.state is State.OFF
        assert len(group.exchanges) == 2
        assert world.attributes.owned == {"g": ["kept", "new"]}
        assert world.record.open == 0
        await supervisor.start()
        await settles(supervisor, g=State.ON)


async def test_sources_of_one_origin_go_on_where_the_old_ones_stopped(autojump_clock):
    class Positioned(Numbers):
        def positions(self):
            return self._next

        def resume(self, positions):
            self._next = positions

    class From(Given):
        @property
        def origin(self):
            return "topic"

    world = World()

    def exchange(name):
        made = world.exchange(name)

        def make():
            world.sources.setdefault(name, []).append(Positioned(world.record, period=1))
            return world.sources[name][-1]

        return ExchangeDescriptor(dtype="int64", source=From(make=make), sink=made.sink)

    async with world.open() as supervisor:
        others = [world.exchange("other")]
        for revision, name in enumerate("abcd", 1):
            # Both ways of changing: alone in its group, and beside one that is kept.
            beside = others if revision % 2 else []
            supervisor.follow({"g": Wanted(revision, [exchange(name), *beside])})
            await trio.sleep(5.5)
            await settles(supervisor, g=State.ON)
        await supervisor.stop()
        await settles(supervisor, g=State.OFF)
        received = [value for name in "abcd" for value in world.sinks[name][0].kept]
        assert received == list(range(len(received)))
        assert len(received) > 20


@pytest.mark.parametrize("command", ["start", "standby"])
async def test_a_command_between_two_steps_of_a_change_waits_for_its_end(command, autojump_clock):
    world = World()
    define = world.attributes.define

    async def slow(owner, wanted):
        await trio.sleep(1)
        await define(owner, wanted)

    async with world.open() as supervisor:
        supervisor.follow({"g": Wanted(1, [world.exchange("a")])})
        await settles(supervisor, g=State.ON)
        world.attributes.define = slow
        supervisor.follow({"g": Wanted(2, [world.exchange("b")])})
        await until(lambda: supervisor.state is State.OFF)  # stopped, and not yet taken on
        with pytest.raises(StateError, match="is not allowed in state O"):
            await getattr(supervisor, command)()
        await settles(supervisor, g=State.ON)
        assert supervisor.groups["g"].fault is None
        assert world.attributes.owned == {"g": ["b"]}


async def test_after_a_close_nothing_is_followed_any_more(autojump_clock):
    world = World()
    async with world.open() as supervisor:
        supervisor.follow({"g": Wanted(1, [world.exchange("a")])})
        await settles(supervisor, g=State.ON)
        await supervisor.close()
        supervisor.follow({"g": Wanted(2, [world.exchange("b")]), "h": Wanted(2)})
        await trio.sleep(30)
        await settles(supervisor, g=State.OFF)
        assert set(world.sources) == {"a"}


def test_interrupted_anywhere_a_change_leaves_nothing_open_and_the_ledgers_balance():
    async def scenario():
        world = World()
        supervisor = None
        try:
            async with world.open(stop_grace=3) as supervisor:
                kept = world.exchange("kept")
                supervisor.follow(
                    {"g": Wanted(1, [kept, world.exchange("a")]), "h": Wanted(1, [kept])}
                )
                await trio.sleep(2.5)
                supervisor.follow(
                    {"g": Wanted(2, [world.exchange("b"), kept]), "i": Wanted(2, [kept])}
                )
                await trio.sleep(2.5)
                supervisor.follow({"g": Wanted(3, [world.exchange("c")])})
                await trio.sleep(2.5)
                await supervisor.close()
        finally:
            assert world.record.open == 0
            if supervisor is not None:
                for group in supervisor.groups.values():
                    for stream in group.streams:
                        assert stream.ledger.balanced
                        assert stream.ledger.in_flight == 0

    assert cancel_at_every_step(scenario) > 100


async def test_a_stop_does_not_wait_for_an_attribute_that_another_group_holds(autojump_clock):
    world = World()
    async with world.open(stop_grace=10) as supervisor:
        slow = world.exchange("slow", names=("x",), sink={"period": 100})
        other = world.exchange("other")
        supervisor.follow({"a": Wanted(1, [slow]), "b": Wanted(1, [other])})
        await settles(supervisor, a=State.ON, b=State.ON)
        await trio.sleep(5)
        moved = world.exchange("moved", names=("x",))
        supervisor.follow({"b": Wanted(2, [other, moved])})
        await trio.sleep(1)
        began = trio.current_time()
        await supervisor.close()
        assert trio.current_time() - began < 11
        assert supervisor.groups["b"].state is State.OFF
        assert world.record.open == 0
