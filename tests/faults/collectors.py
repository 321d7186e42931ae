"""What comes out: numbers with the moment at which they did, in the order in which they did."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, KafkaError, TopicPartition

from tests.faults.records import Records
from tests.faults.tally import Arrival

_STRANDED = 8.0  # s without anything new after which another consumer goes on, see `feeders`
_PATIENCE = 20.0  # s for a broker that is well to hand out what it has


class TopicCollector:
    """The numbers in partition 0 of a topic, whose timestamps are the broker's (LogAppendTime)."""

    def __init__(self, servers: str, topic: str) -> None:
        self._servers = servers
        self._topic = topic
        self._consumer: Consumer | None = None
        self._next = 0
        self._heard = 0.0

    def fresh(self) -> list[Arrival]:
        """What has come since the last time; a broker that is away has nothing new."""
        if self._consumer is None or time.monotonic() - self._heard > _STRANDED:
            self.close()
            self._consumer = self._open(self._next)
            self._heard = time.monotonic()
        messages = [m for m in self._consumer.consume(10_000, 0.02) if m.error() is None]
        if messages:
            self._heard = time.monotonic()
            self._next = messages[-1].offset() + 1
        return [_arrival(message) for message in messages]

    def all(self) -> list[Arrival]:
        """The topic read as a whole, from its beginning to what is its end now."""
        consumer = self._open()
        try:
            low, high = consumer.get_watermark_offsets(TopicPartition(self._topic, 0), _PATIENCE)
            arrivals: list[Arrival] = []
            position, deadline = low, time.monotonic() + _PATIENCE
            while position < high:
                assert time.monotonic() < deadline, f"{self._topic}: {high - position} to come"
                for message in consumer.consume(10_000, 0.05):
                    error = message.error()
                    assert error is None or error.code() in _PASSING, error
                    if error is None and message.offset() < high:
                        position = message.offset() + 1
                        arrivals.append(_arrival(message))
            return arrivals
        finally:
            consumer.close()

    def close(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None

    def _open(self, offset: int = 0) -> Consumer:
        consumer = Consumer(
            {
                "bootstrap.servers": self._servers,
                "group.id": "collector",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
                "fetch.queue.backoff.ms": 5,
                "reconnect.backoff.max.ms": 500,
                "auto.offset.reset": "earliest",
                "log_level": 0,
            }
        )
        consumer.assign([TopicPartition(self._topic, 0, offset)])
        return consumer


_PASSING = {KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT}


def _arrival(message: Any) -> Arrival:
    return int(message.value()), message.timestamp()[1] / 1000


class FileCollector:
    """The records of one process, by name: an attribute that was written or subscribed to."""

    def __init__(self, path: Path) -> None:
        self._records = Records(path)
        self._arrivals: dict[str, list[Arrival]] = defaultdict(list)
        self._errors: dict[str, Counter[str]] = defaultdict(Counter)

    def fresh(self, name: str) -> list[Arrival]:
        """What has come under a name since the last time."""
        self._read()
        return self._arrivals.pop(name, [])

    def errors(self, name: str) -> Counter[str]:
        """How many error events of each reason."""
        self._read()
        return self._errors[name]

    def _read(self) -> None:
        for record in self._records.read():
            if record.value.startswith("!"):
                self._errors[record.name][record.value[1:]] += 1
            elif record.value != "-":
                self._arrivals[record.name].append((int(record.value), record.time))
