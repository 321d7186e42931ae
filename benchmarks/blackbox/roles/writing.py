"""Writes topics: ``python -m … SERVERS``.

``numbers`` writes a carray of *width* float64 at a rate to topics in turn, the Unix time first and
a number that counts up second; ``flood`` writes the same payload as often as it is told.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from confluent_kafka import Producer

from benchmarks.blackbox.roles.talk import listen


class Writer:
    """Numbers are written in a thread of its own."""

    def __init__(self, servers: str) -> None:
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "acks": "all",
                "linger.ms": 0,
                "message.max.bytes": 100_000_000,
                "queue.buffering.max.messages": 1_000_000,
                "queue.buffering.max.kbytes": 1_000_000,
            }
        )
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._written = 0

    def numbers(self, topics: Sequence[str], rate: float, width: int) -> None:
        self._ended.clear()
        self._written = 0
        self._thread = threading.Thread(target=self._run, args=(topics, rate, width))
        self._thread.start()

    def stop(self) -> dict[str, Any]:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        self._producer.flush(30)
        return {"written": self._written}

    def flood(self, topic: str, count: int, size: int) -> float:
        """*count* messages of *size* bytes; the seconds until the last was acknowledged."""
        payload, began = bytes(size), time.monotonic()
        for _ in range(count):
            self._produce(topic, payload)
        self._producer.flush(120)
        return time.monotonic() - began

    def send(self, topic: str, path: str) -> float:
        """What stands in a file, as one message; the Unix time."""
        with open(path, "rb") as file:
            payload = file.read()
        when = time.time()
        self._produce(topic, payload)
        self._producer.flush(30)
        return when

    def repeat(self, topic: str, path: str, count: int) -> None:
        """What stands in a file, as so many messages."""
        with open(path, "rb") as file:
            payload = file.read()
        for _ in range(count):
            self._produce(topic, payload)
        self._producer.flush(120)

    def _produce(self, topic: str, payload: bytes) -> None:
        while True:
            try:
                self._producer.produce(topic, payload)
                self._producer.poll(0)
                return
            except BufferError:
                self._producer.poll(0.01)

    def _run(self, topics: Sequence[str], rate: float, width: int) -> None:
        began, value = time.monotonic(), np.zeros(width)
        counts = dict.fromkeys(topics, 0)
        while not self._ended.is_set():
            topic = topics[self._written % len(topics)]
            counts[topic] += 1
            value[:2] = time.time(), counts[topic]
            self._produce(topic, value.tobytes())
            self._written += 1
            if (early := began + self._written / rate - time.monotonic()) > 0:
                time.sleep(early)


def main() -> None:
    writer = Writer(sys.argv[1])
    names = ("numbers", "stop", "flood", "send", "repeat")
    listen({name: getattr(writer, name) for name in names})


if __name__ == "__main__":
    main()
