"""Dead letters: the bytes as they came, and headers that say what was wrong with them."""

from __future__ import annotations

import datetime
import logging
import re

import numpy as np
import pytest
import trio
from confluent_kafka import Consumer, Producer, TopicPartition

from queue_connector.configuration.reading import read
from queue_connector.connectors.kafka.dead_letter import HEADERS, DeadLetterPolicyDescriptor
from queue_connector.connectors.kafka.dead_letters import DeadLetterPolicy
from queue_connector.engine.configured import ConfiguredExchange
from queue_connector.engine.exchange import Exchange
from queue_connector.model.errors import DataError, EndpointError
from queue_connector.model.ledger import Refusal
from queue_connector.model.services import ExchangeName, Services
from tests.support.kafka_topics import produce

LIMIT = 15.0


def letters(servers, topic):
    """Every message of a topic: payload, and headers as text, oldest first of each partition."""
    return [
        (message.value(), {name: text.decode() for name, text in message.headers()})
        for message in messages(servers, topic)
    ]


def messages(servers, topic):
    """Every message of a topic, oldest first of each partition."""
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "t", "fetch.wait.max.ms": 10, "log_level": 0}
    )
    try:
        partitions = consumer.list_topics(topic, LIMIT).topics[topic].partitions
        found = []
        for number in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), LIMIT)
            consumer.assign([TopicPartition(topic, number, low)])
            while low < high:
                message = consumer.poll(LIMIT)
                assert message is not None
                assert message.error() is None
                low = message.offset() + 1
                found.append(message)
        return found
    finally:
        consumer.close()


def exchange(servers, topic, **extra):
    written = {
        "exchanges": [
            {
                "dtype": "int64",
                "source": {
                    "type": "KafkaConsumerSource",
                    "servers": servers,
                    "topic": topic,
                    "start": "earliest",
                },
                "sink": {"type": "InMemorySink", "key": topic},
                "on_error": {
                    "type": "dead_letter",
                    "servers": servers,
                    "topic": f"{topic}-dead",
                },
                **extra,
            }
        ]
    }
    reading = read(written)
    assert reading.faults == ()
    (descriptor,) = reading.descriptor.groups["default"]
    ledger = ConfiguredExchange(descriptor).ledger
    log = logging.getLogger("dead letters")
    return Exchange.build("default[0]", descriptor, ledger, None, log)


async def stream_until(made, condition):
    async with made, trio.open_nursery() as nursery:
        nursery.start_soon(made.run)
        with trio.fail_after(LIMIT):
            while not condition():  # noqa: ASYNC110  nobody tells of a count
                await trio.sleep(0.01)
        made.request_stop()


async def test_a_message_that_does_not_decode_is_set_aside_as_it_came(broker, topic):
    from queue_connector.connectors.memory.sink import InMemorySink

    hostile = b"\x00\xff not a number \xf0\x9f"
    produce(broker, topic, [b"1", hostile, b"2", b"", b"3"])
    made = exchange(broker, topic)
    await stream_until(made, lambda: made.ledger.delivered + made.ledger.failed == 5)
    assert InMemorySink.data(topic) == [1, 2, 3]
    ledger = made.ledger
    assert (ledger.delivered, ledger.failed, ledger.dead_lettered) == (3, 2, 2)
    assert ledger.balanced
    (first, headers), (second, _) = letters(broker, f"{topic}-dead")
    assert (first, second) == (hostile, b"")
    assert list(headers) == list(HEADERS)
    assert headers["queue_connector.exchange"] == "default[0]"
    assert headers["queue_connector.error"] == "DecodeError"
    assert "cannot decode 18 B as 'python' to int64" in headers["queue_connector.message"]
    assert headers["queue_connector.path"] == "$.source"
    assert headers["queue_connector.position"] == f"{topic}[0]@1"
    when = datetime.datetime.fromisoformat(headers["queue_connector.time"])
    assert abs(datetime.datetime.now(datetime.UTC) - when) < datetime.timedelta(seconds=60)


async def test_key_and_headers_stay_and_a_tombstone_stays_one(broker, topic):
    own = ("queue_connector.path", b"of an earlier dead letter")
    theirs = [("trace", b"\x00\xff"), ("empty", b""), ("trace", b"again"), ("none", None)]
    producer = Producer({"bootstrap.servers": broker, "log_level": 0})
    producer.produce(topic, b"bad", b"key \xff", 0, headers=[*theirs[:2], own, *theirs[2:]])
    producer.produce(topic, None, b"gone", 0)
    producer.produce(topic, None, None, 0)
    assert producer.flush(LIMIT) == 0
    made = exchange(broker, topic)
    await stream_until(made, lambda: made.ledger.failed == 3)
    found = {message.value(): [] for message in messages(broker, f"{topic}-dead")}
    for message in messages(broker, f"{topic}-dead"):
        found[message.value()].append(message)
    (bad,) = found.pop(b"bad")
    assert bad.key() == b"key \xff"
    assert [header for header in bad.headers() if header[0] not in HEADERS] == theirs
    assert [name for name, _ in bad.headers() if name in HEADERS] == list(HEADERS)
    assert dict(bad.headers())["queue_connector.path"] == b"$.source"
    assert list(found) == [None]
    assert {message.key() for message in found[None]} == {b"gone", None}


async def test_what_a_sink_refuses_keeps_the_key_of_its_message(broker, topic):
    producer = Producer({"bootstrap.servers": broker, "log_level": 0})
    producer.produce(topic, b"1" * 19, b"key", 0, headers=[("trace", b"1")])
    assert producer.flush(LIMIT) == 0
    sink = {"type": "KafkaProducerSink", "servers": broker, "topic": f"{topic}-out"}
    made = exchange(broker, topic, sink={**sink, "message_max_bytes": 10})
    await stream_until(made, lambda: made.ledger.failed == 1)
    (letter,) = messages(broker, f"{topic}-dead")
    assert (letter.key(), letter.headers()[0]) == (b"key", ("trace", b"1"))


async def test_what_a_sink_refuses_is_set_aside_with_the_bytes_of_its_source(broker, topic):
    produce(broker, topic, [b"1", b"1" * 19, b"  2"])
    made = exchange(
        broker,
        topic,
        sink=[
            {"type": "InMemorySink", "key": topic},
            {
                "type": "KafkaProducerSink",
                "servers": broker,
                "topic": f"{topic}-out",
                "message_max_bytes": 10,
            },
        ],
    )
    await stream_until(made, lambda: made.ledger.delivered + made.ledger.failed == 3)
    ((payload, headers),) = letters(broker, f"{topic}-dead")
    assert payload == b"1" * 19
    assert headers["queue_connector.error"] == "TooLargeError"
    assert headers["queue_connector.path"] == "$.sink[1]"
    assert headers["queue_connector.position"] == f"{topic}[0]@1"


async def test_each_message_of_a_window_that_is_refused_is_set_aside(broker, topic):
    produce(broker, topic, [b"1111", b"2222", b"3333"])
    made = exchange(
        broker,
        topic,
        pipe={"type": "BufferWithTimePipe", "timespan": 0.3},
        sink={
            "type": "KafkaProducerSink",
            "servers": broker,
            "topic": f"{topic}-out",
            "message_max_bytes": 5,
        },
    )
    await stream_until(made, lambda: made.ledger.failed == 3)
    found = letters(broker, f"{topic}-dead")
    assert [payload for payload, _ in found] == [b"1111", b"2222", b"3333"]
    positions = [headers["queue_connector.position"] for _, headers in found]
    assert positions == [f"{topic}[0]@{offset}" for offset in range(3)]


async def test_a_dead_letter_that_is_too_large_is_an_error_and_nothing_counts_as_set_aside(
    broker, topic
):
    descriptor = DeadLetterPolicyDescriptor(servers=broker, topic=topic, message_max_bytes=100)
    policy = DeadLetterPolicy(descriptor, Services())
    async with policy:
        with trio.fail_after(LIMIT), pytest.raises(EndpointError, match="the largest of 2 has"):
            await policy.take(
                [Refusal(DataError("a"), b"small"), Refusal(DataError("b"), b"x" * 5000)]
            )


async def test_headers_survive_any_text(broker, topic):
    descriptor = DeadLetterPolicyDescriptor(servers=broker, topic=topic)
    policy = DeadLetterPolicy(descriptor, Services(exchange=ExchangeName("gruppe ü[0]")))
    async with policy:
        with trio.fail_after(LIMIT):
            await policy.take([Refusal(DataError("half a pair: \ud800"), b"\x00")])
    ((payload, headers),) = letters(broker, topic)
    assert payload == b"\x00"
    assert headers["queue_connector.exchange"] == "gruppe ü[0]"
    assert headers["queue_connector.message"] == "half a pair: \\ud800"


@pytest.mark.parametrize("end", ["source", "sink"])
def test_the_topic_of_the_exchange_itself_is_refused(end):
    topic = {"source": "in", "sink": "out"}[end]
    written = {
        "exchanges": [
            {
                "source": {"type": "KafkaConsumerSource", "servers": "a,b", "topic": "in"},
                "sink": {"type": "KafkaProducerSink", "servers": ["b"], "topic": "out"},
                "on_error": {"type": "dead_letter", "servers": "b:9092", "topic": topic},
            }
        ]
    }
    (fault,) = read(written).faults
    assert fault.path == "$.exchanges[0].on_error.topic"
    assert f"uses the topic '{topic}' itself" in fault.message


@pytest.mark.parametrize(
    ("on_error", "path", "told"),
    [
        ("skpi", ".on_error", "did you mean 'skip'"),
        ("dead_letter", ".on_error", "expected 'fault' or 'skip' or policy, found text"),
        ("dead_letter", ".on_error", 'it has keys: write {"type": "dead_letter", …}'),
        ({"type": "dead_leter"}, ".on_error.type", "did you mean 'dead_letter'"),
        ({"type": "dead_letter", "servers": "a"}, ".on_error.topic", "the key is missing"),
        ({"type": "skip", "breaker": {"errors": 0}}, ".on_error.breaker.errors", "at least 1"),
        ({"type": "skip", "brake": None}, ".on_error.brake", "did you mean 'breaker'"),
        (3, ".on_error", "expected policy or text, found number 3"),
    ],
)
def test_what_may_be_written_wrong_is_told(on_error, path, told):
    source = {"type": "InMemorySource", "data": []}
    sink = {"type": "InMemorySink", "key": "k"}
    written = {"exchanges": [{"source": source, "sink": sink, "on_error": on_error}]}
    faults = read(written).faults
    assert [fault.path for fault in faults] == [f"$.exchanges[0]{path}"]
    assert re.search(told, str(faults[0])), str(faults[0])


def test_arrays_are_readable_in_a_dead_letter_of_tango():
    from queue_connector.model.provenance import readable

    assert readable(np.array([1.5, np.nan])) == b"[1.5, nan]"
    assert readable(np.int16(3)) == b"3"
    assert readable("\u00fc") == "'\u00fc'".encode()
