"""What it costs a stream to be looked at: by nobody, by ``tap``, and by an open status page.

``python -m benchmarks.watching [--seconds 2] [--rounds 3]``: a device copies a topic to another one
on a real Kafka as fast as it can, while the three take turns. What a round delivers is set against
the round by nobody before it; the medians of those ratios are printed.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx

from benchmarks.sharing import fill
from tests.device.connector import connector
from tests.device.servers import free_port
from tests.services.kafka import KafkaServer, create_topic

MESSAGES = 8_000_000
LOOKS = ("nobody", "tap at the source", "tap at the sink", "an open page")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory(prefix="watching-") as name,
        KafkaServer(Path(name) / "kafka") as kafka,
    ):
        servers = kafka.bootstrap_servers
        create_topic(servers, "full", 12)
        create_topic(servers, "copy")
        fill(servers, MESSAGES)
        ratios = measure(Path(name), servers, options.rounds, options.seconds)
    print("| looked at by | throughput, of that by nobody |\n|---|---:|")
    for look, found in ratios.items():
        print(f"| {look} | {statistics.median(found):.3f} |")


def measure(directory: Path, servers: str, rounds: int, seconds: float) -> dict[str, list[float]]:
    common = {"servers": servers, "encoding": "utf-8"}
    exchange = {
        "dtype": "str",
        "source": {"type": "KafkaConsumerSource", "topic": "full", "start": "earliest", **common},
        "sink": {"type": "KafkaProducerSink", "topic": "copy", **common},
    }
    port = free_port()
    ratios: dict[str, list[float]] = {look: [] for look in LOOKS[1:]}
    options = ["--metrics-port", str(port)]
    with connector(directory, {"exchanges": [exchange]}, options=options) as running:
        proxy = running.proxy()

        def delivered() -> int:
            return int(json.loads(proxy.statistics)["default[0]"]["delivered"])

        def rate(look: str) -> float:
            with looking(look, running.device_name, port):
                time.sleep(0.5)
                began, before = time.monotonic(), delivered()
                time.sleep(seconds)
                return (delivered() - before) / (time.monotonic() - began)

        while not delivered():
            time.sleep(0.1)
        for number in range(rounds):
            for look in LOOKS[1:]:
                alone = rate("nobody")
                if not alone:
                    raise SystemExit(f"all data are delivered after {number} rounds: take fewer")
                ratios[look].append(rate(look) / alone)
    return ratios


@contextlib.contextmanager
def looking(look: str, device: str, port: int) -> Iterator[None]:
    """Somebody looks, in a thread: what counts is what the device does for it."""
    over = threading.Event()

    def tap() -> None:
        import tango

        proxy, after = tango.DeviceProxy(device), 0
        while not over.wait(0.3):
            where = look.rpartition(" ")[2]
            request = {"exchange": "default[0]", "where": where, "after": after}
            after = json.loads(proxy.Tap(json.dumps(request)))["passed"]

    def page() -> None:
        url = f"http://127.0.0.1:{port}/events"
        with httpx.stream("GET", url, trust_env=False, timeout=30) as events:
            for _ in events.iter_lines():
                if over.is_set():
                    return

    functions = {"nobody": over.wait, "an open page": page}
    thread = threading.Thread(target=functions.get(look, tap))
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
