"""The same logic as on etcd, on the database in memory and a virtual clock."""

import itertools
import json
import socket
import uuid
from contextlib import asynccontextmanager

import pytest
import trio

from queue_connector.configdb.memory import MemoryDatabase
from queue_connector.configuration import document
from queue_connector.connectors.memory.sink import InMemorySink
from queue_connector.engine.state import State
from queue_connector.engine.supervisor import Supervisor, open_supervisor
from queue_connector.model.errors import ConfigError
from queue_connector.reconfiguration.children import Reader, read_once
from queue_connector.reconfiguration.monitor import Monitor
from queue_connector.testing.checkpoints import cancel_at_every_step
from queue_connector.testing.endpoints import Attributes
from tests.support.waiting import until

HOST = socket.gethostname()
PATH = "/component/lmc-queueconnector-01/owner"


def exchange(name="value", count=100_000, *, key=None, delay=0.1):
    sink = (
        {"type": "InMemorySink", "key": key}
        if key
        else {"type": "TangoLocalAttributeSink", "attribute_name": name}
    )
    return {
        "dtype": "int64",
        "source": {"type": "InMemorySource", "data": list(range(min(count, 300))), "delay": delay},
        "sink": sink,
    }


def text(*exchanges, **groups):
    return json.dumps({"exchanges": groups or list(exchanges)})


class Setting:
    def __init__(self, database, supervisor, monitor, attributes) -> None:
        self.database: MemoryDatabase = database
        self.supervisor: Supervisor = supervisor
        self.monitor: Monitor = monitor
        self.attributes: Attributes = attributes

    async def put(self, name, value):
        return await self.database.put(f"{PATH}/{name}", value)

    async def told(self, name, what="state"):
        await self.monitor.reported()
        found = await self.database.get(f"{PATH}/{name}/{what}")
        return None if found is None else json.loads(found.value)

    async def told_with(self, name, **wanted):
        state = await self.told(name)
        return state if wanted.items() <= state.items() else None

    async def applied(self, name, revision):
        return (await self.told(name))["revision"] == revision

    async def forgets(self, name, what):
        return await self.told(name, what) is None

    async def settles(self, **states):
        await until(lambda: self.states() == states, lambda: self.supervisor.status)

    def states(self):
        return {name: group.state for name, group in self.supervisor.groups.items()}


@asynccontextmanager
async def watching():
    attributes = Attributes()
    monitors = []
    async with (
        open_supervisor(
            attributes=attributes, on_change=lambda: [m.group_changed() for m in monitors]
        ) as supervisor,
        trio.open_nursery() as nursery,
    ):
        database = MemoryDatabase(uuid.uuid4().hex)
        monitors.append(Monitor(database, PATH, supervisor, device="a/b/c"))
        nursery.start_soon(monitors[0].run)
        yield Setting(database, supervisor, monitors[0], attributes)
        nursery.cancel_scope.cancel()


async def test_a_child_is_a_group_that_streams_and_whose_state_is_written(autojump_clock):
    async with watching() as setting:
        revision = await setting.put("my_id", text(exchange("a")))
        await setting.settles(my_id=State.ON)
        state = await setting.told("my_id")
        assert state.pop("last_updated").endswith("Z")
        lease = int(state.pop("lease"), 16)
        assert await setting.database.renew_lease(lease)
        assert state == {
            **{"state": "ON", "revision": revision, "device": "a/b/c", "host": HOST},
            **{"degraded": False, "opening": [], "waiting": [], "waiting_left_out": 0},
        }
        assert await setting.told("my_id", "fault") is None
        assert setting.attributes.owned == {"my_id": ["a"]}


async def test_a_mapping_makes_groups_below_the_childs_name(autojump_clock):
    async with watching() as setting:
        await setting.put("my_id", text(one=[exchange("a")], two=[exchange("b")]))
        await setting.settles(**{"my_id.one": State.ON, "my_id.two": State.ON})


async def test_a_text_that_is_encoded_twice_is_read(autojump_clock):
    async with watching() as setting:
        await setting.put("my_id", json.dumps(text(exchange("a"))))
        await setting.settles(my_id=State.ON)


async def test_the_path_itself_may_hold_the_default_group(autojump_clock):
    async with watching() as setting:
        await setting.database.put(PATH, text(exchange("a")))
        await setting.settles(default=State.ON)
        await setting.monitor.reported()
        found = await setting.database.get(f"{PATH}/state")
        assert json.loads(found.value)["state"] == "ON"
        await trio.sleep(1)
        assert setting.states() == {"default": State.ON}, "what is written is no group"


@pytest.mark.parametrize(
    "owner", ['{"pid": 1, "hostname": "h", "command": ["c"]}', "no JSON", "{}", "[]", "\0"]
)
async def test_another_value_at_the_path_itself_is_ignored(owner, autojump_clock):
    async with watching() as setting:
        await setting.database.put(PATH, owner)
        await setting.put("my_id", text(exchange("a")))
        await setting.settles(my_id=State.ON)


async def test_deeper_keys_and_siblings_are_ignored(autojump_clock):
    async with watching() as setting:
        await setting.put("a/deeper", text(exchange("a")))
        await setting.database.put(PATH + "s/sibling", text(exchange("b")))
        await setting.put("my_id", text(exchange("c")))
        await setting.settles(my_id=State.ON)


async def test_a_bad_configuration_is_a_fault_and_the_running_one_streams_on(autojump_clock):
    async with watching() as setting:
        await setting.put("my_id", text(exchange("a")))
        await setting.settles(my_id=State.ON)
        revision = await setting.put("my_id", '{"exchanges": [{"sink": 1}]}')
        fault = await until(lambda: setting.told("my_id", "fault"))
        assert fault["error"] == "ConfigError"
        assert fault["path"].startswith("$.exchanges[0]")
        assert fault["revision"] == revision
        assert (await setting.told("my_id"))["state"] == "ON"
        assert setting.attributes.owned == {"my_id": ["a"]}
        await setting.put("my_id", text(exchange("a")))
        await until(lambda: setting.forgets("my_id", "fault"))
        assert setting.states() == {"my_id": State.ON}


async def test_a_child_that_claims_anothers_attribute_is_refused_until_it_is_free(
    autojump_clock,
):
    async with watching() as setting:
        await setting.put("first", text(exchange("a")))
        await setting.settles(first=State.ON)
        await setting.put("second", text(exchange("A")))
        await setting.settles(first=State.ON, second=State.FAULT)
        fault = await setting.told("second", "fault")
        assert fault["path"] == "$.exchanges[0].sink.attribute_name"
        assert "claimed by 'first'" in fault["message"]
        await setting.put("first", text(exchange("b")))
        await setting.settles(first=State.ON, second=State.ON)
        assert setting.attributes.owned == {"first": ["b"], "second": ["A"]}


async def test_deleting_a_child_removes_its_group_and_what_was_written(autojump_clock):
    async with watching() as setting:
        await setting.put("my_id", text(exchange("a")))
        await setting.settles(my_id=State.ON)
        assert await setting.told("my_id") is not None
        await setting.put("my_id/foreign", "stays")
        await setting.database.delete(f"{PATH}/my_id")
        await setting.settles()
        await until(lambda: setting.forgets("my_id", "state"))
        assert await setting.told("my_id", "fault") is None
        assert setting.attributes.owned == {}
        assert (await setting.database.get(f"{PATH}/my_id/foreign")).value == b"stays"


async def test_what_was_handed_over_before_a_change_is_delivered(autojump_clock):
    key = "monitor-handed-over"
    InMemorySink.data(key).clear()
    async with watching() as setting:
        await setting.put("my_id", text(exchange(key=key)))
        await setting.settles(my_id=State.ON)
        await trio.sleep(5.05)
        await setting.put("my_id", text())
        await setting.settles(my_id=State.STANDBY)
        kept = InMemorySink.data(key)
        assert kept == list(range(len(kept)))
        assert len(kept) >= 49


async def test_read_once_takes_what_stands_there(autojump_clock):
    async with watching() as setting:
        with pytest.raises(ConfigError, match="no configuration stands there"):
            await read_once(setting.database, "/nowhere")
        await setting.put("one", text(exchange("a")))
        await setting.put("two", text(inner=[exchange("b")]))
        assert sorted((await read_once(setting.database, PATH)).groups) == ["one", "two.inner"]
        await setting.put("bad", "{")
        with pytest.raises(ConfigError, match=f"{PATH}/bad"):
            await read_once(setting.database, PATH)


def test_interrupted_anywhere_nothing_is_left():
    async def scenario():
        supervisor = None
        try:
            async with watching() as setting:
                supervisor = setting.supervisor
                await setting.put("my_id", text(exchange("a"), exchange("b")))
                await trio.sleep(0.35)
                await setting.put("my_id", text(exchange("c"), exchange("b")))
                await trio.sleep(0.35)
                await setting.put("my_id", "{")
                await setting.put("other", text(exchange("d")))
                await trio.sleep(0.35)
                await setting.database.delete(f"{PATH}/my_id")
                await trio.sleep(0.35)
                await supervisor.close()
        finally:
            for group in supervisor.groups.values() if supervisor else ():
                for stream in group.streams:
                    assert stream.ledger.balanced
                    assert stream.ledger.in_flight == 0

    assert cancel_at_every_step(scenario) > 100


async def test_why_it_does_not_watch_is_told_though_it_never_did(autojump_clock):
    async with open_supervisor() as supervisor, trio.open_nursery() as nursery:
        database = MemoryDatabase("never there")
        database.cut()
        told = []
        monitor = Monitor(database, PATH, supervisor, lambda: told.append(monitor.problems))
        nursery.start_soon(monitor.run)
        await trio.sleep(5)
        assert told[-1] == [f"{PATH}: not watched: it is cut off"]
        assert len(told) <= 2
        database.mend()
        await trio.sleep(5)
        assert told[-1] == []
        nursery.cancel_scope.cancel()


async def test_after_a_surprise_it_watches_again_and_says_so(autojump_clock, monkeypatch, caplog):
    async with watching() as setting:
        await setting.put("first", text(exchange("a")))
        await setting.settles(first=State.ON)
        wanted = Reader.wanted
        surprises = [ValueError("nobody has\nthought of this"), KeyError("nor of this")]

        def surprised(reader, view):
            if surprises:
                raise surprises.pop(0)
            return wanted(reader, view)

        monkeypatch.setattr(Reader, "wanted", surprised)
        streaming = setting.supervisor.groups["first"].streams[0].exchange
        await setting.put("second", text(exchange("b")))
        await setting.settles(first=State.ON, second=State.ON)
        assert (await setting.told("second"))["state"] == "ON"
        assert setting.supervisor.groups["first"].streams[0].exchange is streaming
        assert setting.monitor.connected
        told = f"{PATH}: watching was begun again after KeyError: 'nor of this'"
        assert setting.monitor.problems == [told]
        lines = [record for record in caplog.records if record.levelname == "CRITICAL"]
        assert [record.exc_info[0] for record in lines] == [ValueError, KeyError]
        await until(lambda: setting.monitor.problems == [])


async def test_after_a_surprise_it_tells_the_states_again_and_says_so(autojump_clock, monkeypatch):
    async with watching() as setting:
        await setting.put("first", text(exchange("a")))
        assert await until(lambda: setting.told("first"))
        transact, surprises = MemoryDatabase.transact, [ZeroDivisionError("surprise")]

        async def surprised(database, changes, **options):
            if surprises and f"{PATH}/second/state" in changes:
                raise surprises.pop(0)
            return await transact(database, changes, **options)

        monkeypatch.setattr(MemoryDatabase, "transact", surprised)
        await setting.put("second", text(exchange("b")))
        assert await until(lambda: setting.told("second"))
        assert await setting.told("first")
        told = f"{PATH}: telling the states was begun again after ZeroDivisionError: surprise"
        assert setting.monitor.problems == [told]


async def test_what_cannot_be_read_for_any_reason_is_a_fault_of_its_child(
    autojump_clock, monkeypatch
):
    examine = document.examine

    def surprised(text, device):
        if b"surprise" in text:
            raise RuntimeError("nobody has thought of this")
        return examine(text, device)

    monkeypatch.setattr(document, "examine", surprised)
    async with watching() as setting:
        await setting.put("bad", text(exchange("surprise")))
        await setting.put("good", text(exchange("a")))
        await setting.settles(bad=State.FAULT, good=State.ON)
        fault = await setting.told("bad", "fault")
        assert "unexpected RuntimeError('nobody has thought of this')" in fault["message"]


async def test_a_revision_is_told_when_all_groups_of_the_child_have_taken_it_on(autojump_clock):
    async with watching() as setting:
        first = await setting.put(
            "my_id", text(one=[exchange("a", delay=100)], two=[exchange("b", delay=100)])
        )
        await setting.settles(**{"my_id.one": State.ON, "my_id.two": State.ON})
        assert (await setting.told("my_id"))["revision"] == first
        hold, define = trio.Event(), setting.attributes.define

        async def held(owner, wanted):
            await hold.wait()
            await define(owner, wanted)

        setting.attributes.define = held
        second = await setting.put(
            "my_id", text(one=[exchange("a", delay=100)], two=[exchange("c", delay=100)])
        )
        await trio.sleep(5)
        assert setting.supervisor.groups["my_id.one"].revision == second
        state = json.loads((await setting.database.get(f"{PATH}/my_id/state")).value)
        assert state["revision"] == first, "it says how the group is with what was before"
        hold.set()
        await setting.settles(**{"my_id.one": State.ON, "my_id.two": State.ON})
        await until(lambda: setting.applied("my_id", second))


async def test_warnings_are_logged_once_for_each_revision(autojump_clock, caplog):
    warned = {
        "dtype": "object",
        "source": {"type": "InMemorySource", "data": [{}], "delay": 1000},
        "sink": {
            "type": "TangoObjectScatterAttributeSink",
            "attributes": [{"attribute_name": "a", "dtype": "int64", "filter": 'type=="x"'}],
        },
    }
    async with watching() as setting:
        await setting.put("one", text(warned))
        await setting.settles(one=State.ON)
        for key in ("x", "y"):
            await setting.put("two", text(exchange(key=key)))
            await setting.settles(one=State.ON, two=State.ON)
    told = [record.getMessage() for record in caplog.records if '"x"' in record.getMessage()]
    assert len(told) == 1
    assert told[0].startswith(f"{PATH}/one: $.exchanges[0].sink.attributes[0].filter")


async def test_a_large_configuration_is_read_while_the_loop_goes_on():
    """On the real clock: a thread reads, and the loop is held for one switch at a time."""
    large = {**exchange(), "sink": {"type": "InMemorySink", "key": "k"}}
    large["source"] = {"type": "InMemorySource", "data": list(range(140_000)), "delay": 1}
    pauses = []

    async def beat():
        while True:
            began = trio.current_time()
            await trio.sleep(0.001)
            pauses.append(trio.current_time() - began)

    async with watching() as setting, trio.open_nursery() as nursery:
        nursery.start_soon(beat)
        await trio.sleep(0.05)
        await setting.put("large", text(large))
        with trio.move_on_after(30):
            await setting.settles(large=State.ON)
        assert setting.states() == {"large": State.ON}, setting.supervisor.status
        nursery.cancel_scope.cancel()
    assert max(pauses) < 0.2, max(pauses)


async def test_what_is_left_over_and_cannot_be_removed_stops_nothing(autojump_clock, caplog):
    """Attributes of before an Init, which nobody wants any more, and Tango keeps."""
    async with watching() as setting:
        setting.attributes.owned["gone"] = ["old"]
        define = setting.attributes.define

        async def refusing(owner, wanted):
            if owner == "gone":
                raise RuntimeError("Tango keeps it")
            await define(owner, wanted)

        setting.attributes.define = refusing
        await setting.put("first", text(exchange("a")))
        await setting.settles(first=State.ON)
        assert "group gone: what is wanted of it is not applied" in caplog.text
        setting.attributes.define = define
        await setting.put("second", text(exchange("b")))
        await setting.settles(first=State.ON, second=State.ON)
        await until(lambda: setting.attributes.owned == {"first": ["a"], "second": ["b"]})


async def test_the_same_revision_with_another_value_is_another_configuration(autojump_clock):
    """A database that was restored counts revisions again that we have seen already."""
    async with watching() as setting:
        saved = setting.database.save()
        revision = await setting.put("my_id", text(exchange("a")))
        await setting.settles(my_id=State.ON)
        setting.database.cut()
        setting.database.restore(saved)
        setting.database.mend()
        assert await setting.put("my_id", text(exchange("b"))) == revision
        await until(lambda: setting.attributes.owned == {"my_id": ["b"]})


async def test_of_several_groups_of_a_child_that_fail_one_is_told_and_the_others_counted(
    autojump_clock,
):
    async with watching() as setting:
        setting.attributes.refuse = True
        await setting.put("my_id", text(one=[exchange("a")], two=[exchange("b")]))
        await setting.settles(**{"my_id.one": State.FAULT, "my_id.two": State.FAULT})
        fault = await until(lambda: setting.told("my_id", "fault"))
        assert fault["message"] == "host: define failed: refused\nand 1 more group with a fault"


async def test_others_have_their_turn_between_two_of_many_children(autojump_clock):
    """Reading a child takes a millisecond, and so does making its group."""
    number, turns = 300, []
    async with watching() as setting, trio.open_nursery() as nursery:

        async def beat():
            while True:
                await trio.lowlevel.checkpoint()
                turns.append((len(setting.monitor._reader._judged), len(streaming())))

        def streaming():
            return [g for g in setting.supervisor.groups.values() if g.state is not State.STANDBY]

        for begin in range(0, number, 100):
            many = {f"{PATH}/g{n}": text(exchange(key=str(n))) for n in range(begin, begin + 100)}
            await setting.database.transact(many)
        nursery.start_soon(beat)
        with trio.fail_after(60):
            while len(streaming()) < number:
                await trio.lowlevel.checkpoint()
        nursery.cancel_scope.cancel()
    for before, after in itertools.pairwise(turns):
        assert after[0] - before[0] <= 2
        assert after[1] - before[1] <= 2


async def test_a_state_tells_which_endpoints_wait_for_what(autojump_clock):
    async with watching() as setting:
        many = [exchange(f"a{number}", delay=100) for number in range(25)]
        await setting.put("my_id", text(*many))
        await setting.settles(my_id=State.ON)
        assert (await setting.told("my_id"))["degraded"] is False
        streams = setting.supervisor.groups["my_id"].streams
        for stream in streams:
            stream.conditions[0].waits("a broker", "refused\n" * 1000)
        state = await until(lambda: setting.told_with("my_id", degraded=True))
        assert state["state"] == "ON"
        first = state["waiting"][0]
        assert (first["exchange"], first["kind"]) == ("my_id[0]", "source")
        assert first["name"] == "InMemorySource"
        assert (first["waiting_for"], first["since"][-1]) == ("a broker", "Z")
        assert len(json.dumps(state)) < 20_000
        assert len(state["waiting"]) + state["waiting_left_out"] == 25
        for stream in streams:
            stream.conditions[0].is_well()
        state = await until(lambda: setting.told_with("my_id", degraded=False))
        assert state["waiting"] == []


async def test_a_refused_child_takes_nothing_from_a_group_that_has_its_name(autojump_clock):
    async with watching() as setting:
        await setting.put("a", text(b=[exchange("x", delay=100)]))
        await setting.settles(**{"a.b": State.ON})
        await setting.put("a.b", text(exchange("y")))
        await setting.settles(**{"a.b": State.ON, "a.b (refused)": State.FAULT})
        assert (await setting.told("a"))["state"] == "ON"
        assert await setting.told("a", "fault") is None
        assert "there is a group 'a.b' already" in (await setting.told("a.b", "fault"))["message"]
        await setting.database.delete(f"{PATH}/a.b")
        await setting.settles(**{"a.b": State.ON})


async def test_the_name_of_a_group_in_a_configuration_has_a_limit(autojump_clock):
    async with watching() as setting:
        await setting.put("a", text(**{"x" * 500_000: [exchange("x")]}))
        await setting.settles(a=State.FAULT)
        message = (await setting.told("a", "fault"))["message"]
        assert message.startswith("$.exchanges: expected names of at most 255 characters, found 'x")
        assert len(message) < 200


async def test_when_the_lease_has_ended_everything_is_told_again_under_another(autojump_clock):
    async with watching() as setting:
        for name in ("a", "b"):
            await setting.put(name, text(exchange(name, delay=100)))
        await setting.settles(a=State.ON, b=State.ON)
        before = {(await setting.told(name))["lease"] for name in ("a", "b")}
        setting.database.expire()
        assert await setting.database.get(f"{PATH}/a/state") is None
        states = [await until(lambda name=name: setting.told(name)) for name in ("a", "b")]
        assert len(before) == 1
        assert len({state["lease"] for state in states} - before) == 1
        assert setting.monitor.problems == []


async def test_at_its_end_it_takes_back_what_it_told(autojump_clock):
    async with watching() as setting:
        await setting.put("a", text(exchange("a", delay=100)))
        await setting.settles(a=State.ON)
        assert await setting.told("a")
    assert await setting.database.get(f"{PATH}/a/state") is None
    assert await setting.database.get(f"{PATH}/a") is not None
