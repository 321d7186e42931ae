"""Clients that never connect again, where a new one would: they are replaced.

librdkafka gets into that state by an answer of a broker that is starting, which cannot be asked
for. Here the clients know nothing but an address where nobody is, which they cannot know.
"""

from __future__ import annotations

import logging

import pytest
import trio
from confluent_kafka import Consumer, TopicPartition

from queue_connector.connectors.kafka.bookmark import Bookmark
from queue_connector.connectors.kafka.client import Trouble
from queue_connector.connectors.kafka.cluster import Cluster
from queue_connector.connectors.kafka.reader import Reader
from queue_connector.model.delivery import Delivery
from queue_connector.model.services import Services
from tests.services.process import freeze
from tests.support.kafka_topics import librdkafka_threads, make_sink, make_source, produce, read_all

LIMIT = 30.0  # s
NOBODY = "127.0.0.1:1"


@pytest.fixture(autouse=True)
def _soon(monkeypatch):
    for room in ("client", "cluster", "reader"):
        monkeypatch.setattr(f"queue_connector.connectors.kafka.{room}.STRANDED", 0.5)


def reader_of(services):
    """The one reader that the sources of these services share."""
    found = [entry.value for entry in services.shared._entries.values()]
    return next(each for each in found if isinstance(each, Reader))


async def until_there(services):
    """The same, once it is there."""
    with trio.fail_after(LIMIT):
        while not any(  # noqa: ASYNC110 - nobody is told of it
            isinstance(entry.value, Reader) for entry in services.shared._entries.values()
        ):
            await trio.sleep(0.01)
    return reader_of(services)


def to_nobody():
    settings = {"bootstrap.servers": NOBODY, "group.id": "nobody", "log_level": 0}
    settings |= Bookmark("nobody", Trouble(logging.getLogger(), "")).settings()
    return Consumer({**settings, "logger": logging.getLogger("nobody")})


async def test_a_source_goes_on_where_it_was_with_another_client(broker, topic, caplog):
    produce(broker, topic, [b"0", b"1"])
    services = Services()
    source = make_source(broker, topic, start="earliest", group_id=topic, services=services)
    async with source:
        with trio.fail_after(LIMIT):
            batch = await source.receive_batch()
            source.acknowledge(batch)
            reader = reader_of(services)

            def strand():
                reader._consumer.close()
                reader._consumer = to_nobody()
                reader._consumer.assign([TopicPartition(topic, 0, 2)])

            await reader._lane.run(strand)
            produce(broker, topic, [b"2"])
            assert (await source.receive_batch()).values == [2]
    assert "another one is: connecting anew" in caplog.text
    assert librdkafka_threads() == []


async def test_a_source_starts_with_another_client(broker, topic):
    produce(broker, topic, [b"0", b"1"])
    services = Services()
    source = make_source(NOBODY, topic, start="earliest", services=services)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.start)
        reader = await until_there(services)
        reader._cluster = reader.asker.cluster = Cluster(broker)
    with trio.fail_after(LIMIT):
        assert (await source.receive_batch()).values == [0, 1]
    await source.stop()
    assert librdkafka_threads() == []


async def test_a_sink_sends_what_it_has_in_hand_with_another_client(broker, topic):
    sink = make_sink(NOBODY, topic, services=Services(log=logging.getLogger("sink")))
    async with sink:
        delivery = Delivery(range(100))
        with trio.fail_after(LIMIT):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(sink.awrite_batch, delivery)
                await trio.sleep(0.2)
                sink._writer._client._client.servers = broker
        assert all(delivery.accepted)
    arrived = [payload for part in read_all(broker, topic).values() for payload in part]
    assert arrived == [b"%d" % number for number in range(100)]


async def test_an_outage_is_waited_out_with_the_same_client(own_broker):
    servers, process = own_broker
    services = Services()
    source = make_source(servers, "t", services=services)
    async with make_sink(servers, "t") as sink, source:
        await sink.awrite(0)
        with trio.fail_after(LIMIT):
            assert (await source.receive_batch()).values == [0]
        reader, producer = reader_of(services), sink._writer._client._client._producer
        clients = reader._consumer, reader.asker._client
        freeze(process.pid)
        with trio.move_on_after(4):
            await source.receive_batch()
        process.resume()
        await sink.awrite(1)
        with trio.fail_after(LIMIT):
            assert (await source.receive_batch()).values == [1]
        assert (reader._consumer, reader.asker._client) == clients
        assert sink._writer._client._client._producer is producer
