"""Random reconfigurations on the database in memory, compared with a model after each."""

import json

import pytest
import trio

from queue_connector.configdb.memory import MemoryDatabase
from queue_connector.engine.following import Wanted
from queue_connector.engine.plan import compare
from queue_connector.engine.state import State
from queue_connector.engine.supervisor import open_supervisor
from queue_connector.model.exchanges import ExchangeDescriptor
from queue_connector.reconfiguration.monitor import Monitor
from queue_connector.testing.endpoints import Attributes, Given, Keeper, Numbers, Recorded, Taken
from tests.schedules import FEWER
from tests.support.reconfigurations import Model

STEPS = max(300, FEWER)  # fewer would not hold every kind of write
PATH = "/component/lmc-queueconnector-01/owner"


class Host(Attributes):
    """An attribute host that keeps what stays, as a device does, and knows what it made when."""

    def __init__(self):
        super().__init__()
        self.made = {}
        self.count = 0

    async def define(self, owner, wanted):
        before = set(self.owned.get(owner, ()))
        await super().define(owner, wanted)
        for name in before - set(self.owned.get(owner, ())):
            del self.made[name]
        for attribute in wanted:
            known = self.made.get(attribute.name)
            if known is None or not known[0].same_type(attribute):
                self.count += 1
                self.made[attribute.name] = (attribute, self.count)

    async def publish(self, values):
        await super().publish(values)
        assert all(name in self.made for name, _ in values)


def streams(supervisor):
    return {
        json.dumps([name, repr(stream.descriptor)]): stream.exchange
        for name, group in supervisor.groups.items()
        for stream in group.streams
    }


async def told(database, model):
    found = {}
    for name in model.written:
        state = await database.get(f"{PATH}/{name}/state")
        fault = await database.get(f"{PATH}/{name}/fault")
        if state is not None:
            state = json.loads(state.value)
            found[name] = (state["state"], state["revision"], fault is not None)
            if fault is not None:
                assert json.loads(fault.value)["revision"] == state["revision"]
    return found


def groups(supervisor):
    return {
        name: (group.state.value, group.revision, group.fault is not None)
        for name, group in supervisor.groups.items()
    }


@pytest.mark.parametrize("seed", range(3))
async def test_after_each_write_groups_attributes_and_keys_are_as_the_model_says(
    seed, autojump_clock
):
    host, monitors, model = Host(), [], Model(seed)
    database = MemoryDatabase(f"random {seed} {id(host)}")
    async with (
        open_supervisor(
            attributes=host, on_change=lambda: [m.group_changed() for m in monitors]
        ) as supervisor,
        trio.open_nursery() as nursery,
    ):
        monitors.append(Monitor(database, PATH, supervisor))
        nursery.start_soon(monitors[0].run)
        for step in range(STEPS // 3):
            before, made = streams(supervisor), dict(host.made)
            for name, text in model.burst().items():
                path = f"{PATH}/{name}"
                if text is None:
                    await database.delete(path)
                    model.wrote(name, None, 0)
                else:
                    model.wrote(name, text, await database.put(path, text))
            await trio.sleep(0.2)
            assert groups(supervisor) == model.groups(), step
            assert await told(database, model) == model.children(), step
            assert {n: str(a.spec) for n, (a, _) in host.made.items()} == model.attributes(), step
            after = streams(supervisor)
            assert all(exchange is not None for exchange in after.values()), step
            for key in before.keys() & after.keys():
                assert after[key] is before[key], f"{step}: {key} was restarted for nothing"
            for name in made.keys() & host.made.keys():
                if same_group(name, before, after) and made[name][0].same_type(host.made[name][0]):
                    assert host.made[name] == made[name], f"{step}: {name} was made anew"
        assert set(model.counts) == {
            "add", "change", "remove", "empty", "break", "mend", "rewrite",
        }  # fmt: skip
        for name in list(model.written):
            await database.delete(f"{PATH}/{name}")
        await trio.sleep(30)
        assert supervisor.groups == {}
        assert host.owned == host.made == {}
        left = [key for key in database.save().values if key.startswith(PATH)]
        assert left == [f"{PATH}/state/holder"]
        nursery.cancel_scope.cancel()


def same_group(attribute, before, after):
    def group(found):
        return {json.loads(key)[0] for key in found if f"'{attribute}'" in key}

    return group(before) == group(after)


async def test_of_200_exchanges_one_changes_and_the_others_stream_on(autojump_clock):
    record, host, sources, sinks = Recorded(), Attributes(), {}, {}

    def exchange(name, count):
        def source():
            return sources.setdefault((name, count), Numbers(record, period=0.01))

        def sink():
            return sinks.setdefault((name, count), Keeper(record))

        return ExchangeDescriptor(
            dtype="int64", source=Given(make=source), sink=Taken(make=sink, names=(name,))
        )

    exchanges = [exchange(f"e{number}", 0) for number in range(200)]
    async with open_supervisor(attributes=host) as supervisor:
        # A group of groups, twenty in each.
        def wanted(revision):
            return {
                f"g.{part}": Wanted(revision, exchanges[20 * part : 20 * part + 20])
                for part in range(10)
            }

        supervisor.follow(wanted(1))
        await trio.sleep(1)
        for revision in range(2, 12):
            before = streams_of(supervisor)
            index = 17 * revision % 200
            present = {name: group.exchanges for name, group in supervisor.groups.items()}
            exchanges[index] = exchange(f"e{index}", revision)
            plan = compare(present, {n: w.exchanges for n, w in wanted(revision).items()})
            assert [item.change.name for g in plan.groups for item in g.exchanges].count(
                "KEPT"
            ) == 199
            supervisor.follow(wanted(revision))
            await trio.sleep(0.1)
            after = streams_of(supervisor)
            assert [place for place in after if after[place] is not before[place]] == [
                (f"g.{index // 20}", index % 20)
            ]
        assert supervisor.state is State.ON
        assert len(sources) == 210
        await supervisor.stop()
        await trio.sleep(1)
        for key, source in sources.items():
            assert sinks[key].kept == source.handed == list(range(len(source.handed)))
        # From the beginning to the end, one value after the other.
        assert sum(len(sinks[key].kept) >= 195 for key in sinks) == 190
        assert record.open == 0


def streams_of(supervisor):
    return {
        (name, index): stream.exchange
        for name, group in supervisor.groups.items()
        for index, stream in enumerate(group.streams)
    }
