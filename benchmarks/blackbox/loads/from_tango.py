"""Tango → Kafka: dishes at their rate, a flood, and latency."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from benchmarks.blackbox.case import Figures, Place, account, case, cost, lateness, topic, until
from benchmarks.blackbox.processes import Meter, Role, contender, dishes, each

POINTING = [["antenna_name", "<U8"], ["ts", "datetime64[ns]"], ["az", "float64"], ["el", "float64"]]


def subscription(device: str, attribute: str) -> dict[str, Any]:
    return {
        "type": "TangoPointingSubscriptionSource",
        "device_name": device,
        "attribute_name": attribute,
    }


def pointings(
    place: Place, source: Any, sink_topic: str, pipe: dict[str, Any] | None = None
) -> dict[str, Any]:
    sink = {"type": "KafkaProducerSink", "servers": place.servers, "topic": sink_topic}
    exchange = {"dtype": POINTING, "source": source, "sink": {**sink, "encoding": "npy"}}
    return {**exchange, "pipe": pipe} if pipe else exchange


def array(place: Place, who: str, count: int, exchanges_of: Callable[..., Any]) -> Figures:
    """An array of dishes at 10 Hz; every event must come out of its topic."""
    with dishes(count) as (servers, names), ExitStack() as stack:
        exchanges, topics = exchanges_of(place, names)
        reader = stack.enter_context(Role("reading", place.servers))
        running = stack.enter_context(contender(who, place.directory, exchanges, 3 * count))
        time.sleep(2.0)  # what is read at the subscriptions has gone through
        form = "pointings" if who == "connector" else "raw"
        reader.do("open", topics, form)
        each(servers, "start", 10.0)
        time.sleep(2.0)
        reader.do("take")
        meter = Meter(running.pid)
        time.sleep(place.seconds)
        figures = cost(meter, 1)
        taken = reader.do("take")
        figures["us"] = 1e6 * figures["cpu"] * place.seconds / max(1, taken["count"])
        pushed = sum(told["pushed"] for told in each(servers, "stop"))
        return {
            **figures,
            **lateness(taken),
            "rate": taken["count"] / place.seconds,
            "open": running.opened,
            "disordered": taken["disordered"],
            **account(running, pushed),
        }


def merged(place: Place, names: Sequence[str]) -> tuple[Any, list[str]]:
    topics = [topic(place) for _ in range(3)]
    attributes = ("achieved", "desired", "offset")
    exchanges = [
        pointings(place, [subscription(name, attribute) for name in names], where)
        for attribute, where in zip(attributes, topics, strict=True)
    ]
    return exchanges, topics


def separate(place: Place, names: Sequence[str]) -> tuple[Any, list[str]]:
    """An exchange for each subscription; the topics are those of the merged layout."""
    topics = [topic(place) for _ in range(3)]
    attributes = ("achieved", "desired", "offset")
    exchanges = [
        pointings(place, subscription(name, attribute), where)
        for attribute, where in zip(attributes, topics, strict=True)
        for name in names
    ]
    return exchanges, topics


@case("connector", "bare")
def aa4_merged(place: Place, who: str) -> Figures:
    """197 dishes, 2 × 10 Hz and one quiet subscription each, in three exchanges"""
    return array(place, who, 197, merged)


@case("connector")
def aa4_separate(place: Place, who: str) -> Figures:
    """The same, an exchange for each of the 591 subscriptions"""
    return array(place, who, 197, separate)


@case("connector", "bare")
def aa2_merged(place: Place, who: str) -> Figures:
    """64 dishes, 1,280 events a second"""
    return array(place, who, 64, merged)


@case("connector", "bare", "asyncio")
def tango_to_kafka(place: Place, who: str) -> Figures:
    """One subscription, 20,000 events as fast as the device can"""
    count, where = 20_000, topic(place)
    with dishes(1) as ([server], [name]), Role("reading", place.servers) as reader:
        exchanges = [pointings(place, subscription(name, "achieved"), where)]
        with contender(who, place.directory, exchanges, 1) as running:
            time.sleep(1.5)
            reader.do("open", [where], "bytes")
            time.sleep(0.5)
            reader.do("take")
            meter = Meter(running.pid)
            server.do("flood", count)
            until(lambda: reader.do("seen") >= count, 20.0)
            figures = cost(meter, count)
            taken = reader.do("take")
    return {
        **figures,
        "rate": taken["count"] / max(taken["seconds"], 1e-9),
        "lost": count - taken["count"],
    }


@case("connector", "bare")
def latency_to_kafka(place: Place, who: str) -> Figures:
    """200 events a second, ten dishes, to a topic"""
    where = topic(place)
    with dishes(10) as (servers, names), Role("reading", place.servers) as reader:
        exchanges = [pointings(place, [subscription(name, "achieved") for name in names], where)]
        with contender(who, place.directory, exchanges, 10):
            time.sleep(1.5)
            reader.do("open", [where], "pointings" if who == "connector" else "raw")
            each(servers, "start", 10.0)
            time.sleep(1.0)
            reader.do("take")
            time.sleep(place.seconds)
            taken = reader.do("take")
    return lateness(taken)
