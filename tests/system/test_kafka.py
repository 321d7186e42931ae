"""Kafka source and sink against a real Kafka: large messages, restarts, topics that change."""

from __future__ import annotations

import datetime

import numpy as np
import pytest
import trio
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from queue_connector.connectors.kafka import partitions as reader
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.delivery import Delivery
from queue_connector.model.services import Services
from tests.services.kafka import create_topic, delete_topic
from tests.support.kafka_topics import make_sink, make_source, produce, read_all

LIMIT = 60.0  # s for anything that must come


async def receive(source, count):
    values = []
    with trio.fail_after(LIMIT):
        while len(values) < count:
            batch = await source.receive_batch()
            assert not batch.refused
            values.extend(batch.values)
            source.acknowledge(batch)
    return values


async def test_batches_keep_their_order(kafka, topic):
    servers = kafka.bootstrap_servers
    create_topic(servers, topic, partitions=3)
    async with make_sink(servers, topic) as sink, make_source(servers, topic) as source:
        for first in range(0, 20_000, 1000):
            await sink.awrite_batch(Delivery(range(first, first + 1000)))
        assert await receive(source, 20_000) == list(range(20_000))


async def test_what_is_produced_once_start_has_returned_arrives_and_nothing_older(kafka, topic):
    servers = kafka.bootstrap_servers
    create_topic(servers, topic, partitions=2)
    for attempt in range(8):
        produce(servers, topic, [b"-1"], partition=attempt % 2)
        async with make_source(servers, topic) as source:
            produce(servers, topic, [b"%d" % attempt], partition=attempt % 2)
            assert await receive(source, 1) == [attempt]


async def test_a_message_of_20_megabytes_goes_through(kafka, topic):
    servers = kafka.bootstrap_servers
    create_topic(servers, topic, config={"max.message.bytes": str(32 * 2**20)})
    spec = DataSpec("float64", (20 * 2**17,))
    value = np.random.default_rng(1).random(spec.shape)
    options = {"encoding": "carray"}
    sink = make_sink(servers, topic, spec, **options, message_max_bytes=32 * 2**20)
    async with sink, make_source(servers, topic, spec, **options) as source:
        with trio.fail_after(LIMIT):
            for _ in range(3):
                await sink.awrite(value)
                assert np.array_equal(await source.receive(), value)


async def test_a_message_that_the_topic_does_not_take_is_refused_alone(kafka, topic):
    servers = kafka.bootstrap_servers
    create_topic(servers, topic, config={"max.message.bytes": "20000"})
    async with make_sink(servers, topic, DataSpec("str"), encoding="utf-8") as sink:
        for value in ("a", "b" * 30_000, "c"):
            delivery = Delivery([value])
            with trio.fail_after(LIMIT):
                await sink.awrite_batch(delivery)
            assert delivery.accepted == [len(value) == 1]
    assert read_all(servers, topic)[0] == [b"a", b"c"]


async def test_neighbours_of_a_message_that_the_topic_does_not_take_are_not_refused(kafka, topic):
    servers = kafka.bootstrap_servers
    create_topic(servers, topic, config={"max.message.bytes": "20000"})
    values = [f"{number}" for number in range(200)]
    values[100] = "b" * 30_000
    async with make_sink(servers, topic, DataSpec("str"), encoding="utf-8") as sink:
        delivery = Delivery(values)
        with trio.fail_after(LIMIT):
            await sink.awrite_batch(delivery)
    assert [index for index, accepted in enumerate(delivery.accepted) if not accepted] == [100]
    assert list(delivery.refused) == [100]
    arrived = [payload.decode() for payload in read_all(servers, topic)[0]]
    assert sorted(arrived) == sorted(set(values) - {values[100]})


async def test_messages_that_are_small_alone_and_large_together_all_arrive(kafka, topic):
    servers = kafka.bootstrap_servers
    create_topic(servers, topic, config={"max.message.bytes": "5000"})
    async with make_sink(servers, topic, DataSpec("str"), encoding="utf-8") as sink:
        delivery = Delivery([f"{number:4000}" for number in range(50)])
        with trio.fail_after(LIMIT):
            await sink.awrite_batch(delivery)
        assert all(delivery.accepted)
    assert len(read_all(servers, topic)[0]) == 50


async def test_what_the_topic_takes_from_nobody_is_refused_and_not_tried_for_ever(kafka, topic):
    servers = kafka.bootstrap_servers
    create_topic(servers, topic, config={"cleanup.policy": "compact"})
    async with make_sink(servers, topic) as sink:
        delivery = Delivery([1, 2])
        with trio.fail_after(LIMIT):
            await sink.awrite_batch(delivery)
    assert list(delivery.refused) == [0, 1]
    assert "compacted" in str(delivery.refused[0])


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_restart_of_the_broker_loses_and_doubles_nothing(end, controlled_kafka, topic):
    servers = controlled_kafka.bootstrap_servers
    create_topic(servers, topic)
    accepted: list[int] = []
    received: list[int] = []
    total, under_way = 2000, trio.Event()
    async with make_sink(servers, topic) as sink, make_source(servers, topic) as source:
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                for first in range(0, total, 10):
                    delivery = Delivery(range(first, first + 10))
                    await sink.awrite_batch(delivery)
                    assert all(delivery.accepted)
                    accepted.extend(delivery.values)
                    if len(accepted) == total // 4:
                        under_way.set()
                    await trio.sleep(0.005)

            async def restart() -> None:
                await under_way.wait()
                await trio.to_thread.run_sync(getattr(controlled_kafka, end))
                await trio.to_thread.run_sync(controlled_kafka.start)

            nursery.start_soon(write)
            nursery.start_soon(restart)
            received = await receive(source, total)
        assert source.positions() == {0: total}
    assert received == accepted == list(range(total))


async def test_a_topic_that_is_made_later_is_read_from_its_beginning(kafka, topic):
    servers = kafka.bootstrap_servers
    async with make_source(servers, topic) as source:
        create_topic(servers, topic, partitions=2)
        produce(servers, topic, [b"1"], partition=0)
        produce(servers, topic, [b"2"], partition=1)
        assert sorted(await receive(source, 2)) == [1, 2]


async def test_partitions_that_are_added_are_read_from_their_beginning(kafka, topic):
    servers = kafka.bootstrap_servers
    create_topic(servers, topic)
    async with make_source(servers, topic) as source:
        produce(servers, topic, [b"1"])
        assert await receive(source, 1) == [1]
        admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
        admin.create_partitions([NewPartitions(topic, 3)])[topic].result(LIMIT)
        produce(servers, topic, [b"2"], partition=2)
        assert await receive(source, 1) == [2]
        produce(servers, topic, [b"3"], partition=0)
        assert await receive(source, 1) == [3]


@pytest.mark.parametrize("pause", [0.0, 5.0])
async def test_a_topic_that_is_deleted_and_made_again_is_read_from_its_beginning(
    kafka, topic, pause
):
    servers = kafka.bootstrap_servers
    create_topic(servers, topic)
    services = Services()
    async with make_source(servers, topic, services=services) as source:
        produce(servers, topic, [b"%d" % number for number in range(20)])
        assert await receive(source, 20) == list(range(20))
        delete_topic(servers, topic)
        with trio.move_on_after(pause):
            await receive(source, 1)
            raise AssertionError("nothing was produced")
        create_topic(servers, topic)
        produce(servers, topic, [b"100", b"101"])
        assert await receive(source, 2) == [100, 101]
    seen = services.account.upstream
    assert seen[reader.TOPIC_DELETED] + seen[reader.TOPIC_MADE_AGAIN] >= 1


async def test_reading_begins_at_a_time(kafka, topic):
    servers = kafka.bootstrap_servers
    create_topic(servers, topic, partitions=2)
    produce(servers, topic, [b"1", b"2"], partition=0)
    await trio.sleep(0.05)
    now = datetime.datetime.now(datetime.UTC)
    await trio.sleep(0.05)
    produce(servers, topic, [b"3"], partition=1)
    produce(servers, topic, [b"4"], partition=0)
    async with make_source(servers, topic, start=now.isoformat()) as source:
        assert sorted(await receive(source, 2)) == [3, 4]
    later = now + datetime.timedelta(hours=1)
    async with make_source(servers, topic, start=later.isoformat()) as source:
        produce(servers, topic, [b"5"])
        assert await receive(source, 1) == [5]


async def test_a_group_goes_on_where_it_was_and_its_new_partitions_from_their_beginning(
    kafka, topic
):
    servers = kafka.bootstrap_servers
    create_topic(servers, topic)
    produce(servers, topic, [b"0"])
    async with make_source(servers, topic, group_id=topic) as source:
        produce(servers, topic, [b"1"])
        assert await receive(source, 1) == [1]
    produce(servers, topic, [b"2"])
    admin = AdminClient({"bootstrap.servers": servers, "log_level": 0})
    admin.create_partitions([NewPartitions(topic, 2)])[topic].result(LIMIT)
    produce(servers, topic, [b"3"], partition=1)
    async with make_source(servers, topic, group_id=topic) as source:
        assert sorted(await receive(source, 2)) == [2, 3]


async def test_a_sink_whose_topic_is_deleted_writes_on_into_the_next_one(kafka, topic):
    servers = kafka.bootstrap_servers
    create_topic(servers, topic)
    async with make_sink(servers, topic) as sink:
        await sink.awrite_batch(Delivery([1, 2]))
        delete_topic(servers, topic)
        with trio.fail_after(LIMIT):
            for batch in ([3, 4], [5]):
                delivery = Delivery(batch)
                await sink.awrite_batch(delivery)  # asking for the topic makes it
                assert all(delivery.accepted)
    assert read_all(servers, topic)[0] == [b"3", b"4", b"5"]
