"""The embedded broker: clients of other processes, its limits, and how it ends."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil
import pytest
from confluent_kafka import Consumer, Message, Producer, TopicPartition

from queue_connector.demo import embedded_broker as module
from queue_connector.demo.embedded_broker import EmbeddedBrokerError, embedded_broker

COMMAND = [sys.executable, "-m", "queue_connector.demo.embedded_broker"]
DEADLINE = 10.0


@contextmanager
def raw_broker(*arguments: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The module as a shell would run it."""
    with subprocess.Popen(
        [*COMMAND, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        try:
            assert process.stdout is not None
            yield process, json.loads(process.stdout.readline())["bootstrap_servers"]
        finally:
            process.kill()


@contextmanager
def consumer_of(servers: str) -> Iterator[Consumer]:
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "unused",
            "enable.auto.commit": False,
            "auto.offset.reset": "error",
            "fetch.wait.max.ms": 10,
            "topic.metadata.refresh.fast.interval.ms": 50,
            "log_level": 0,
        }
    )
    try:
        yield consumer
    finally:
        consumer.close()


def produce(servers: str, topic: str, *payloads: bytes) -> None:
    producer = Producer({"bootstrap.servers": servers, "log_level": 0})
    for payload in payloads:
        producer.produce(topic, payload, partition=0)
    assert producer.flush(DEADLINE) == 0


def read(consumer: Consumer, count: int) -> list[bytes]:
    payloads: list[bytes] = []
    deadline = time.monotonic() + DEADLINE
    while len(payloads) < count and time.monotonic() < deadline:
        message: Message | None = consumer.poll(0.1)
        if message is not None:
            assert message.error() is None
            payloads.append(message.value() or b"")
    return payloads


def test_other_processes_produce_and_consume_in_order():
    with embedded_broker(["numbers"]) as servers, consumer_of(servers) as consumer:
        payloads = [b"%d" % number for number in range(1000)]
        produce(servers, "numbers", *payloads)
        consumer.assign([TopicPartition("numbers", 0, 0)])
        assert read(consumer, 1000) == payloads
        assert consumer.get_watermark_offsets(TopicPartition("numbers", 0)) == (0, 1000)


def test_topics_named_at_the_start_are_there_for_a_consumer_that_comes_first():
    with embedded_broker(["a", "b"]) as servers, consumer_of(servers) as consumer:
        topics = consumer.list_topics(timeout=DEADLINE).topics
        assert sorted(topics) == ["a", "b"]
        assert sorted(topics["a"].partitions) == [0, 1, 2, 3]


def test_a_consumer_may_wait_for_a_topic_that_a_producer_makes_later():
    with embedded_broker() as servers, consumer_of(servers) as consumer:
        assert consumer.list_topics("later", timeout=DEADLINE).topics["later"].error is not None
        consumer.assign([TopicPartition("later", 0, 0)])
        assert consumer.poll(0.2) is None
        produce(servers, "later", b"first")
        assert read(consumer, 1) == [b"first"]


def test_several_brokers_are_all_named():
    with embedded_broker(brokers=3) as servers, consumer_of(servers) as consumer:
        brokers = consumer.list_topics(timeout=DEADLINE).brokers.values()
        assert sorted(servers.split(",")) == sorted(f"{b.host}:{b.port}" for b in brokers)
        assert len(servers.split(",")) == 3


def test_it_listens_on_loopback_only():
    with raw_broker() as (process, servers):
        sockets = psutil.Process(process.pid).net_connections(kind="inet")
        listening = {f"{s.laddr.ip}:{s.laddr.port}" for s in sockets if s.status == "LISTEN"}
        assert listening == {servers}
        assert servers.startswith("127.0.0.1:")


def test_it_ends_with_its_stdin():
    with raw_broker() as (process, _):
        assert process.stdin is not None
        process.stdin.write(b"ignored\n")
        process.stdin.close()
        assert process.wait(DEADLINE) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order_while_clients_are_connected(number):
    with raw_broker() as (process, servers), consumer_of(servers) as consumer:
        consumer.list_topics(timeout=DEADLINE)
        process.send_signal(number)
        assert process.wait(DEADLINE) == 0
        assert process.stdout is not None
        assert process.stdout.read() == b""


def test_it_dies_with_a_parent_that_was_killed():
    script = (
        "import subprocess, sys\n"
        f"broker = subprocess.Popen({COMMAND!r}, stdin=subprocess.PIPE, stdout=subprocess.PIPE)\n"
        "broker.stdout.readline()\n"
        "print(broker.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as parent:
        try:
            assert parent.stdout is not None
            broker = psutil.Process(int(parent.stdout.readline()))
        finally:
            parent.kill()
    gone, alive = psutil.wait_procs([broker], timeout=DEADLINE)
    assert gone == [broker], f"still there: {alive}"


def test_the_context_manager_leaves_no_child():
    before = set(psutil.Process().children())
    with embedded_broker():
        assert len(set(psutil.Process().children()) - before) == 1
    assert set(psutil.Process().children()) == before


def test_a_broker_that_cannot_start_is_an_error_and_leaves_no_child():
    before = set(psutil.Process().children())
    with pytest.raises(EmbeddedBrokerError, match="ended at once"), embedded_broker(brokers=99):
        pass
    assert set(psutil.Process().children()) == before


def test_a_broker_that_says_nothing_is_an_error_within_the_given_time(monkeypatch, tmp_path):
    mute = tmp_path / "mute"
    mute.write_text("#!/bin/sh\nexec sleep 60\n")
    mute.chmod(0o755)
    monkeypatch.setattr(module.sys, "executable", str(mute))
    before = set(psutil.Process().children())
    broker = embedded_broker(start_timeout=0.1, stop_timeout=0.1)
    with pytest.raises(EmbeddedBrokerError, match=r"within 0\.1 s"), broker:
        pass
    assert set(psutil.Process().children()) == before
