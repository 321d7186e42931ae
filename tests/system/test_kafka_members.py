"""Sources that share a topic as members of one group: who reads what, and what changes hands."""

from __future__ import annotations

from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import pytest
import trio

from queue_connector.connectors.kafka import member
from queue_connector.model.services import Services
from tests.contract.test_kafka_groups import committed
from tests.services.kafka import create_topic
from tests.support.kafka_topics import make_source, produce

PARTITIONS = 4
LIMIT = 40.0  # s for all of one test; a group takes its time


@pytest.fixture
def broker(kafka, topic):
    """One with a topic of four partitions."""
    create_topic(kafka.bootstrap_servers, topic, PARTITIONS)
    return kafka.bootstrap_servers


class Reading:
    """A source whose batches are acknowledged as they come, or kept while *keeps* says so."""

    def __init__(self, broker, topic, **options):
        options = {"group_id": "g-" + topic, "members": "shared", "start": "earliest", **options}
        self.services = Services()
        self.source = make_source(broker, topic, services=self.services, **options)
        self.found = []
        self.kept = []
        self.keeps = False

    @property
    def held(self):
        return self.services.condition.numbers().get("partitions", 0)

    async def run(self):
        while True:
            try:
                batch = await self.source.receive_batch()
            except trio.EndOfChannel:
                return
            self.found += [(m.partition(), m.offset()) for m in batch.raw]
            if self.keeps:
                self.kept.append(batch)
            else:
                self.source.acknowledge(batch)


async def until(condition):
    while not condition():  # noqa: ASYNC110  nobody tells of it
        await trio.sleep(0.01)


@asynccontextmanager
async def readings():
    """Starts what is read; everything is stopped at the end, and has to be within `LIMIT`."""
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery, AsyncExitStack() as stack:

            async def start(reading):
                await stack.enter_async_context(reading.source)
                nursery.start_soon(reading.run)
                return reading

            yield start


def fill(broker, topic, count):
    """So many messages into each partition."""
    for number in range(PARTITIONS):
        produce(broker, topic, [b"%d" % n for n in range(count)], partition=number)


async def test_two_members_share_the_partitions_and_one_takes_over(broker, topic):
    fill(broker, topic, 10)
    async with readings() as start:
        first = await start(Reading(broker, topic))
        await until(lambda: len(first.found) == 40)
        second = await start(Reading(broker, topic))
        await until(lambda: first.held == second.held == 2)
        fill(broker, topic, 10)
        await until(lambda: len(first.found) + len(second.found) == 80)
        assert len({number for number, _ in second.found}) == 2
        await first.source.stop()
        await until(lambda: second.held == 4)
        fill(broker, topic, 1)
        await until(lambda: len(first.found) + len(second.found) == 84)
        assert set(Counter(first.found + second.found).values()) == {1}
        assert first.services.condition.numbers()["rebalances"] >= 2
        assert first.services.account.upstream == {}  # nothing of that is trouble
    assert committed(broker, topic, "g-" + topic, PARTITIONS) == dict.fromkeys(range(4), 21)


async def test_what_was_handed_over_is_committed_before_another_reads_on(broker, topic):
    fill(broker, topic, 10)
    async with readings() as start:
        first = Reading(broker, topic)
        first.keeps = True
        await start(first)
        await until(lambda: len(first.found) == 40)
        second = Reading(broker, topic)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(start, second)
            await until(lambda: first.held == 2)  # taken away, and waited for
            assert committed(broker, topic, "g-" + topic, PARTITIONS) == dict.fromkeys(range(4), 0)
            for batch in first.kept:
                first.source.acknowledge(batch)
        await until(lambda: second.held == 2)
        fill(broker, topic, 1)
        await until(lambda: len(first.found) + len(second.found) >= 44)
        assert set(Counter(first.found + second.found).values()) == {1}


async def test_it_is_waited_for_no_longer_than_the_bound(broker, topic, monkeypatch, caplog):
    monkeypatch.setattr(member, "GIVING_BACK", 0.5)
    fill(broker, topic, 10)
    async with readings() as start:
        first = Reading(broker, topic)
        first.keeps = True
        await start(first)
        await until(lambda: len(first.found) == 40)
        second = await start(Reading(broker, topic))
        await until(lambda: second.held == 2 and len(second.found) == 20)
        assert "some data will come twice" in caplog.text
        for batch in first.kept:  # too late for two of them, which are another's
            first.source.acknowledge(batch)
        await until(lambda: sum(first.source._subscription.positions.values()) == 20)


async def test_who_gets_no_partition_says_so(kafka, topic):
    servers = kafka.bootstrap_servers
    create_topic(servers, topic)
    async with readings() as start:
        first = await start(Reading(servers, topic))
        idle = await start(Reading(servers, topic))
        assert (first.held, idle.held) == (1, 0)
        waits = f"partitions: 1 other member of the group 'g-{topic}' has them all"
        await until(lambda: idle.services.condition.waiting_for == waits)
        await first.source.stop()
        await until(lambda: idle.held == 1 and idle.services.condition.connected)


async def test_a_single_reader_of_a_group_that_has_members_says_what_it_waits_for(broker, topic):
    async with readings() as start, trio.open_nursery() as nursery:
        first = await start(Reading(broker, topic))
        single = Reading(broker, topic, members="single")
        nursery.start_soon(single.source.start)
        condition = single.services.condition
        await until(lambda: "members 'shared' here too" in condition.waiting_for)
        await first.source.stop()
        await single.source._subscription.opened.wait()  # the group has none any more
        await until(lambda: condition.connected)
        await single.source.stop()
