"""The services of the system tests are real: they keep data, and can be hurt and brought back."""

from __future__ import annotations

import base64
import time

import httpx
import pytest
from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

from tests.services.etcd import EtcdServer
from tests.services.kafka import ExternalKafka, KafkaServer, create_topic, delete_topic
from tests.services.process import ServiceFailed

LARGE = 20 * 1024 * 1024


def produce(servers: str, topic: str, *payloads: bytes, timeout: float = 30.0) -> None:
    producer = Producer(
        {"bootstrap.servers": servers, "message.max.bytes": 2 * LARGE, "log_level": 0}
    )
    errors: list[object] = []

    def reported(error: object, _: object) -> None:
        if error is not None:
            errors.append(error)

    for payload in payloads:
        producer.produce(topic, payload, partition=0, on_delivery=reported)
    assert producer.flush(timeout) == 0
    assert errors == []


def consume(servers: str, topic: str, count: int, timeout: float = 30.0) -> list[bytes]:
    """Read *count* payloads from the beginning of the topic's first partition."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "unused",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    try:
        consumer.assign([TopicPartition(topic, 0, 0)])
        payloads: list[bytes] = []
        deadline = time.monotonic() + timeout
        while len(payloads) < count and time.monotonic() < deadline:
            message: Message | None = consumer.poll(0.5)
            if message is not None:
                assert message.error() is None
                payloads.append(message.value() or b"")
        return payloads
    finally:
        consumer.close()


def partitions(servers: str, topic: str) -> int:
    producer = Producer({"bootstrap.servers": servers, "allow.auto.create.topics": False})
    metadata = producer.list_topics(timeout=10.0).topics
    return len(metadata[topic].partitions) if topic in metadata else 0


def test_kafka_carries_small_and_large_messages(
    kafka: KafkaServer | ExternalKafka, topic: str
) -> None:
    large = b"large" * (LARGE // 5)
    produce(kafka.bootstrap_servers, topic, b"first", large, b"last")
    assert consume(kafka.bootstrap_servers, topic, 3) == [b"first", large, b"last"]


def test_kafka_makes_and_deletes_topics(kafka: KafkaServer | ExternalKafka, topic: str) -> None:
    servers = kafka.bootstrap_servers
    create_topic(servers, topic, partitions=3, config={"retention.ms": "60000"})
    assert partitions(servers, topic) == 3
    delete_topic(servers, topic)
    assert partitions(servers, topic) == 0


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_kafka_keeps_its_data_and_address_over(
    end: str, controlled_kafka: KafkaServer, topic: str
) -> None:
    servers = controlled_kafka.bootstrap_servers
    produce(servers, topic, b"before")
    getattr(controlled_kafka, end)()
    assert not controlled_kafka.running
    assert not controlled_kafka.probe()
    controlled_kafka.start()
    assert controlled_kafka.bootstrap_servers == servers
    produce(servers, topic, b"after")
    assert consume(servers, topic, 2) == [b"before", b"after"]


def test_frozen_kafka_answers_nobody_until_it_is_thawed(
    controlled_kafka: KafkaServer, topic: str
) -> None:
    servers = controlled_kafka.bootstrap_servers
    produce(servers, topic, b"before")
    controlled_kafka.freeze()
    producer = Producer({"bootstrap.servers": servers, "log_level": 0})
    with pytest.raises(KafkaException):
        producer.list_topics(timeout=1.0)
    controlled_kafka.thaw()
    assert topic in producer.list_topics(timeout=30.0).topics
    assert consume(servers, topic, 1) == [b"before"]


def test_frozen_kafka_can_be_stopped(controlled_kafka: KafkaServer) -> None:
    controlled_kafka.freeze()
    controlled_kafka.stop()
    assert not controlled_kafka.running


def test_etcdctl_reads_what_it_wrote(etcd: EtcdServer) -> None:
    etcd.etcdctl("put", "/by/hand", "value")
    assert etcd.etcdctl("get", "--print-value-only", "/by/hand") == "value\n"


def test_etcdctl_says_what_went_wrong(etcd: EtcdServer) -> None:
    with pytest.raises(ServiceFailed, match="required revision is a future revision"):
        etcd.etcdctl("compaction", "1000000000")


def test_the_gateway_and_etcdctl_see_the_same_keys(etcd: EtcdServer) -> None:
    with httpx.Client(base_url=etcd.endpoint, trust_env=False) as client:
        key, value = b64("/by/gateway"), b64("value")
        client.post("/v3/kv/put", json={"key": key, "value": value}).raise_for_status()
        answer = client.post("/v3/kv/range", json={"key": key}).raise_for_status().json()
    assert answer["kvs"][0]["value"] == value
    assert etcd.etcdctl("get", "--print-value-only", "/by/gateway") == "value\n"


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_etcd_keeps_its_data_and_address_over(end: str, controlled_etcd: EtcdServer) -> None:
    endpoint = controlled_etcd.endpoint
    controlled_etcd.etcdctl("put", "/kept", end)
    getattr(controlled_etcd, end)()
    assert not controlled_etcd.probe()
    controlled_etcd.start()
    assert controlled_etcd.endpoint == endpoint
    assert controlled_etcd.etcdctl("get", "--print-value-only", "/kept") == f"{end}\n"


def test_frozen_etcd_answers_nobody_until_it_is_thawed(controlled_etcd: EtcdServer) -> None:
    controlled_etcd.freeze()
    assert not controlled_etcd.probe()
    controlled_etcd.thaw()
    controlled_etcd.wait_ready(10.0)


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
