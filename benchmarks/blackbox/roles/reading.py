"""Reads topics and tells what came, how late, and whether it was in order: ``python -m … SERVERS``.

What is in a message is told by *form*:

* ``pointings``  an npy array of structs, or one of them: ts is the moment of origin, az counts up
* ``raw``        what `bare` sends of a pointing: t, az, el
* ``numbers``    a carray of float64: the Unix time of origin first, a number that counts up second
* ``bytes``      nothing is looked at
"""

from __future__ import annotations

import io
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from confluent_kafka import Consumer, TopicPartition

from benchmarks.blackbox.roles.dishes import LEAPS, TAI_2000
from benchmarks.blackbox.roles.talk import listen, spread

TAI_UTC = 37.0  # s

Datum = tuple[Any, float, float]
"""Which stream, Unix time of origin, a number that counts up."""


def pointings(payload: bytes) -> list[Datum]:
    array = np.atleast_1d(np.load(io.BytesIO(payload), allow_pickle=False))
    times = array["ts"].astype("datetime64[us]").astype(np.int64) / 1e6 - TAI_UTC
    return list(
        zip(array["antenna_name"].tolist(), times.tolist(), array["az"].tolist(), strict=True)
    )


def raw(payload: bytes) -> list[Datum]:
    when, az, _el = np.frombuffer(payload, np.float64, 3).tolist()
    return [("", when + TAI_2000 - LEAPS, az)]


def numbers(payload: bytes) -> list[Datum]:
    when, number = np.frombuffer(payload, np.float64, 2)
    return [("", float(when), float(number))]


FORMS: dict[str, Callable[[bytes], list[Datum]]] = {
    "pointings": pointings,
    "raw": raw,
    "numbers": numbers,
    "bytes": lambda _payload: [("", 0.0, 0.0)],
}


class Reader:
    """Reads in a thread of its own, from the end of each topic."""

    def __init__(self, servers: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "benchmark",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 20,
                "fetch.queue.backoff.ms": 2,
            }
        )
        self._lock = threading.Lock()
        self._clear()

    def _clear(self) -> None:
        self.count = self.messages = self.disordered = 0
        self.first = self.last = 0.0
        self.delays: list[float] = []
        self.latest: dict[Any, float] = {}

    def open(self, topics: Sequence[str], form: str) -> None:
        places = []
        for topic in topics:
            for number in self._consumer.list_topics(topic, 10).topics[topic].partitions:
                _, end = self._consumer.get_watermark_offsets(TopicPartition(topic, number), 10)
                places.append(TopicPartition(topic, number, end))
        self._consumer.assign(places)
        self._form = FORMS[form]
        threading.Thread(target=self._run, daemon=True).start()

    def take(self) -> dict[str, Any]:
        """What has come since the last time."""
        with self._lock:
            found = {
                "count": self.count,
                "messages": self.messages,
                "disordered": self.disordered,
                "seconds": self.last - self.first,
                **spread(self.delays),
            }
            self._clear()
        return found

    def seen(self) -> int:
        return self.count

    def _run(self) -> None:
        while True:
            messages = self._consumer.consume(1000, 0.02)
            now = time.time()
            with self._lock:
                for message in messages:
                    if message.error() is None:
                        self._add(message, now)

    def _add(self, message: Any, now: float) -> None:
        self.messages += 1
        self.first = self.first or now
        self.last = now
        for which, when, number in self._form(message.value()):
            self.count += 1
            key = (message.topic(), message.key(), which)
            if number <= self.latest.get(key, -1.0):
                self.disordered += 1
            self.latest[key] = number
            self.delays.append(now - when)


def main() -> None:
    reader = Reader(sys.argv[1])
    listen({"open": reader.open, "take": reader.take, "seen": reader.seen})


if __name__ == "__main__":
    main()
