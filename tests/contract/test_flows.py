"""A subarray's flows on a database in memory, with a real broker's protocol: life, states, ends."""

import json
import uuid
from contextlib import asynccontextmanager

import trio

from queue_connector.configdb.memory import MemoryDatabase
from queue_connector.connector import open_connector
from queue_connector.engine.state import Health, State
from queue_connector.testing.endpoints import Attributes
from tests.support.flow_entities import DEVICE, EB, PB, attribute, blocks, flow, queue, uri
from tests.support.kafka_topics import produce, read_all

PATIENCE = 30.0


class World:
    def __init__(self, connector, database, attributes):
        self.connector = connector
        self.database = database
        self.attributes = attributes

    async def put(self, entities):
        texts = {path: json.dumps(value) for path, value in entities.items()}
        return await self.database.transact(texts)

    async def state(self, path):
        found = await self.database.get(f"{path}/state")
        return json.loads(found.value) if found else {}

    async def until(self, condition):
        with trio.move_on_after(PATIENCE):
            while True:
                found = condition()
                if hasattr(found, "__await__"):
                    found = await found
                if found:
                    return
                await trio.sleep(0.02)
        raise AssertionError(self.connector.announcement.status)

    async def reaches(self, path, status):
        async def reached():
            return (await self.state(path)).get("status") == status

        await self.until(reached)


@asynccontextmanager
async def world(subarray="01", name=None, device=DEVICE, **options):
    name, attributes = name or uuid.uuid4().hex, Attributes()
    async with (
        open_connector(
            name=device, publisher=attributes, database=lambda: MemoryDatabase(name)
        ) as connector,
        MemoryDatabase(name) as database,
    ):
        await connector.follow_flows(subarray, **options)
        yield World(connector, database, attributes)


async def test_the_life_of_a_flow(broker, topic):
    path, read = uri("x", "tango"), uri("q")
    async with world() as here:
        await here.put(blocks())
        sink = attribute("offset", x=3, default_value=[0, 0, 0])
        await here.put({path: flow(sink, read, start="earliest")})
        await here.until(lambda: f"waits for {read}" in here.connector.announcement.status)
        assert here.connector.announcement.health is Health.DEGRADED
        assert await here.state(path) == {}
        await here.put({read: flow(queue(topic, host=broker))})
        await here.until(lambda: "offset" in here.attributes.values)
        produce(broker, topic, [b"[1, 2, 3]"])
        await here.until(lambda: list(here.attributes.values["offset"]) == [1, 2, 3])
        await here.reaches(path, "FLOWING")
        assert await here.state(read) == {}  # it is another component's
        here.connector.changed()
        await here.until(lambda: here.connector.announcement.health is Health.OK)
        # Others complete it: the exchange goes, and what they wrote stays.
        state = {"status": "COMPLETED", "theirs": 1}
        await here.put({f"{path}/state": state})
        await here.until(lambda: "offset" not in here.attributes.values)
        await here.connector._monitor.reported()
        assert await here.state(path) == state
        await here.database.delete(f"{path}/state")
        await here.until(lambda: "offset" in here.attributes.values)
        await here.database.delete(path)
        await here.until(lambda: not here.connector.supervisor.groups)
        assert not here.attributes.values


async def test_a_state_is_merged_into_what_stands_there(broker, topic):
    path = uri("x", "tango")
    async with world() as here:
        await here.put(
            {
                **blocks(),
                uri("q"): flow(queue(topic, host=broker)),
                path: flow(attribute("x"), uri("q")),
                f"{path}/state": {"status": "PENDING", "reason": "theirs", "error_state": [1]},
            }
        )
        produce(broker, topic, [b"0"])
        await here.reaches(path, "FLOWING")
        state = await here.state(path)
        assert (state["reason"], state["error_state"]) == ("theirs", [])
        assert state["last_updated"] > 1.7e9


async def test_a_flow_that_fails_says_why_and_flows_again_when_it_is_mended(broker, topic):
    path = uri("x", "tango")
    async with world() as here:
        produce(broker, topic, [b"no number", b"2"])
        await here.put({**blocks(), uri("q"): flow(queue(topic, host=broker))})
        await here.put({path: flow(attribute("x"), uri("q"), start="earliest")})
        await here.reaches(path, "FAILED")
        (error, *_) = (await here.state(path))["error_state"]
        assert topic in error["error"]
        assert error["parameters"] == {"device": DEVICE}
        await here.put({path: flow(attribute("x"), uri("q"), start="earliest", on_error="skip")})
        await here.reaches(path, "FLOWING")
        await here.until(lambda: here.attributes.values["x"] == 2)
        assert (await here.state(path))["error_state"] == []


async def test_a_flow_that_is_refused_is_failed_and_its_neighbour_streams(broker, topic):
    good, bad = uri("good", "tango"), uri("bad", "tango")
    async with world() as here:
        produce(broker, topic, [b"1"])
        await here.put(
            {
                **blocks(),
                uri("q"): flow(queue(topic, host=broker)),
                good: flow(attribute("good"), uri("q"), start="earliest"),
                bad: flow(attribute("bad", dtype="DevNothing"), uri("q")),
            }
        )
        await here.reaches(bad, "FAILED")
        await here.reaches(good, "FLOWING")
        await here.until(lambda: here.attributes.values["good"] == 1)
        (error,) = (await here.state(bad))["error_state"]
        assert "DevNothing" in error["error"]


async def test_flows_of_another_subarray_are_not_touched(broker, topic):
    path = uri("x", "tango")
    async with world("02") as here:
        await here.put(
            {
                **blocks(),
                uri("q"): flow(queue(topic, host=broker)),
                path: flow(attribute("x"), uri("q")),
            }
        )
        mine = {"/eb/eb-2": {"subarray_id": "02"}, "/pb/pb-2": {"eb_id": "eb-2"}}
        await here.put({**mine, uri("q", pb="pb-2"): flow(queue(topic, host=broker))})
        await here.put({uri("y", "tango", "pb-2"): flow(attribute("y"), uri("q", pb="pb-2"))})
        await here.reaches(uri("y", "tango", "pb-2"), "FLOWING")
        assert [*here.connector.supervisor.groups] == ["pb-2"]
        assert await here.state(path) == {}


async def test_states_are_not_told_where_they_are_not_to_be(broker, topic):
    path = uri("x", "tango")
    async with world(tell_states=False) as here:
        await here.put({**blocks(), uri("q"): flow(queue(topic, host=broker))})
        await here.put({path: flow(attribute("x"), uri("q"))})
        await here.until(lambda: "x" in here.attributes.values)
        produce(broker, topic, [b"1"])
        await here.connector._monitor.reported()
        assert await here.state(path) == {}


async def test_an_outage_of_the_database_stops_nothing(broker, topic):
    path = uri("x", "tango")
    async with world() as here:
        await here.put({**blocks(), uri("q"): flow(queue(topic, host=broker))})
        await here.put({path: flow(attribute("x"), uri("q"))})
        await here.reaches(path, "FLOWING")
        here.database.cut()
        await here.until(lambda: "not watched: it is cut off" in here.connector.announcement.status)
        produce(broker, topic, [b"5"])
        await here.until(lambda: here.attributes.values["x"] == 5)
        here.database.mend()
        await here.put({f"/eb/{EB}/state": {"status": "FINISHED"}})
        await here.until(lambda: not here.attributes.values)


async def test_an_unchanged_flow_is_not_disturbed_by_the_change_of_another(broker, topic):
    async with world() as here:
        await here.put({**blocks(), uri("q"): flow(queue(topic, host=broker))})
        await here.put({uri("x", "tango"): flow(attribute("x"), uri("q"))})
        await here.reaches(uri("x", "tango"), "FLOWING")
        (kept,) = here.connector.supervisor.groups[PB].streams
        for number in range(3):
            await here.put({uri("y", "tango"): flow(attribute(f"y{number}"), uri("q"))})
            await here.until(lambda: f"y{number}" in here.attributes.values)  # noqa: B023
        assert kept in here.connector.supervisor.groups[PB].streams
        assert kept.exchange is not None
        produce(broker, topic, [b"7"])
        await here.until(lambda: here.attributes.values["x"] == 7)


async def test_a_queue_is_copied_to_a_queue(broker, topic):
    path = uri("copy", "data-queue")
    async with world() as here:
        await here.put({**blocks(), uri("q"): flow(queue(topic, host=broker))})
        await here.put({path: flow(queue(f"{topic}-2", host=broker), uri("q"), start="earliest")})
        produce(broker, topic, [b"any", b"thing"])
        await here.reaches(path, "FLOWING")
        statistics = here.connector.supervisor.statistics
        await here.until(lambda: statistics()[f"{PB}[0]"]["delivered"] == 2)
        assert read_all(broker, f"{topic}-2")[0] == [b"any", b"thing"]


RECEIVER = {
    "receiver_state": ("DevString", "receiving"),
    "last_update": ("DevDouble", 1.5),
    "processing_block_id": ("DevString", PB),
    "execution_block_id": ("DevString", EB),
    "subarray": ("DevString", "01"),
    "scan_id": ("DevLong64", 7),
    "payloads_received": ("DevLong64", 2**40),
    "time_slices": ("DevLong64", 3),
    "time_since_last_payload": ("DevDouble", 0.25),
}


async def test_the_receivers_nine_scalars_come_from_one_queue(broker, topic):
    path, when = uri("receiver", "tango-map"), "type=='visibility_receive'"
    shown = [
        [attribute(name, dtype), {"select": name, "when": when}]
        for name, (dtype, _) in RECEIVER.items()
    ]
    told = {name: value for name, (_, value) in RECEIVER.items()}
    async with world() as here:
        await here.put({**blocks(), uri("q"): flow(queue(topic, host=broker))})
        await here.put({path: flow({"attributes": shown}, uri("q"), start="earliest")})
        await here.until(lambda: here.attributes.values.keys() == RECEIVER.keys())
        for kind in ("visibility_receive", "another"):
            wrong = {} if kind == "visibility_receive" else {"scan_id": 8}
            produce(broker, topic, [json.dumps({"type": kind, **told, **wrong}).encode()])
        await here.until(lambda: here.attributes.values == told)
        await here.reaches(path, "FLOWING")
        statistics = here.connector.supervisor.statistics
        await here.until(lambda: statistics()[f"{PB}[0]"]["delivered"] == 2)
        assert here.attributes.values == told


async def test_one_of_several_connectors_carries_the_flows_of_a_subarray(broker, topic):
    path, copy, name = uri("copy", "data-queue"), f"{topic}-2", uuid.uuid4().hex
    async with world(name=name) as first:
        await first.put({**blocks(), uri("q"): flow(queue(topic, host=broker))})
        parameters = {"start": "earliest", "group_id": topic}
        await first.put({path: flow(queue(copy, host=broker), uri("q"), **parameters)})
        produce(broker, topic, [b"1"])
        await first.reaches(path, "FLOWING")
        await first.until(lambda: delivered(first) == 1)
        async with (
            world(name=name, device="a/b/refused") as refused,
            world(name=name, device="a/b/waits", standby=True) as waits,
        ):
            held = f"the flows of subarray 01: held by {DEVICE} on "
            await refused.until(lambda: held in refused.connector.announcement.status)
            assert refused.connector.announcement.state is State.FAULT
            standing = f"the flows of subarray 01: standing by for {DEVICE} on "
            await waits.until(lambda: standing in waits.connector.announcement.status)
            assert waits.connector.announcement.health is Health.OK
            produce(broker, topic, [b"2"])
            await first.until(lambda: delivered(first) == 2)
            await first.connector.monitor("")
            await first.connector.supervisor.stop()
            produce(broker, topic, [b"3"])
            await waits.until(lambda: delivered(waits) + delivered(refused) == 1)
        assert read_all(broker, copy)[0] == [b"1", b"2", b"3"]
        assert (await first.state(path))["status"] == "FLOWING"


def delivered(world):
    return sum(each["delivered"] for each in world.connector.supervisor.statistics().values())
