"""Kafka → Tango: floods, large values, one message to many attributes, encodings, latency."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import Any

import msgpack
import msgpack_numpy
import numpy as np

from benchmarks.blackbox.case import Figures, Place, case, cost, lateness, topic, until
from benchmarks.blackbox.processes import Meter, Role, address, contender
from queue_connector.codecs import codecs
from queue_connector.model.datatypes import DataSpec


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


# -- one message to many attributes ----------------------------------------------------------------


def repeated(place: Place, exchange: Any, message: bytes, count: int, attribute: str) -> Figures:
    """A message so many times, to an exchange; one attribute has a subscriber."""
    file = place.directory / "message"
    file.write_bytes(message)
    with contender("connector", place.directory, [exchange]) as running, ExitStack() as stack:
        writer = stack.enter_context(Role("writing", place.servers))
        subscriber = stack.enter_context(Role("subscribing", address(running.port), attribute))
        subscriber.do("take")
        meter = Meter(running.pid)
        writer.do("repeat", exchange["source"]["topic"], str(file), count)
        until(lambda: subscriber.do("seen") >= count, 60.0)
        figures = cost(meter, count)
        taken = subscriber.do("take")
    rate = taken["count"] / max(taken["seconds"], 1e-9)
    return {**figures, "rate": rate, "lost": count - taken["count"]}


@case("connector")
def object_9(place: Place, who: str) -> Figures:
    """A JSON object to nine scalar attributes, 3,000 messages"""
    names = [f"f{number}" for number in range(9)]
    exchange = {
        "dtype": "object",
        "source": {
            "type": "KafkaConsumerSource",
            "servers": place.servers,
            "topic": topic(place),
            "encoding": "json",
        },
        "sink": {
            "type": "TangoObjectScatterAttributeSink",
            "attributes": [{"attribute_name": n, "dtype": "float64", "path": n} for n in names],
        },
    }
    message = json.dumps(dict.fromkeys(names, 1.5)).encode()
    return repeated(place, exchange, message, 3000, names[0])


def attributes(place: Place, number: int) -> Figures:
    """One array to so many attributes: processor time for each value of an attribute."""
    names = [f"part{place}" for place in range(number)]
    exchange = to_attribute(place, topic(place), "", "float64", [number])
    exchange["sink"] = {"type": "TangoArrayScatterAttributeSink", "attribute_names": names}
    count = max(20, 20_000 // number)
    figures = repeated(place, exchange, np.ones(number).tobytes(), count, names[0])
    return {**figures, "us": figures["us"] / number, "rate": figures["rate"] * number}


def _attributes(number: int) -> None:
    def run(place: Place, who: str) -> Figures:
        return attributes(place, number)

    run.__name__ = f"attributes_{number}"
    run.__doc__ = f"float64[{number}] to as many attributes, for each value"
    case("connector")(run)


for _number in (1, 10, 100, 1000):
    _attributes(_number)


# -- encodings -------------------------------------------------------------------------------------


def _encoding(name: str) -> None:
    def run(place: Place, who: str) -> Figures:
        exchange = to_attribute(place, topic(place), "value", "float64", [1000])
        exchange["source"]["encoding"] = name
        spec = DataSpec("float64", [1000])
        message = codecs.lookup(name)().encode(np.linspace(0, 1, 1000), spec)
        return repeated(place, exchange, message, 500, "value")

    run.__name__ = f"encoding_{name}"
    run.__doc__ = f"float64[1000] as {name}, topic to attribute with a subscriber, 500 messages"
    case("connector")(run)


for _name in ("carray", "npy", "msgpack_numpy", "json", "python"):
    _encoding(_name)
