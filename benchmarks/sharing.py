"""What one, two and three connectors carry that share a topic, beside bare clients that do.

``python -m benchmarks.sharing [--seconds 10] [--runs 3]``: a topic of twelve partitions with more
small messages than any of them can copy in that time, copied to another topic on a real Kafka that
runs on the same machine. The bare clients are members of a group as well: they poll a thousand
messages, hand them to a producer, and commit once a second. They show what the machine gives; more
of them than it has processors to spare show no more.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.services.kafka import KafkaServer, create_topic

PARTITIONS = 12
MESSAGES = 12_000_000
WHO = ("bare clients", "connectors")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--copy", nargs=3, metavar=("SERVERS", "FROM", "TO"), help="be a client")
    options = parser.parse_args()
    if options.copy:
        copy(*options.copy)
        return
    with tempfile.TemporaryDirectory(prefix="sharing-") as name:
        directory = Path(name)
        with KafkaServer(directory / "kafka") as kafka:
            servers = kafka.bootstrap_servers
            create_topic(servers, "full", PARTITIONS)
            fill(servers, MESSAGES)
            found: dict[tuple[str, int], list[tuple[float, float]]] = {}
            for _ in range(options.runs):
                for who in WHO:
                    for count in (1, 2, 3):
                        figures = measure(directory, servers, who, count, options.seconds)
                        found.setdefault((who, count), []).append(figures)
                        print(who, count, *map(round, figures), file=sys.stderr, flush=True)
    print("| | messages/s | CPU of all of them, cores |\n|---|---:|---:|")
    for (who, count), runs in found.items():
        rate, cpu = (statistics.median(each) for each in zip(*runs, strict=True))
        print(f"| {count} {who if count > 1 else who[:-1]} | {rate:,.0f} | {cpu:.2f} |")


def fill(servers: str, count: int) -> None:
    """Write so many small messages, evenly."""
    producer = Producer({"bootstrap.servers": servers, "linger.ms": 20, "batch.size": 1_000_000})
    for number in range(count):
        while True:
            try:
                producer.produce("full", b"%d" % number, partition=number % PARTITIONS)
                break
            except BufferError:
                producer.poll(0.1)
    producer.flush()


def measure(
    directory: Path, servers: str, who: str, count: int, seconds: float
) -> tuple[float, float]:
    """Messages per second that arrive, and cores that are used, once all of them have a share."""
    to = f"to-{uuid.uuid4().hex[:8]}"
    create_topic(servers, to)
    with contextlib.ExitStack() as running:
        members = [running.enter_context(member(directory, servers, who, to)) for _ in range(count)]
        deadline = time.monotonic() + 60
        while not arrived(servers, to):
            assert time.monotonic() < deadline, "nothing arrives"
            time.sleep(0.1)
        time.sleep(8 if count > 1 else 2)  # until the group has shared out its partitions
        began, before, spent = time.monotonic(), arrived(servers, to), cpu(members)
        time.sleep(seconds)
        rate = (arrived(servers, to) - before) / (time.monotonic() - began)
        return rate, (cpu(members) - spent) / seconds


def cpu(members: list[psutil.Process]) -> float:
    return sum(sum(member.cpu_times()[:2]) for member in members)


def arrived(servers: str, topic: str) -> int:
    asking = Consumer({"bootstrap.servers": servers, "group.id": "asks"})
    try:
        return asking.get_watermark_offsets(TopicPartition(topic, 0), timeout=10)[1]
    finally:
        asking.close()


@contextlib.contextmanager
def member(directory: Path, servers: str, who: str, to: str) -> Iterator[psutil.Process]:
    """One process that copies its share of the topic."""
    if who == "connectors":
        common = {"servers": servers, "encoding": "utf-8"}
        group = {"group_id": f"of-{to}", "members": "shared", "start": "earliest"}
        exchange = {
            "dtype": "str",
            "source": {"type": "KafkaConsumerSource", "topic": "full", **common, **group},
            "sink": {"type": "KafkaProducerSink", "topic": to, **common},
        }
        file = directory / f"{to}.json"
        file.write_text(json.dumps({"exchanges": [exchange]}))
        command = ["-m", "queue_connector", "run", str(file)]
    else:
        command = ["-m", "benchmarks.sharing", "--copy", servers, "full", to]
    process = subprocess.Popen(
        [sys.executable, *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield psutil.Process(process.pid)
    finally:
        process.kill()
        process.wait()


def copy(servers: str, topic: str, to: str) -> None:
    """Copy a share of a topic, as little as can be, until killed."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": f"of-{to}",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "partition.assignment.strategy": "cooperative-sticky",
        }
    )
    producer = Producer({"bootstrap.servers": servers, "enable.idempotence": True, "linger.ms": 5})
    consumer.subscribe([topic])
    committed = time.monotonic()
    while True:
        for message in consumer.consume(1000, 0.1):
            if message.error() is None:
                while True:
                    try:
                        producer.produce(to, message.value(), partition=0)
                        break
                    except BufferError:
                        producer.poll(0.01)
        producer.poll(0)
        if time.monotonic() - committed > 1:
            producer.flush()
            consumer.commit(asynchronous=True)
            committed = time.monotonic()


if __name__ == "__main__":
    main()
