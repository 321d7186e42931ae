"""Kafka sinks against a real Kafka that is strict: it makes no topics, and takes small requests."""

from __future__ import annotations

import logging
import time

import pytest
import trio

from queue_connector.connectors.kafka.producer_sink import TooLargeError
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.delivery import Delivery
from queue_connector.model.services import Services
from queue_connector.model.shared import Shared
from tests.services.fixtures import running
from tests.services.kafka import KafkaServer, create_topic, delete_topic
from tests.support.kafka_topics import make_sink, read_all
from tests.support.waiting import until

LIMIT = 60.0  # s for anything that must come
REQUEST = 300_000  # B
IDLE = 2.0  # s after which the broker closes a connection


@pytest.fixture(scope="module")
def strict():
    properties = {
        "auto.create.topics.enable": "false",
        "socket.request.max.bytes": REQUEST,
        "connections.max.idle.ms": int(IDLE * 1000),
    }
    with running(lambda directory: KafkaServer(directory, properties=properties)) as server:
        yield server.bootstrap_servers


def texts(servers, topic, services=None, **options):
    spec = DataSpec("str")
    return make_sink(servers, topic, spec, services=services, encoding="utf-8", **options)


async def test_a_message_that_is_larger_than_a_request_may_be_is_refused_alone(
    strict, topic, caplog
):
    create_topic(strict, topic)
    create_topic(strict, f"{topic}-other")
    shared = Shared()
    services, other = Services(shared=shared), Services(shared=shared)
    async with texts(strict, topic, services) as sink, texts(strict, f"{topic}-other", other) as o:
        values = ["a", "b" * 2 * REQUEST, "c", "d" * (REQUEST - 5000), "e"]
        delivery, beside = Delivery(values), Delivery(["x"] * 10)
        began = time.monotonic()
        with trio.fail_after(LIMIT):
            await sink.begin(delivery)
            await o.begin(beside)
            await until(lambda: delivery.over and beside.over)
        assert time.monotonic() - began < 20
        await sink.awrite("f")
        assert services.condition.connected
    assert list(delivery.refused) == [1]
    error = delivery.refused[1]
    assert isinstance(error, TooLargeError)
    assert f"{2 * REQUEST} B" in str(error)
    assert f"socket.request.max.bytes of the broker is {REQUEST}" in str(error)
    assert all(beside.accepted)
    arrived = [payload.decode()[:1] for payload in read_all(strict, topic)[0]]
    assert list(dict.fromkeys(arrived)) == ["a", "c", "d", "e", "f"]


async def test_a_topic_that_is_not_there_is_told_at_the_start_and_written_to_once_it_is(
    strict, topic, caplog
):
    services = Services(log=logging.getLogger("sinks"))
    async with texts(strict, topic, services) as sink:
        assert services.condition.waiting_for == f"the topic {topic!r}, which does not exist"
        assert "UNKNOWN_TOPIC_OR_PART" in services.condition.error
        (line,) = [line for line in caplog.messages if "which does not exist" in line]
        assert topic in line
        delivery = Delivery(["a", "b"])
        await sink.begin(delivery)
        assert not delivery.over
        create_topic(strict, topic)
        with trio.fail_after(LIMIT):
            await until(lambda: delivery.over and services.condition.connected)
        assert all(delivery.accepted)
    assert read_all(strict, topic)[0] == [b"a", b"b"]


async def test_an_idle_connection_that_the_broker_closes_is_no_outage(strict, topic, caplog):
    create_topic(strict, topic)
    services = Services(log=logging.getLogger("sinks"))
    async with texts(strict, topic, services) as sink:
        await sink.awrite("a")
        caplog.clear()
        seen = set()
        with trio.move_on_after(3 * IDLE):
            while True:
                seen.add((services.condition.connected, services.condition.waiting_for))
                await trio.sleep(0.05)
        began = time.monotonic()
        await sink.awrite("b")
        assert time.monotonic() - began < 2
    assert seen == {(True, "")}
    assert caplog.messages == []


async def test_a_topic_that_is_deleted_while_it_is_written_disturbs_no_other_one(strict, topic):
    other = f"{topic}-other"
    create_topic(strict, topic)
    create_topic(strict, other)
    shared = Shared()
    services = Services(shared=shared)
    accepted = []
    async with (
        texts(strict, topic, services) as sink,
        texts(strict, other, Services(shared=shared)) as o,
    ):
        await sink.awrite("0")
        delete_topic(strict, topic)
        delivery = Delivery([str(n) for n in range(1, 20)])
        await sink.begin(delivery)
        longest = 0.0
        until_then = time.monotonic() + 12
        while time.monotonic() < until_then:
            began = time.monotonic()
            await o.awrite(str(len(accepted)))
            accepted.append(len(accepted))
            longest = max(longest, time.monotonic() - began)
            await trio.sleep(0.01)
        assert not delivery.over
        assert f"the topic {topic!r}" in services.condition.waiting_for
        create_topic(strict, topic)
        with trio.fail_after(LIMIT):
            await until(lambda: delivery.over)
    assert longest < 0.5
    assert read_all(strict, topic)[0] == [b"%d" % n for n in range(1, 20)]
    assert [int(text) for text in read_all(strict, other)[0]] == accepted
