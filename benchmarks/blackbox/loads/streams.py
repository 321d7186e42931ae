"""Many exchanges: what they cost idle, and for each datum."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

from benchmarks.blackbox.case import Figures, Place, account, case, cost, topic
from benchmarks.blackbox.loads.to_tango import to_attribute
from benchmarks.blackbox.processes import Meter, Role, contender


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
