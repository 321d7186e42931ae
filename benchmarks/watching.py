"""What it costs a device to be looked at: by nobody, by ``tap``, and by an open status page.

``python -m benchmarks.watching [--seconds 1.5] [--rounds 5]``, on a real Kafka, under two loads:
one exchange that copies a topic to another one as fast as it can, and the largest array, 591
exchanges at 3,940 events a second. Compared is the processor time of the device for each datum
delivered, which bounds its throughput, and tells less of what else the machine does. A round has
nobody look, then somebody twice, then nobody again, so that what drifts is in both; where
"somebody" is nobody too, the figures show what chance makes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from benchmarks.blackbox.case import Place
from benchmarks.blackbox.loads.from_tango import separate
from benchmarks.blackbox.processes import Connector, Meter, address, dishes, each
from benchmarks.sharing import fill
from tests.services.kafka import KafkaServer, create_topic
from tests.services.process import free_port

MESSAGES = 30_000_000
NOBODY = "nobody"
LOOKS = (NOBODY, "a tap at its source and one at its sink", "an open page")
SETTLING = 0.5
"""Seconds from the beginning of a look to the measurement."""

Ratios = dict[str, list[float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="watching-") as name,
        KafkaServer(Path(name) / "kafka") as kafka,
    ):
        place = Place(kafka.bootstrap_servers, Path(name), options.seconds)
        found = {load.__doc__: load(place, options.rounds) for load in (full_speed, largest_array)}
    for doc, ratios in found.items():
        print(f"\n{doc}\n\n| looked at by | processor time a datum, of that by nobody | rounds |")
        print("|---|---:|---|")
        for look, found_ratios in ratios.items():
            rounds = ", ".join(f"{ratio:.3f}" for ratio in sorted(found_ratios))
            print(f"| {look} | {statistics.median(found_ratios):.3f} | {rounds} |")


def full_speed(place: Place, rounds: int) -> Ratios:
    """One exchange, from topic to topic as fast as it can"""
    create_topic(place.servers, "full", 12)
    create_topic(place.servers, "copy")
    fill(place.servers, MESSAGES)
    common = {"servers": place.servers, "encoding": "utf-8"}
    exchange = {
        "dtype": "str",
        "source": {"type": "KafkaConsumerSource", "topic": "full", "start": "earliest", **common},
        "sink": {"type": "KafkaProducerSink", "topic": "copy", **common},
    }
    return measure(place, rounds, [exchange], lambda: None)


def largest_array(place: Place, rounds: int) -> Ratios:
    """197 dishes: 591 exchanges, 3,940 events a second"""
    with dishes(197) as (servers, names):
        exchanges, _ = separate(place, names)
        return measure(place, rounds, exchanges, lambda: each(servers, "start", 10.0))


def measure(place: Place, rounds: int, exchanges: list[Any], begin: Callable[[], object]) -> Ratios:
    config, port, page = place.directory / "watched.json", free_port(), free_port()
    config.write_text(json.dumps({"exchanges": exchanges}))
    ratios: Ratios = {look: [] for look in LOOKS}
    with Connector(config, port, "--metrics-port", str(page)) as running:
        running.wait_open()
        begin()

        def delivered() -> int:
            return sum(ledger["delivered"] for ledger in running.statistics().values())

        def cost(look: str) -> float:
            with looking(look, address(port), page):
                time.sleep(SETTLING)
                before, meter = delivered(), Meter(running.pid)
                time.sleep(place.seconds)
                spent = meter.read().cpu
                if not (count := delivered() - before):
                    raise SystemExit("all data are delivered: take fewer rounds")
                return spent / count

        running.wait_settled(1)
        for _ in range(rounds):
            for look in LOOKS:
                first, *both, last = map(cost, (NOBODY, look, look, NOBODY))
                ratios[look].append(sum(both) / (first + last))
    return ratios


@contextlib.contextmanager
def looking(look: str, device: str, port: int) -> Iterator[None]:
    """Somebody looks, in threads: what counts is what the device does for them."""
    over = threading.Event()

    def tap(where: str) -> None:
        import tango

        proxy, after = tango.DeviceProxy(device), 0
        while not over.wait(0.3):
            request = {"exchange": "default[0]", "where": where, "after": after}
            after = json.loads(proxy.Tap(json.dumps(request)))["passed"]

    def page() -> None:
        url = f"http://127.0.0.1:{port}/events"
        with httpx.stream("GET", url, trust_env=False, timeout=30) as events:
            for _ in events.iter_lines():
                if over.is_set():
                    return

    with ExitStack() as stack:
        for where in ("source", "sink"):
            if where in look:
                stack.enter_context(thread(lambda where=where: tap(where)))
        if "page" in look:
            stack.enter_context(thread(page))
        stack.callback(over.set)
        yield


@contextlib.contextmanager
def thread(function: Callable[[], None]) -> Iterator[None]:
    running = threading.Thread(target=function)
    running.start()
    try:
        yield
    finally:
        running.join()


if __name__ == "__main__":
    main()
