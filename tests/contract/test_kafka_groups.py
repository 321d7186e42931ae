"""Where a Kafka source begins, and what it commits for its group."""

from __future__ import annotations

import json
import logging

import pytest
import trio
import trio.lowlevel
from confluent_kafka import Consumer, TopicPartition

from queue_connector.configdb import Children, Versioned
from queue_connector.configuration.reading import read
from queue_connector.connectors.kafka.source import KafkaConsumerSourceDescriptor
from queue_connector.connectors.kafka.subscription import Start
from queue_connector.connectors.memory.sink import InMemorySinkDescriptor
from queue_connector.connectors.pipes.filter import FilterPipeDescriptor
from queue_connector.connectors.pipes.map import MapPipeDescriptor
from queue_connector.engine.configured import ConfiguredExchange
from queue_connector.engine.exchange import Exchange
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.delivery import Delivery
from queue_connector.model.exchanges import ExchangeDescriptor
from queue_connector.model.services import Services
from queue_connector.reconfiguration.children import Reader
from tests.support.kafka_topics import make_sink, make_source, produce

LIMIT = 15.0  # s for anything that must come


def committed(servers, topic, group, partitions=1):
    consumer = Consumer({"bootstrap.servers": servers, "group.id": group, "log_level": 0})
    try:
        asked = [TopicPartition(topic, number) for number in range(partitions)]
        return {p.partition: p.offset for p in consumer.committed(asked, LIMIT) if p.offset >= 0}
    finally:
        consumer.close()


async def batches(source, count):
    """Batches with *count* values, not acknowledged."""
    taken, found = [], 0
    with trio.fail_after(LIMIT):
        while found < count:
            taken.append(await source.receive_batch())
            found += len(taken[-1].values)
    assert found == count
    return taken


def numbers(found):
    return [int(value) for batch in found for value in batch.values]


def grouped(broker, topic, **options):
    return make_source(broker, topic, group_id="g-" + topic, **options)


async def test_a_restart_goes_on_after_what_was_acknowledged(broker, topic):
    async with make_sink(broker, topic) as sink:
        await sink.awrite_batch(Delivery([-1]))
        async with grouped(broker, topic) as first:
            await sink.awrite_batch(Delivery(range(10)))
            taken = await batches(first, 10)
            await sink.awrite_batch(Delivery(range(10, 20)))
            unsettled = await batches(first, 10)
            for batch in taken:
                first.acknowledge(batch)
            await first.finish()
        async with grouped(broker, topic) as second:
            again = await batches(second, 10)
            assert numbers(again) == numbers(unsettled) == list(range(10, 20))
            for batch in again:
                second.acknowledge(batch)
        async with grouped(broker, topic) as third:
            await sink.awrite_batch(Delivery([20]))
            assert numbers(await batches(third, 1)) == [20]


async def test_what_is_acknowledged_out_of_order_waits_for_what_came_before(broker, topic):
    async with make_sink(broker, topic) as sink, grouped(broker, topic) as source:
        taken = []
        for number in range(4):
            await sink.awrite_batch(Delivery([number]))
            taken.extend(await batches(source, 1))
        ((partition, (begin, _)),) = taken[0].token.items()
        start = begin.offset
        source.acknowledge(taken[2])
        source.acknowledge(taken[1])
        assert source._subscription.positions[partition] == start
        assert source._subscription.kept_runs == 1
        source.acknowledge(taken[0])
        await source.finish()
        await source.stop()
        assert committed(broker, topic, "g-" + topic, 4)[partition] == start + 3


async def test_where_reading_begins_is_committed_before_anything_comes(broker, topic):
    produce(broker, topic, [b"1", b"2"])
    async with grouped(broker, topic) as source:
        assert committed(broker, topic, "g-" + topic)[0] == 2
        # As good as killed: nothing is acknowledged and nothing more is committed.
    produce(broker, topic, [b"3"])
    async with grouped(broker, topic) as source:
        assert numbers(await batches(source, 1)) == [3]


async def test_positions_are_committed_while_it_streams(broker, topic):
    async with make_sink(broker, topic) as sink, grouped(broker, topic) as source:
        await sink.awrite_batch(Delivery([1]))
        (batch,) = await batches(source, 1)
        source.acknowledge(batch)
        ((number, (_, end)),) = batch.token.items()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(source.receive_batch)
            with trio.fail_after(LIMIT):
                while True:
                    found = await trio.to_thread.run_sync(committed, broker, topic, "g-" + topic, 4)
                    if found.get(number) == end:
                        break
            nursery.cancel_scope.cancel()


async def test_a_topic_that_appears_later_is_read_whole_by_every_restart(broker, topic):
    async with grouped(broker, topic) as source:
        async with trio.open_nursery() as nursery:
            taken = []

            async def take():
                taken.extend(await batches(source, 2))

            nursery.start_soon(take)
            async with make_sink(broker, topic) as sink:
                await sink.awrite_batch(Delivery([1, 2]))
        assert numbers(taken) == [1, 2]
    async with grouped(broker, topic) as source:
        assert numbers(await batches(source, 2)) == [1, 2]


@pytest.mark.parametrize(
    ("start", "expected"), [("earliest", [0, 1, 2]), (1, [1, 2]), (0, [0, 1, 2])]
)
async def test_reading_begins_where_it_is_told(broker, topic, start, expected):
    produce(broker, topic, [b"0", b"1", b"2"])
    async with make_source(broker, topic, start=start) as source:
        assert numbers(await batches(source, len(expected))) == expected


async def test_an_offset_that_the_partition_has_not_reached_is_waited_for(broker, topic):
    produce(broker, topic, [b"0", b"1"])
    services = Services()
    async with make_source(broker, topic, start=5, services=services) as source:
        with trio.move_on_after(0.5):
            raise AssertionError(await source.receive_batch())
        produce(broker, topic, [b"%d" % number for number in range(2, 7)])
        assert numbers(await batches(source, 2)) == [5, 6]
        assert source.positions()[0] == 5
    assert services.account.upstream == {}
    async with grouped(broker, topic, start=9) as source:  # as a successor finds it committed
        await trio.lowlevel.checkpoint()
    async with grouped(broker, topic, start=9) as source:
        produce(broker, topic, [b"7", b"8", b"9"])
        assert numbers(await batches(source, 1)) == [9]


async def test_a_group_that_has_a_position_does_not_begin_anew(broker, topic):
    produce(broker, topic, [b"0", b"1"])
    for expected in ([0, 1], [2]):
        async with grouped(broker, topic, start="earliest") as source:
            found = await batches(source, len(expected))
            assert numbers(found) == expected
            for batch in found:
                source.acknowledge(batch)
        produce(broker, topic, [b"2"])


async def test_without_a_group_nothing_is_committed(broker, topic):
    produce(broker, topic, [b"0"])
    async with make_source(broker, topic, start="earliest") as source:
        (batch,) = await batches(source, 1)
        source.acknowledge(batch)
        assert source.positions()[0] == 1
    assert committed(broker, topic, "queue-connector") == {}


async def test_a_broker_that_is_away_at_the_stop_costs_no_more_than_the_grace(
    topic, monkeypatch, caplog
):
    from queue_connector.demo.embedded_broker import embedded_broker

    monkeypatch.setattr("queue_connector.connectors.kafka.consumer_source.COMMIT_GRACE", 0.5)
    with embedded_broker() as servers:
        async with make_sink(servers, topic) as sink:
            source = grouped(servers, topic)
            await source.start()
            await sink.awrite_batch(Delivery([1]))
            (batch,) = await batches(source, 1)
    source.acknowledge(batch)
    began = trio.current_time()
    await source.stop()
    assert trio.current_time() - began < 5
    assert "position was not committed in time" in caplog.text


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("latest", Start("latest")),
        ("earliest", Start("earliest")),
        (12, Start("offset", 12)),
        ("1970-01-01T00:00:01Z", Start("time", 1000)),
        ("2026-01-31T13:00:00.123+01:00", Start("time", 1769860800123)),
        ("2026-01-31T12:00:00,123Z", Start("time", 1769860800123)),
    ],
)
def test_starts_that_may_be_written(written, expected):
    assert Start.parse(written) == expected


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("erliest", "is no place to begin"),
        ("2026-01-31T12:00:00", "the time has no zone"),
        ("1969-01-01T00:00:00Z", "no time before 1970"),
        ("", "is no place to begin"),
        (2**63, "no offset is larger"),
    ],
)
def test_starts_that_may_not(written, told):
    descriptor = KafkaConsumerSourceDescriptor(servers="a", topic="t", start=written)
    (fault,) = descriptor.faults(DataSpec("int64"))
    assert fault.path == "$.start"
    assert told in fault.message
    assert fault.hint


@pytest.mark.parametrize(
    ("options", "path", "told"),
    [
        ({}, "$.members", "needs a group"),
        ({"group_id": "g", "start": 7}, "$.start", "a place in one partition"),
        ({"group_id": "g", "session_timeout": 1e9}, "$.session_timeout", "for more than 1800 s"),
    ],
)
def test_what_cannot_be_shared_is_refused(options, path, told):
    descriptor = KafkaConsumerSourceDescriptor(servers="a", topic="t", members="shared", **options)
    (fault,) = descriptor.faults(DataSpec("int64"))
    assert (fault.path, told in fault.message) == (path, True)
    assert fault.hint


def test_members_are_single_or_shared():
    described = exchanges({"topic": "t", "group_id": "g", "members": "all"})
    (fault,) = read({"exchanges": described}).faults
    assert fault.path == "$.exchanges[0].source.members"


def exchanges(*sources):
    sink = {"type": "InMemorySink", "key": "k"}
    common = {"type": "KafkaConsumerSource", "servers": "a"}
    return [{"source": {**common, **source}, "sink": sink} for source in sources]


def test_two_sources_cannot_keep_one_position():
    same = {"topic": "t", "group_id": "g"}
    (fault,) = read({"exchanges": exchanges(same, {**same, "servers": "a:9092"})}).faults
    assert fault.path == "$.exchanges[1].source"
    assert fault.message == (
        "the position that KafkaConsumerSource(t) keeps is claimed at $.exchanges[0].source too"
    )
    others = exchanges(same, {**same, "topic": "u"}, {**same, "group_id": "h"}, {"topic": "t"})
    assert read({"exchanges": others}).faults == ()


def test_nor_can_two_groups_of_a_configuration_database():
    def child(revision, **source):
        text = json.dumps({"exchanges": exchanges({"topic": "t", **source})})
        return Versioned(text.encode(), revision)

    reader_ = Reader()
    view = Children(9, {"a": child(1, group_id="g"), "b": child(2, group_id="g")}, None)
    wanted = reader_.wanted(view)
    assert wanted["a"].refusal is None
    (fault,) = wanted["b"].refusal.faults
    assert "is claimed by 'a' too" in fault.message


async def test_what_a_pipe_leaves_out_does_not_come_again(broker, topic):
    produce(broker, topic, [b'{"n": %d}' % number for number in range(10)])
    source = KafkaConsumerSourceDescriptor(
        servers=broker, topic=topic, encoding="json", group_id="g-" + topic, start="earliest"
    )
    chain = [
        FilterPipeDescriptor(condition="n > `4`"),
        MapPipeDescriptor(path="n", dtype="int64"),
    ]
    described = ExchangeDescriptor(
        dtype="object", source=source, pipe=chain, sink=InMemorySinkDescriptor(key=topic)
    )
    for filtered in (5, 0):
        ledger = ConfiguredExchange(described).ledger
        running = Exchange.build("x", described, ledger, None, logging.getLogger("x"))
        async with running, trio.open_nursery() as nursery:
            nursery.start_soon(running.run)
            with trio.move_on_after(LIMIT if filtered else 1.0):  # what must not come has a second
                while not filtered or ledger.delivered < 5:  # noqa: ASYNC110  nobody tells of a count
                    await trio.sleep(0.01)
            running.request_stop()
        assert (ledger.filtered, ledger.delivered) == (filtered, filtered)
        assert ledger.balanced
