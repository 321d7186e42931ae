"""What the tests of the Kafka connectors share: plain clients, and sources and sinks in a line."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from queue_connector.connectors.kafka.consumer_source import KafkaConsumerSource
from queue_connector.connectors.kafka.producer_sink import KafkaProducerSink
from queue_connector.connectors.kafka.sink import KafkaProducerSinkDescriptor
from queue_connector.connectors.kafka.source import KafkaConsumerSourceDescriptor
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.services import Services

INT = DataSpec("int64")


def make_source(
    servers: str, topic: str, spec: DataSpec = INT, services: Services | None = None, **options: Any
) -> KafkaConsumerSource:
    descriptor = KafkaConsumerSourceDescriptor(servers=servers, topic=topic, **options)
    assert list(descriptor.faults(spec)) == []
    return descriptor.build(spec, services or Services())


def make_sink(
    servers: str, topic: str, spec: DataSpec = INT, services: Services | None = None, **options: Any
) -> KafkaProducerSink:
    descriptor = KafkaProducerSinkDescriptor(servers=servers, topic=topic, **options)
    assert list(descriptor.faults(spec)) == []
    return descriptor.build(spec, services or Services())


def produce(
    servers: str,
    topic: str,
    payloads: Iterable[bytes | None],
    partition: int = 0,
    timeout: float = 20.0,
) -> None:
    producer = Producer({"bootstrap.servers": servers, "log_level": 0, "linger.ms": 0})
    errors: list[object] = []
    for payload in payloads:
        producer.produce(
            topic,
            payload,
            partition=partition,
            on_delivery=lambda error, _: errors.append(error) if error else None,
        )
    assert producer.flush(timeout) == 0
    assert errors == []


def read_all(servers: str, topic: str, timeout: float = 20.0) -> dict[int, list[bytes]]:
    """Every payload of a topic, oldest first, by partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "tests",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 10,
            "log_level": 0,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout).topics[topic].partitions
        found: dict[int, list[bytes]] = {number: [] for number in partitions}
        ends = {}
        for number in partitions:
            low, high = consumer.get_watermark_offsets(TopicPartition(topic, number), timeout)
            if high > low:
                ends[number] = high
        consumer.assign([TopicPartition(topic, number, 0) for number in ends])
        deadline = time.monotonic() + timeout
        while ends:
            assert time.monotonic() < deadline, f"still to come: {ends}"
            message: Message[Any, Any] | None = consumer.poll(0.1)
            if message is None:
                continue
            assert message.error() is None
            number = message.partition()
            assert number is not None
            found[number].append(message.value() or b"")
            if (message.offset() or 0) + 1 >= ends[number]:
                del ends[number]
                consumer.incremental_unassign([TopicPartition(topic, number)])
        return found
    finally:
        consumer.close()


def librdkafka_threads() -> list[str]:
    """The names of librdkafka's threads in this process."""
    names = []
    for task in Path("/proc/self/task").iterdir():
        with contextlib.suppress(OSError):  # it has just ended
            names.append((task / "comm").read_text().strip())
    return [name for name in names if name.startswith("rdk:")]
