"""Kafka → Kafka: small and large messages that are not decoded."""

from __future__ import annotations

import time
from contextlib import ExitStack

from benchmarks.blackbox.case import Figures, Place, case, cost, topic, until
from benchmarks.blackbox.processes import Meter, Role, contender


def between_topics(place: Place, who: str, size: int, count: int) -> Figures:
    where, there = topic(place), topic(place)
    ends = {"servers": place.servers, "encoding": "raw"}
    exchanges = [
        {
            "dtype": "bytes",
            "source": {"type": "KafkaConsumerSource", "topic": where, **ends},
            "sink": {
                "type": "KafkaProducerSink",
                "topic": there,
                "message_max_bytes": 90_000_000,
                **ends,
            },
        }
    ]
    with contender(who, place.directory, exchanges) as running, ExitStack() as stack:
        writer = stack.enter_context(Role("writing", place.servers))
        reader = stack.enter_context(Role("reading", place.servers))
        reader.do("open", [there], "bytes")
        time.sleep(0.5)
        idle = cost(Meter(running.pid), 1)["rss"]
        meter = Meter(running.pid)
        writer.do("flood", where, count, size)
        until(lambda: reader.do("seen") >= count, 60.0)
        figures = cost(meter, count)
        taken = reader.do("take")
    return {
        **figures,
        "rate": taken["count"] / max(taken["seconds"], 1e-9),
        "lost": count - taken["count"],
        "rss_beyond_idle": figures["rss"] - idle,
    }


@case()
def kafka_to_kafka(place: Place, who: str) -> Figures:
    """100 bytes, not decoded, 300,000 messages"""
    return between_topics(place, who, 100, 300_000)


@case("connector", "bare")
def kafka_to_kafka_52mb(place: Place, who: str) -> Figures:
    """51.6 MB, not decoded, 5 messages"""
    return between_topics(place, who, 51_600_000, 5)


@case("connector", "bare")
def kafka_to_kafka_12mb(place: Place, who: str) -> Figures:
    """12.6 MB, not decoded, 20 messages"""
    return between_topics(place, who, 12_600_000, 20)
