"""``python -m benchmarks.blackbox [--runs 5] [--seconds 10] [CASE ...]``: see the package."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import benchmarks.blackbox.loads  # noqa: F401  registers the cases
from benchmarks.blackbox.case import CASES, Case, Figures, Place
from benchmarks.blackbox.page import about, write
from benchmarks.blackbox.report import load, save, table
from queue_connector.demo.embedded_broker import embedded_broker
from tests.services.kafka import KafkaServer

EMBEDDED = ("tango_to_kafka", "kafka_to_tango", "latency_to_tango", "latency_to_kafka")
"""Loads that the embedded broker is measured with too: it keeps no more than 5 MiB."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", help="one contender")
    parser.add_argument("--embedded", action="store_true", help="on the embedded broker")
    parser.add_argument("--docs", action="store_true", help="write the page of the documentation")
    arguments = parser.parse_args()
    wanted = arguments.cases or list(EMBEDDED if arguments.embedded else CASES)
    if unknown := [name for name in wanted if name not in CASES]:
        parser.error(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        directory = Path(name)
        with broker(directory, arguments.embedded) as servers:
            for case in (CASES[name] for name in wanted):
                place = Place(servers, directory, arguments.seconds, arguments.embedded)
                runs = measure(case, place, arguments.runs, arguments.only)
                name = f"embedded broker: {case.name}" if arguments.embedded else case.name
                save({name: runs})
                print(table({name: runs}, {name: case.doc}), end="\n\n", flush=True)
    if arguments.docs:
        write({"about": about(arguments.runs, arguments.seconds), "figures": load()})


@contextlib.contextmanager
def broker(directory: Path, embedded: bool) -> Iterator[str]:
    if embedded:
        with embedded_broker() as servers:
            yield servers
    else:
        with KafkaServer(directory / "kafka") as kafka:
            yield kafka.bootstrap_servers


def measure(case: Case, place: Place, count: int, only: str | None) -> dict[str, list[Figures]]:
    """The figures of each contender in each run; they take turns."""
    runs: dict[str, list[Figures]] = {who: [] for who in case.contenders}
    for number in range(count):
        for who in case.contenders:
            if only in (None, who):
                directory = place.directory / f"{case.name}-{number}-{who}"
                directory.mkdir()
                run = Place(place.servers, directory, place.seconds, place.embedded)
                runs[who].append(case.run(run, who))
                figures = {key: round(value, 3) for key, value in runs[who][-1].items()}
                print(f"{case.name} {who}: {figures}", file=sys.stderr, flush=True)
    return runs


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
