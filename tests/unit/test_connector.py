"""A connector without Tango: what it owns, what it tells, how it ends."""

import json
import logging
import uuid
from contextlib import asynccontextmanager

import pytest
import trio

from queue_connector.configdb.memory import MemoryDatabase
from queue_connector.configuration.document import parse
from queue_connector.connector import open_connector
from queue_connector.connectors.memory.sink import InMemorySink
from queue_connector.engine.state import Health, State
from queue_connector.model.errors import ConfigError, EndpointError, ExchangeError, StateError
from queue_connector.testing.checkpoints import cancel_at_every_step
from queue_connector.testing.endpoints import Attributes
from tests.support.waiting import until

PATH = "/component/lmc-queueconnector-01/owner"


def text(sink, data=(1, 2, 3), delay=0, **exchange):
    source = {"type": "InMemorySource", "data": list(data), "delay": delay}
    return json.dumps(
        {"exchanges": [{"dtype": "int64", "source": source, "sink": sink} | exchange]}
    )


def kept(key):
    return {"type": "InMemorySink", "key": key}


VALUE = {"type": "TangoLocalAttributeSink", "attribute_name": "value"}


@pytest.fixture
def key():
    return uuid.uuid4().hex


@asynccontextmanager
async def opened(told=None, **options):
    """A connector; what it announces is collected in *told*."""

    async def announce(announcements):
        await trio.lowlevel.checkpoint()
        if told is not None:
            told.extend(announcements)

    async with open_connector(announce=announce, **options) as connector:
        yield connector


async def test_a_configuration_runs_to_its_end(autojump_clock, key):
    told = []
    async with opened(told) as connector:
        await connector.run(parse(text(kept(key))))
        assert InMemorySink.data(key) == [1, 2, 3]
        assert connector.snapshot().statistics["default[0]"]["delivered"] == 3
        await until(lambda: told and told[-1].state is State.OFF)
    assert told[0].state is State.STANDBY
    assert told[-1].health is Health.OK


async def test_a_datum_that_cannot_be_used_is_raised_by_run_and_announced(autojump_clock, key):
    told = []
    pipe = {"type": "MapPipe", "path": "abs(a)", "dtype": "int64"}
    bad = parse(text(kept(key), [{"a": 1}, {"a": "x"}], dtype="object", pipe=pipe))
    async with opened(told) as connector:
        with pytest.raises(ExchangeError, match=r"default\[0\]"):
            await connector.run(bad)
        await until(lambda: told[-1].state is State.FAULT)
        assert "default[0]" in told[-1].status
        assert told[-1].health is Health.FAILED
        await connector.reset()
        assert connector.announcement.state is State.STANDBY


async def test_a_sink_of_attributes_needs_a_publisher(autojump_clock):
    wanted = parse(text(VALUE))
    async with opened() as connector:
        with pytest.raises(EndpointError, match="value"):
            await connector.run(wanted)
    published = Attributes()
    async with opened(publisher=published) as connector:
        await connector.run(wanted)
        assert published.owned == {"default": ["value"]}


async def test_what_a_publisher_knows_of_its_subscribers_is_told(autojump_clock):
    published, told = Attributes(), []
    async with opened(told, publisher=published) as connector:
        published.lines = ["the subscriber at 127.0.0.1:9 does not take its events"]
        connector.changed()
        await until(lambda: told and "127.0.0.1:9" in told[-1].status)
        snapshot = connector.snapshot()
        assert (snapshot.slow, snapshot.cut) == (1, 0)


async def test_a_fault_of_the_whole_hides_the_groups_until_it_is_reset(autojump_clock, key):
    async with opened() as connector:
        await connector.supervisor.configure(parse(text(kept(key))))
        await connector.fail("the server does not answer itself")
        announcement = connector.announcement
        assert announcement.state is State.FAULT
        assert announcement.status.startswith("the server does not answer itself\n")
        await connector.reset()
        assert connector.announcement.state is State.OFF
        with pytest.raises(StateError):
            await connector.reset()


async def test_a_database_drives_it_until_another_path_does(autojump_clock, key):
    name = uuid.uuid4().hex
    database = MemoryDatabase(name)
    async with opened(database=lambda: MemoryDatabase(name)) as connector, database:
        await database.put(f"{PATH}/one", text(kept(key), [5], delay=1))
        await connector.monitor(PATH)
        await until(lambda: InMemorySink.data(key) == [5])
        assert connector.monitoring
        assert [*connector.supervisor.groups] == ["one"]
        await connector.monitor("/component/other/owner")
        await until(lambda: not connector.supervisor.groups)
        with pytest.raises(ConfigError):
            await connector.monitor("no path")
        assert connector.monitoring
        await connector.monitor("")
        assert not connector.monitoring
        await connector.configure_from(PATH)
        assert [*connector.supervisor.groups] == ["one"]


async def test_an_end_that_takes_long_says_what_it_waits_for(autojump_clock, key, caplog):
    caplog.set_level(logging.WARNING)
    published = Attributes()
    hold = trio.Event()

    async def publish(values):
        await hold.wait()

    published.publish = publish
    wanted = parse(text(VALUE, [1]))
    async with opened(publisher=published, stop_grace=5) as connector:
        await connector.supervisor.configure(wanted)
        await connector.supervisor.start()
        await until(lambda: connector.announcement.state is State.ON)
        await trio.sleep(1)
        began = trio.current_time()
        await connector.close()
        assert trio.current_time() - began < 6
    assert "still ending: default[0]: 1 in flight at" in caplog.text


def test_it_can_be_cancelled_at_every_checkpoint(key):
    name = uuid.uuid4().hex

    async def scenario():
        InMemorySink.data(key).clear()
        async with opened(database=lambda: MemoryDatabase(name)) as connector:
            await connector.run(parse(text(kept(key))))
            await connector.monitor(PATH)
            await connector.close()

    assert cancel_at_every_step(scenario) > 20
