"""A small pipeline: pointings from topics, offsets to topics; it knows nothing of Tango.

* run       ``python -m queue_connector.demo.pipeline --servers HOST:PORT --dishes N``
* input     the line ``start`` lets it read, from the beginning of every topic; ``stop``, or the end
  of stdin, lets it end once all that it wrote is acknowledged
* output    JSON lines: ``{"ready": true}`` once the topics are known; then the counts of what was
  read, written (acknowledged) and failed, with the latest pointing, by dish; the last line of
  all has the final counts
* wire      pointings are ``carray``, 24 bytes; offsets ``msgpack_numpy``; both float64[3]
"""

from __future__ import annotations

import argparse
import json
import math
import os
import select
import sys
import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs
import msgpack
import msgpack_numpy
import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, Producer, TopicPartition

from .routes import Dish, first_dishes

TIMEOUT = 10.0  # s, for the broker to tell of a topic, and to acknowledge at the end
REPORT_INTERVAL = 0.2  # s between two reports
SCAN = 20.0  # s of pointings that make a scan
SMOOTHING = 0.1  # the weight of the latest pointing in the smoothed one


@attrs.define
class Calibration:
    """How far one dish is from where it should be: free of physics, but not constant."""

    smoothed: np.ndarray | None = None
    since: float = 0.0

    def offset(self, pointing: np.ndarray) -> np.ndarray:
        """``[last_scan_index, xel_offset, el_offset]``, from the time, azimuth and elevation."""
        when, azimuth, elevation = map(float, pointing)
        if self.smoothed is None:
            self.smoothed, self.since = pointing[1:].copy(), when
        self.smoothed += SMOOTHING * (pointing[1:] - self.smoothed)
        cross = (azimuth - self.smoothed[0]) * math.cos(math.radians(elevation))
        return np.array([(when - self.since) // SCAN, cross, elevation - self.smoothed[1]])


@attrs.define
class Flow:
    """One dish in the pipeline: its counts, its latest pointing and its calibration."""

    dish: Dish
    read: int = 0
    written: int = 0
    failed: int = 0
    pointing: list[float] = attrs.field(factory=list)
    calibration: Calibration = attrs.field(factory=Calibration)

    def as_dict(self) -> dict[str, Any]:
        """The counts and the latest pointing."""
        return {
            "read": self.read,
            "written": self.written,
            "failed": self.failed,
            "pointing": self.pointing,
        }


class Pipeline:
    """Reads, computes and writes in one thread."""

    def __init__(self, servers: str, dishes: Sequence[Dish]) -> None:
        self.flows = {dish.pointings_topic: Flow(dish) for dish in dishes}
        self._producer = Producer(
            {
                "bootstrap.servers": servers,
                "acks": "all",
                "enable.idempotence": True,
                "linger.ms": 0,
            }
        )
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": "demo-pipeline",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 10,
                "fetch.queue.backoff.ms": 10,
            }
        )
        self._consumer.assign(
            [
                TopicPartition(topic, partition, OFFSET_BEGINNING)
                for topic in self.flows
                for partition in self._partitions(topic)
            ]
        )

    def _partitions(self, topic: str) -> list[int]:
        return sorted(self._consumer.list_topics(topic, timeout=TIMEOUT).topics[topic].partitions)

    def turn(self, seconds: float) -> None:
        """Take what is there, at the latest after *seconds*, and send what follows from it."""
        for message in self._consumer.consume(500, seconds):
            if message.error() is not None:
                print(f"pipeline: {message.error()}", file=sys.stderr, flush=True)
                continue
            flow = self.flows[message.topic() or ""]
            flow.read += 1
            pointing = np.frombuffer(message.value() or b"")
            flow.pointing = pointing.tolist()
            offset = flow.calibration.offset(pointing)
            self._producer.produce(
                flow.dish.offsets_topic,
                msgpack.packb(offset, default=msgpack_numpy.encode),
                partition=0,  # one, so that their order is kept
                on_delivery=partial(_reported, flow),
            )
        self._producer.poll(0)

    def close(self) -> None:
        """Wait for what was sent to be acknowledged."""
        self._consumer.close()
        self._producer.flush(TIMEOUT)


def _reported(flow: Flow, error: Any, _message: Any) -> None:
    if error is None:
        flow.written += 1
    else:
        flow.failed += 1
        print(f"pipeline: {error}", file=sys.stderr, flush=True)


def _heard(seconds: float) -> str | None:
    """What stdin says within *seconds*; None for nothing."""
    readable, _, _ = select.select([0], [], [], seconds)
    return (os.read(0, 4096).decode() or "stop\n") if readable else None


def _tell(message: dict[str, Any]) -> None:
    print(json.dumps(message), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run until told to stop."""
    parser = argparse.ArgumentParser(prog="python -m queue_connector.demo.pipeline")
    parser.add_argument("--servers", required=True, metavar="HOST:PORT")
    parser.add_argument("--dishes", type=int, required=True, metavar="N")
    options = parser.parse_args(arguments)
    pipeline = Pipeline(options.servers, first_dishes(options.dishes))

    def counts() -> dict[str, Any]:
        return {flow.dish.name: flow.as_dict() for flow in pipeline.flows.values()}

    _tell({"ready": True})
    heard = ""
    while "start\n" not in heard and "stop\n" not in heard:
        heard += _heard(3600.0) or ""
    told, due = counts(), 0.0
    while "stop\n" not in heard:
        pipeline.turn(0.05)
        heard += _heard(0) or ""
        if time.monotonic() >= due and (now := counts()) != told:
            _tell(now)
            told, due = now, time.monotonic() + REPORT_INTERVAL
    pipeline.close()
    _tell(counts())
    return 0


if __name__ == "__main__":
    sys.exit(main())
