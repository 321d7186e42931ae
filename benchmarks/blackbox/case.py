"""The loads, each as a function that gives the figures of one contender in one run.

A figure is a number by name; the names that `report` compares are ``rate`` (data per second),
``cpu`` (of one processor), ``us`` (µs of processor time for each datum), ``p50``, ``p99`` (ms from
origin to reader), ``rss`` (MiB), ``threads``, ``open`` (s), ``lost`` and ``disordered`` data.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
from confluent_kafka import Producer

from benchmarks.blackbox.processes import Meter, Running
from tests.services.kafka import create_topic

Figures = dict[str, float]


@attrs.frozen
class Place:
    """Where a run takes place."""

    servers: str
    directory: Path
    seconds: float
    embedded: bool = False
    """Whether the broker is the embedded one, which makes topics by itself."""


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
    if place.embedded:
        Producer({"bootstrap.servers": place.servers}).list_topics(name, 10)
        return name
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
