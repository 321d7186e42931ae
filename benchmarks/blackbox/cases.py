"""The loads, each as a function that gives the figures of one contender in one run.

A figure is a number by name; the names that `report` compares are ``rate`` (data per second),
``cpu`` (of one processor), ``us`` (µs of processor time for each datum), ``p50``, ``p99`` (ms from
origin to reader), ``rss`` (MiB), ``threads``, ``open`` (s), ``lost`` and ``disordered`` data.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import msgpack
import msgpack_numpy
import numpy as np

from benchmarks.blackbox.processes import (
    Meter,
    Role,
    Running,
    address,
    contender,
    dishes,
    each,
)
from tests.services.kafka import create_topic

Figures = dict[str, float]
POINTING = [["antenna_name", "<U8"], ["ts", "datetime64[ns]"], ["az", "float64"], ["el", "float64"]]


@attrs.frozen
class Place:
    """Where a run takes place."""

    servers: str
    directory: Path
    seconds: float


@attrs.frozen
class Case:
    """A load, and who takes part in it."""

    name: str
    run: Callable[[Place, str], Figures]
    contenders: tuple[str, ...] = ("connector", "bare", "asyncio")
    doc: str = ""


CASES: dict[str, Case] = {}


def case(*contenders: str) -> Callable[[Callable[..., Figures]], Any]:
    """Register a load under the function's name."""

    def register(run: Callable[..., Figures]) -> Callable[..., Figures]:
        name = run.__name__
        doc = (run.__doc__ or "").strip()
        CASES[name] = Case(name, run, contenders or ("connector", "bare", "asyncio"), doc)
        return run

    return register


def topic(place: Place) -> str:
    name = f"bench-{uuid.uuid4().hex[:8]}"
    create_topic(place.servers, name, config={"max.message.bytes": "100000000"})
    return name


def until(condition: Callable[[], bool], timeout: float) -> bool:
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def cost(meter: Meter, count: float) -> Figures:
    read = meter.read()
    return {
        "cpu": read.cpu / read.seconds,
        "us": 1e6 * read.cpu / max(count, 1),
        "threads": read.threads,
        "rss": read.rss,
    }


def lateness(taken: dict[str, Any]) -> Figures:
    return {"p50": 1e3 * taken["p50"], "p99": 1e3 * taken["p99"]}


# -- Tango → Kafka ---------------------------------------------------------------------------------


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


def account(running: Running, pushed: int) -> Figures:
    """Of the connector: what of all that was pushed it has not delivered."""
    if running.connector is None:
        return {}

    def lost() -> int:
        assert running.connector is not None
        ledgers = running.connector.statistics().values()
        return pushed - sum(ledger["delivered"] for ledger in ledgers)

    until(lambda: lost() <= 0, 15.0)
    return {"lost": max(0, lost())}


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


# -- Kafka → Tango ---------------------------------------------------------------------------------


def to_attribute(place: Place, where: str, name: str, dtype: str, shape: list[int]) -> Any:
    return {
        "dtype": dtype,
        "shape": shape,
        "source": {
            "type": "KafkaConsumerSource",
            "servers": place.servers,
            "topic": where,
            "encoding": "carray",
        },
        "sink": {"type": "TangoLocalAttributeSink", "attribute_name": name, "default_value": 0},
    }


def flood(place: Place, who: str, shape: list[int], dtype: str, count: int) -> Figures:
    """So many messages of an array, as fast as they can be written, to one attribute."""
    where = topic(place)
    exchanges = [to_attribute(place, where, "value", dtype, shape)]
    size = int(np.dtype(dtype).itemsize * np.prod(shape))
    with contender(who, place.directory, exchanges) as running, ExitStack() as stack:
        writer = stack.enter_context(Role("writing", place.servers))
        subscriber = stack.enter_context(Role("subscribing", address(running.port), "value"))
        subscriber.do("take")
        meter = Meter(running.pid)
        writer.do("flood", where, count, size)
        seen = [0, time.monotonic()]

        def quiet() -> bool:
            now = subscriber.do("seen")
            if now != seen[0]:
                seen[:] = now, time.monotonic()
            return now >= count or time.monotonic() - seen[1] > 2.0

        until(quiet, 60.0)
        figures = cost(meter, count)
        taken = subscriber.do("take")
    return {
        **figures,
        "rate": taken["count"] / max(taken["seconds"], 1e-9),
        "lost": count - taken["count"],
    }


@case()
def kafka_to_tango(place: Place, who: str) -> Figures:
    """One topic to one attribute with a subscriber, float64[3], 20,000 messages"""
    return flood(place, who, [3], "float64", 20_000)


@case("connector", "bare")
def array_1000(place: Place, who: str) -> Figures:
    """float64[1000] as carray, topic to attribute with a subscriber"""
    return flood(place, who, [1000], "float64", 5_000)


@case("connector", "bare")
def image_4mb(place: Place, who: str) -> Figures:
    """float32[1000, 1000] as carray, topic to attribute with a subscriber"""
    return flood(place, who, [1000, 1000], "float32", 50)


@case("connector")
def burst(place: Place, who: str) -> Figures:
    """One message of 197 structs to 197 attributes, each with a subscriber; ms until the last"""
    where, names = topic(place), [f"SKA{number:03}" for number in range(1, 198)]
    fields = [f"f{number}" for number in range(10)] + ["last_scan_index", "xel", "el"]
    dtype = [("antenna_name", "<U8"), *((field, "float64") for field in fields)]
    value = np.zeros(197, dtype)
    value["antenna_name"] = names
    exchange = {
        "dtype": [list(field) for field in dtype],
        "shape": [-1],
        "source": {
            "type": "KafkaConsumerSource",
            "servers": place.servers,
            "topic": where,
            "encoding": "msgpack_numpy",
        },
        "sink": {
            "type": "TangoObjectScatterAttributeSink",
            "attributes": [
                {
                    "attribute_name": f"offset_{name}",
                    "dtype": "float64",
                    "shape": [3],
                    "path": f"[?antenna_name=='{name}'] | [0].[last_scan_index, xel, el]",
                }
                for name in names
            ],
        },
    }
    message = place.directory / "message"
    message.write_bytes(msgpack.packb(value, default=msgpack_numpy.encode))
    delays, costs = [], []
    with contender(who, place.directory, [exchange]) as running, ExitStack() as stack:
        writer = stack.enter_context(Role("writing", place.servers))
        attributes = [f"offset_{name}" for name in names]
        subscriber = stack.enter_context(Role("subscribing", address(running.port), *attributes))
        for _ in range(5):
            subscriber.do("take")
            meter = Meter(running.pid)
            sent = writer.do("send", where, str(message))
            until(lambda: subscriber.do("seen") >= 197, 10.0)
            costs.append(meter.read().cpu)
            taken = subscriber.do("take")
            delays.append(1e3 * (taken["last"] - sent))
            time.sleep(0.5)
        rest = cost(Meter(running.pid), 1)
    return {
        "burst": float(np.median(delays)),
        "burst_cpu": 1e3 * float(np.median(costs)),
        "threads": rest["threads"],
        "rss": rest["rss"],
    }


# -- Kafka → Kafka ---------------------------------------------------------------------------------


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
def kafka_to_kafka_12mb(place: Place, who: str) -> Figures:
    """12.6 MB, not decoded, 20 messages"""
    return between_topics(place, who, 12_600_000, 20)


# -- many streams ----------------------------------------------------------------------------------


def many(place: Place, count: int) -> Iterator[Any]:
    for number in range(count):
        yield to_attribute(place, topic(place), f"value{number}", "float64", [3])


def streams(place: Place, who: str, count: int) -> Figures:
    """So many exchanges, topic to attribute: what they cost idle, and for each datum."""
    exchanges = list(many(place, count))
    topics = [exchange["source"]["topic"] for exchange in exchanges]
    with contender(who, place.directory, exchanges) as running, ExitStack() as stack:
        writer = stack.enter_context(Role("writing", place.servers))
        time.sleep(2.0)
        meter = Meter(running.pid)
        time.sleep(place.seconds)
        idle = cost(meter, 1)
        meter = Meter(running.pid)
        writer.do("numbers", topics, 1000.0, 3)
        time.sleep(place.seconds)
        written = writer.do("stop")["written"]
        lost = account(running, written)
        busy = meter.read()
    return {
        "idle_cpu": idle["cpu"],
        "threads": idle["threads"],
        "rss": idle["rss"],
        "us": 1e6 * busy.cpu / written,
        "open": running.opened,
        **lost,
    }


def _streams(count: int) -> None:
    def run(place: Place, who: str) -> Figures:
        return streams(place, who, count)

    run.__name__ = f"streams_{count}"
    run.__doc__ = f"{count} exchanges, topic to attribute, idle and with 1,000 messages a second"
    case("connector")(run)


for _count in (1, 20, 100, 300):
    _streams(_count)


# -- latency ---------------------------------------------------------------------------------------


@case("connector", "bare")
def latency_to_tango(place: Place, who: str) -> Figures:
    """200 messages a second, topic to attribute with a subscriber"""
    where = topic(place)
    exchanges = [to_attribute(place, where, "value", "float64", [3])]
    with contender(who, place.directory, exchanges) as running, ExitStack() as stack:
        writer = stack.enter_context(Role("writing", place.servers))
        subscriber = stack.enter_context(Role("subscribing", address(running.port), "value"))
        writer.do("numbers", [where], 200.0, 3)
        time.sleep(1.0)
        subscriber.do("take")
        time.sleep(place.seconds)
        taken = subscriber.do("take")
        writer.do("stop")
    return lateness(taken)


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
