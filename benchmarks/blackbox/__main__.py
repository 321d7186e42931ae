"""``python -m benchmarks.blackbox [--runs 5] [--seconds 10] [CASE ...]``: see the package."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import tempfile
from pathlib import Path

from benchmarks.blackbox.cases import CASES, Place
from benchmarks.blackbox.report import save, table
from tests.services.kafka import KafkaServer


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", metavar="CASE", help=", ".join(CASES))
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--only", help="one contender")
    arguments = parser.parse_args()
    wanted = arguments.cases or list(CASES)
    if unknown := [name for name in wanted if name not in CASES]:
        parser.error(f"no such case: {', '.join(unknown)}; there are {', '.join(CASES)}")
    with contextlib.ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        kafka = stack.enter_context(KafkaServer(directory / "kafka"))
        for name in wanted:
            case = CASES[name]
            runs: dict[str, list[dict[str, float]]] = {who: [] for who in case.contenders}
            for number in range(arguments.runs):
                for who in case.contenders:
                    if arguments.only in (None, who):
                        place = directory / f"{name}-{number}-{who}"
                        place.mkdir()
                        run = Place(kafka.bootstrap_servers, place, arguments.seconds)
                        runs[who].append(case.run(run, who))
                        figures = {key: round(value, 3) for key, value in runs[who][-1].items()}
                        print(f"{name} {who}: {figures}", file=sys.stderr, flush=True)
            save({name: runs})
            print(table({name: runs}, {name: case.doc}), end="\n\n", flush=True)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
