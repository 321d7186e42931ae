"""What goes in: consecutive numbers, each with the moment when it was handed over.

`KafkaFeeder` and `TangoFeeder` have the same face: ``start``, ``pause``, and ``handed`` with all
the numbers that ever were.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from confluent_kafka import KafkaError, Producer

from tests.faults.processes import SourceProcess
from tests.faults.records import Records
from tests.faults.tally import Handed

STRANDED = 20.0
"""Seconds without an acknowledgement after which a producer is replaced: librdkafka's may never
connect again once a broker that was starting has answered (its issue 5301). What waits to be sent
again is then written twice, which would be taken for the connector's doing: it is longer than a
busy machine takes to have another leader."""

FLUSH = 60.0
"""Seconds in which a broker that is well must acknowledge what waits."""


class KafkaFeeder:
    """Writes numbers to a topic at a rate in 1/s, in a thread of its own."""

    def __init__(self, servers: str, topic: str, rate: float) -> None:
        self.handed = Handed()
        self.failed: dict[int, str] = {}
        self.partitions = 1
        self.rate = rate
        self._servers = servers
        self._topic = topic
        self._thread: threading.Thread | None = None
        self._paused = threading.Event()
        self._producer = self._connect()
        self._heard = time.monotonic()
        self._purged: list[int] = []

    def _connect(self) -> Producer:
        return Producer(
            {
                "bootstrap.servers": self._servers,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 5,
                "message.timeout.ms": 0,
                "message.max.bytes": 64 * 2**20,
                "queue.buffering.max.messages": 1_000_000,
                "reconnect.backoff.max.ms": 500,
                "log_level": 0,
            }
        )

    def start(self) -> None:
        """Go on, with a new thread."""
        assert self._thread is None, "it runs already"
        self._paused.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def pause(self, flush: bool = True) -> None:
        """Hand over nothing more, and wait until what was handed over is acknowledged."""
        if self._thread is not None:
            self._paused.set()
            self._thread.join()
            self._thread = None
        if flush:
            deadline = time.monotonic() + FLUSH
            while (left := len(self._producer)) and time.monotonic() < deadline:
                self._producer.poll(0.1)
                self._replace_if_stranded()
            assert left == 0, f"{left} messages were not acknowledged within {FLUSH:g} s"

    def reconnect(self) -> None:
        """Begin anew with a topic that was made anew."""
        self._producer = self._connect()

    def close(self) -> None:
        """End without waiting for a broker that may be gone."""
        self.pause(flush=False)
        self._producer.purge()
        self._producer.flush(1.0)

    def put(self, *payloads: Any, headers: Any = None) -> None:
        """Write these payloads to partition 0 beside the numbers."""
        for payload in payloads:
            self._producer.produce(self._topic, payload, partition=0, headers=headers)

    def give(self, count: int) -> None:
        """Hand over the next *count* numbers at once."""
        for _ in range(count):
            self._put_next()

    def _put_next(self) -> None:
        number = self.handed.next
        self.handed.add(time.time(), number % self.partitions)
        self._put(number)
        self._producer.poll(0)
        self._replace_if_stranded()

    def _put(self, number: int) -> None:
        self._producer.produce(
            self._topic,
            b"%d" % number,
            partition=self.handed.partition(number),
            on_delivery=lambda error, _: self._told(number, error),
        )

    def _replace_if_stranded(self) -> None:
        """Send what was never on its way with another producer, in the same order."""
        if not len(self._producer):
            self._heard = time.monotonic()
        if time.monotonic() - self._heard < STRANDED:
            return
        self._producer.purge(in_flight=False)
        for _ in range(10):
            self._producer.poll(0.1)
        if not len(self._producer):  # else some may arrive yet, and would do so twice
            self._producer = self._connect()
        purged, self._purged = sorted(self._purged), []
        for number in purged:
            self._put(number)
        self._heard = time.monotonic()

    def _run(self) -> None:
        began, first = time.monotonic(), self.handed.next
        while not self._paused.is_set():
            self._put_next()
            due = began + (self.handed.next - first) / self.rate
            while not self._paused.is_set() and (early := due - time.monotonic()) > 0:
                self._producer.poll(early)  # returns sooner when there are reports

    def _told(self, number: int, error: Any) -> None:
        if error is None:
            self._heard = time.monotonic()
            self.handed.acknowledge(number)
        elif error.code() == KafkaError._PURGE_QUEUE:
            self._purged.append(number)
        else:
            self.failed[number] = str(error)


class TangoFeeder:
    """Has the source device push numbers at a rate in 1/s."""

    def __init__(self, process: SourceProcess, rate: float) -> None:
        self.rate = rate
        self._process = process
        self._records = Records(process.file)
        self._handed = Handed()

    @property
    def handed(self) -> Handed:
        for record in self._records.read():
            assert int(record.value) == self._handed.next
            self._handed.add(record.time, acknowledged=True)
        return self._handed

    def start(self) -> None:
        """Go on with the first number that was not pushed, also after the device was restarted."""
        self._process.proxy().Feed([self.handed.next, self.rate])

    def flood(self, count: int) -> None:
        """Push *count* numbers as fast as the device can; returns before that."""
        self._process.proxy().Feed([self.handed.next, 0, count])

    def pause(self) -> None:
        """Push nothing more."""
        if self._process.running:
            self._process.proxy().Halt()

    def close(self) -> None:
        """Nothing: it ends with its process."""
