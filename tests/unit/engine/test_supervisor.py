import json

import pytest
import trio
import trio.testing

import queue_connector.connectors.pipes.default  # noqa: F401 - registers the default pipe
from queue_connector.engine.following import Wanted
from queue_connector.engine.state import State
from queue_connector.engine.supervisor import Supervisor, open_supervisor
from queue_connector.model.errors import ClosedError, ConfigError, Fault, StateError
from queue_connector.model.exchanges import ExchangeDescriptor, QueueConnectorDescriptor
from queue_connector.testing.checkpoints import cancel_at_every_step
from queue_connector.testing.endpoints import Attributes, Given, Keeper, Numbers, Recorded, Taken
from tests.support.waiting import until


class World:
    """What the descriptors of a test share."""

    def __init__(self) -> None:
        self.record = Recorded()
        self.attributes = Attributes()
        self.made: list[tuple[Numbers, Keeper]] = []

    def exchange(self, name: str, **source) -> ExchangeDescriptor:
        pending: list[Numbers] = []

        def make_source() -> Numbers:
            pending.append(Numbers(self.record, **{"period": 1, **source}))
            return pending[-1]

        def make_sink() -> Keeper:
            self.made.append((pending[-1], Keeper(self.record)))
            return self.made[-1][1]

        return ExchangeDescriptor(
            dtype="int64", source=Given(make=make_source), sink=Taken(make=make_sink, names=(name,))
        )

    def open(self):
        return open_supervisor(attributes=self.attributes)


def config(**groups) -> QueueConnectorDescriptor:
    return QueueConnectorDescriptor(exchanges=groups)


async def reaches(supervisor: Supervisor, state: State) -> None:
    await until(lambda: supervisor.state is state, lambda: supervisor.status)


async def test_a_configuration_becomes_groups_and_an_empty_one_removes_them(autojump_clock):
    world = World()
    async with world.open() as supervisor:
        assert supervisor.state is State.STANDBY
        await supervisor.configure(config(one=[world.exchange("a")], two=[world.exchange("b")]))
        assert supervisor.state is State.OFF
        assert world.attributes.owned == {"one": ["a"], "two": ["b"]}
        await supervisor.configure(QueueConnectorDescriptor())
        assert supervisor.groups == {}
        assert supervisor.state is State.STANDBY
        assert world.attributes.owned == {}


async def test_a_group_that_did_not_change_is_not_touched(autojump_clock):
    world = World()
    kept = world.exchange("a")
    async with world.open() as supervisor:
        await supervisor.configure(config(one=[kept], two=[world.exchange("b")]))
        one, two = supervisor.groups["one"], supervisor.groups["two"]
        world.attributes.owned["one"] = ["untouched"]
        await supervisor.configure(config(one=[kept], two=[world.exchange("c")]))
        assert supervisor.groups["one"] is one
        assert supervisor.groups["two"] is two
        assert world.attributes.owned == {"one": ["untouched"], "two": ["c"]}


async def test_a_fault_of_one_group_does_not_disturb_another(autojump_clock):
    world = World()
    async with world.open() as supervisor:
        await supervisor.configure(
            config(bad=[world.exchange("a", bad=[2])], good=[world.exchange("b")])
        )
        await supervisor.start()
        await reaches(supervisor, State.FAULT)
        await trio.sleep(100)
        assert supervisor.groups["good"].state is State.ON
        good_source, good_sink = next(
            (source, sink) for source, sink in world.made if 2 in sink.kept
        )
        assert len(good_sink.kept) >= 100
        assert supervisor.status.splitlines() == [
            "bad: FAULT, 1 exchange: bad[0]: 2 is bad",
            "good: ON, 1 exchange",
        ]
        await supervisor.reset()
        assert supervisor.state is State.ON
        assert supervisor.groups["bad"].state is State.STANDBY
        await supervisor.stop()
        await supervisor.close()
        assert supervisor.state is State.OFF
        assert good_sink.kept == good_source.handed


async def test_the_name_of_a_group_forges_no_line_of_the_status(autojump_clock):
    world = World()
    async with world.open() as supervisor:
        names = {"a\nb: ON, 1 exchange\x1b[2J": [world.exchange("a")], "x" * 9999: []}
        await supervisor.configure(config(**names))
        forged, long = supervisor.status.splitlines()
        assert forged == r"a\nb: ON, 1 exchange\x1b[2J: OFF, 1 exchange"
        assert len(long) < 300


async def test_a_huge_fault_is_told_in_part_and_many_groups_leave_room_for_those_with_faults(
    autojump_clock,
):
    world = World()
    async with world.open() as supervisor:
        await supervisor.configure(config(**{f"group{n}": [] for n in range(1800)}))
        huge = ConfigError(Fault(f"$.exchanges[{n}]", "x" * 200) for n in range(10_000))
        supervisor.refuse("bad", huge)
        assert len(json.dumps(supervisor.as_dict()["bad"])) < 10_000
        assert len(supervisor.status) < 40_000
        first, *_, last = supervisor.status.splitlines()
        assert first.startswith("bad: FAULT, 0 exchanges: $.exchanges[0]: xxx")
        assert last.endswith(" more groups")


async def test_configure_is_refused_while_a_group_streams_and_changes_nothing(autojump_clock):
    world = World()
    async with world.open() as supervisor:
        await supervisor.configure(config(one=[world.exchange("a")]))
        await supervisor.start()
        await reaches(supervisor, State.ON)
        with pytest.raises(StateError, match="Configure is not allowed in state ON; it is allowed"):
            await supervisor.configure(config(two=[world.exchange("b")]))
        assert list(supervisor.groups) == ["one"]
        assert world.attributes.owned == {"one": ["a"]}


@pytest.mark.parametrize("command", ["start", "stop", "standby", "abort", "reset"])
async def test_a_command_that_no_group_allows_is_refused(command, autojump_clock):
    async with World().open() as supervisor:
        with pytest.raises(StateError, match="is not allowed in state STANDBY"):
            await getattr(supervisor, command)()


async def test_close_stops_every_group_in_order(autojump_clock):
    world = World()
    async with world.open() as supervisor:
        await supervisor.configure(config(one=[world.exchange("a")], two=[world.exchange("b")]))
        await supervisor.start()
        await trio.sleep(10)
        await supervisor.close()
    assert world.record.open == 0
    for source, sink in world.made:
        assert sink.kept == source.handed
        assert len(sink.kept) > 8


async def test_statistics_name_each_exchange(autojump_clock):
    world = World()
    async with world.open() as supervisor:
        await supervisor.configure(config(one=[world.exchange("a", count=3)]))
        await supervisor.start()
        await reaches(supervisor, State.OFF)
        assert supervisor.statistics()["one[0]"]["delivered"] == 3
        told = supervisor.as_dict()["one"]
        assert (told["state"], told["revision"], told["fault"]) == ("OFF", 0, None)
        assert told["exchanges"] == ["one[0]"]


def test_cancelled_anywhere_it_leaves_nothing_open_and_the_ledgers_balance():
    async def scenario():
        world = World()
        supervisor = None
        try:
            async with world.open() as supervisor:
                await supervisor.configure(
                    config(one=[world.exchange("a", bad=[3])], two=[world.exchange("b")])
                )
                await supervisor.start()
                await trio.sleep(5.5)
                await supervisor.reset()
                await supervisor.stop()
                await supervisor.groups["two"].wait_idle()
                await supervisor.configure(config(two=[world.exchange("b"), world.exchange("c")]))
                await supervisor.start()
                await trio.sleep(3)
                await supervisor.abort()
                await supervisor.standby()
                await supervisor.close()
        finally:
            assert world.record.open == 0
            if supervisor is not None:
                for group in supervisor.groups.values():
                    for ledger in [s.ledger for s in group.streams]:
                        assert ledger.balanced
                        assert ledger.in_flight == 0

    assert cancel_at_every_step(scenario) > 100


async def test_a_start_that_comes_during_the_close_is_refused(autojump_clock):
    world = World()
    async with world.open() as supervisor:
        await supervisor.configure(config(slow=[world.exchange("a")], quick=[world.exchange("b")]))
        await supervisor.start()
        await reaches(supervisor, State.ON)
        supervisor.groups["quick"].request_stop()
        await supervisor.groups["quick"].wait_idle()
        with trio.fail_after(60):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(supervisor.close)
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
                with pytest.raises(ClosedError, match="Start is too late"):
                    await supervisor.start()
        assert supervisor.state is State.OFF
        assert world.record.open == 0


async def test_an_abort_leaves_alone_a_group_that_ends_by_itself_just_then(autojump_clock):
    for steps in range(30):  # one of them is the last before it ends
        world = World()
        async with world.open() as supervisor:
            await supervisor.configure(
                config(one=[world.exchange("a", count=3)], two=[world.exchange("b")])
            )
            began = trio.current_time()
            await supervisor.start()
            await trio.sleep_until(began + 4)
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            await supervisor.abort()
            assert supervisor.state is State.OFF
            assert world.record.open == 0


@pytest.mark.parametrize("order", ["follow configure", "configure follow"])
@pytest.mark.parametrize("wanted", [True, False])
async def test_a_group_may_be_removed_by_a_command_and_the_database_at_once(
    order, wanted, autojump_clock
):
    world = World()
    async with world.open() as supervisor:
        supervisor.follow({"g": Wanted(1, [world.exchange("a")])})
        await reaches(supervisor, State.ON)
        await supervisor.stop()
        await reaches(supervisor, State.OFF)
        new = [world.exchange("b")] if wanted else []

        async def change(how, exchanges):
            if how == "follow":
                supervisor.follow({"g": Wanted(2, exchanges)} if exchanges else {})
            else:
                await supervisor.configure(config(**({"g": exchanges} if exchanges else {})))

        with trio.fail_after(60):
            first, second = order.split()
            async with trio.open_nursery() as nursery, supervisor.groups["g"].changing:
                nursery.start_soon(change, first, [])
                await trio.testing.wait_all_tasks_blocked()
                nursery.start_soon(change, second, new)
                await trio.testing.wait_all_tasks_blocked()
            await until(lambda: world.attributes.owned == ({"g": ["b"]} if wanted else {}))
            await trio.testing.wait_all_tasks_blocked()
        assert set(supervisor.groups) == ({"g"} if wanted else set())
