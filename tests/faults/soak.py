"""A long run: one connector, four exchanges, thousands of numbers a second, faults by chance.

``python -m tests.faults.soak --minutes 60 --seed 1 --rate 1000 [--no-faults]``

* load      *rate* numbers per second through each of Kafka → Kafka, Kafka → attribute, Tango →
  Kafka, Tango → other device
* faults    broker stopped, killed, frozen; source and target device killed and started; at moments
  and in an order that the seed gives
* samples   memory, threads, file descriptors and CPU of the connector, in ``build/soak.json``
* verdict   the accounts of every pair as in the fault tests; the median of memory, threads and
  descriptors in the last quarter against that in the second. Status 1 if any of it is not as it
  should be
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import attrs
import psutil

from tests.device.servers import ROOT
from tests.faults.guarantees import check_pair, check_streaming
from tests.faults.rig import ROUTES, Rig
from tests.services.kafka import KafkaServer

REPORT = ROOT / "build" / "soak.json"
PAIRS = ("kafka_to_kafka", "kafka_to_local", "tango_to_kafka", "tango_to_remote")
SAMPLES = 360
"""Samples of a run, of which none comes sooner than a second after the other."""

PAUSES = (20.0, 60.0)
"""Seconds between one fault and the next: at least and at most."""

FROZEN = 3.0  # s

PATIENCE = 120.0
"""Seconds for data to flow again after a fault: beside the load a broker starts slowly."""

HIGH_WATER_MARK = "20000"
"""Events that Tango keeps for a subscriber: twenty seconds, for a machine that has other work."""

GROWTH = 0.03
"""Part by which memory may grow from the second quarter to the last."""

FEW = 3
"""Threads or descriptors that may be more: clients connect anew now and then."""


@attrs.frozen
class Sample:
    """The connector at one moment: seconds from the start, MB, counts, parts of one core."""

    time: float
    memory: float
    threads: int
    descriptors: int
    cpu: float


@attrs.frozen
class Injected:
    """One fault, in seconds from the start, and how long all pairs took to flow again."""

    time: float
    name: str
    lasted: float
    recovered: float


class Soak:
    """One run; `run` does all of it and returns the report."""

    def __init__(self, minutes: float, seed: int, rate: float, faults: bool) -> None:
        self._seconds = 60 * minutes
        self._interval = max(1.0, self._seconds / SAMPLES)
        self._rate = rate
        self._seed = seed
        self._random = random.Random(seed)
        self._with_faults = faults
        self._samples: list[Sample] = []
        self._faults: list[Injected] = []
        self._outages: list[tuple[float, float]] = []

    def run(self) -> dict[str, Any]:
        with tempfile.TemporaryDirectory(prefix="soak-", ignore_cleanup_errors=True) as directory:
            broker = KafkaServer(
                Path(directory),
                properties={"log.retention.check.interval.ms": 60_000},
            )
            with broker, self._rig(broker.bootstrap_servers) as rig:
                self._began = time.time()
                rig.feed()
                self._stream(rig, broker)
                ended = time.time()
                rig.settle()
                return self._conclude(rig, ended - self._began)

    def _rig(self, servers: str) -> Rig:
        routes = [route for route in ROUTES if route.name in PAIRS]
        # What was read an hour ago need not be kept; what nobody has read for so long is lost.
        short = {"retention.ms": "1800000", "segment.bytes": str(32 * 2**20)}
        rig = Rig(
            servers,
            routes=routes,
            kafka_rate=self._rate,
            tango_rate=self._rate,
            topic_settings=short,
        )
        rig.reads_topics_whole = False
        rig.patience = PATIENCE
        return rig

    def _stream(self, rig: Rig, broker: KafkaServer) -> None:
        connector = psutil.Process(rig.connector.pid)
        connector.cpu_percent()
        next_sample = next_line = time.time()
        next_fault = time.time() + self._random.uniform(*PAUSES)
        while (now := time.time()) < self._began + self._seconds:
            for route in rig.routes:
                rig.tally(route)
            if now >= next_sample:
                next_sample += self._interval
                self._sample(connector)
                rig.take_statistics()
                check_streaming(rig)
            if now >= next_line:
                next_line += 30.0
                self._tell(rig)
            if self._with_faults and now >= next_fault:
                if now < self._began + self._seconds - 2 * PATIENCE:
                    self._hurt(rig, broker)
                next_fault = time.time() + self._random.uniform(*PAUSES)
            time.sleep(0.2)

    def _sample(self, connector: psutil.Process) -> None:
        with connector.oneshot():
            self._samples.append(
                Sample(
                    round(time.time() - self._began, 1),
                    connector.memory_info().rss / 1e6,
                    connector.num_threads(),
                    connector.num_fds(),
                    connector.cpu_percent() / 100,
                )
            )

    def _hurt(self, rig: Rig, broker: KafkaServer) -> None:
        def bounce(end: Callable[[], None]) -> None:
            end()
            broker.start()

        def freeze() -> None:
            broker.freeze()
            time.sleep(FROZEN)
            broker.thaw()

        def kill_source() -> None:
            rig.source.kill()
            rig.source.start()
            rig.tango.start()

        def kill_target() -> None:
            rig.target.kill()
            rig.target.start()

        faults: dict[str, Callable[[], None]] = {
            "broker stopped": lambda: bounce(broker.stop),
            "broker killed": lambda: bounce(broker.kill),
            "broker frozen": freeze,
            "source device killed": kill_source,
            "target device killed": kill_target,
        }
        name = self._random.choice(sorted(faults))
        begin = time.time()
        faults[name]()
        over = time.time()
        rig.await_flow(over)
        recovered = time.time()
        if name == "source device killed":
            self._outages.append((begin, recovered))
        self._faults.append(
            Injected(
                *(round(begin - self._began, 1), name),
                *(round(over - begin, 2), round(recovered - over, 2)),
            )
        )
        print(f"  {name} for {over - begin:.1f} s, flowing again after {recovered - over:.1f} s")

    def _tell(self, rig: Rig) -> None:
        last = self._samples[-1]
        counts = ", ".join(f"{route.name} {rig.tally(route).count}" for route in rig.routes)
        print(
            f"{last.time:6.0f} s  {last.memory:.1f} MB, {last.threads} threads, "
            f"{last.descriptors} descriptors, {100 * last.cpu:.0f} % CPU; {counts}",
            flush=True,
        )

    def _conclude(self, rig: Rig, seconds: float) -> dict[str, Any]:
        accounts = rig.rows("soak", 0.0)
        wrong: list[str] = []
        for name, account in accounts.items():
            hurt = bool(self._faults)
            outages = self._outages if name.startswith("tango") else []
            try:
                check_pair(
                    account,
                    repeats=hurt and name in ("tango_to_kafka", "tango_to_remote"),
                    outages=outages,
                )
            except AssertionError as error:
                wrong.append(f"{name}: {error}")
        flatness = {
            what: self._quarters([getattr(sample, what) for sample in self._samples])
            for what in ("memory", "threads", "descriptors", "cpu")
        }
        allowed = {"memory": GROWTH * flatness["memory"][0], "threads": FEW, "descriptors": FEW}
        for what, most in allowed.items():
            before, after = flatness[what]
            if after > before + most:
                wrong.append(f"{what} grew from {before:.1f} to {after:.1f}")
        return {
            "seconds": round(seconds, 1),
            "seed": self._seed,
            "rate": self._rate,
            "wrong": wrong,
            "pairs": {name: attrs.asdict(account.row) for name, account in accounts.items()},
            "flatness": flatness,
            "faults": [attrs.asdict(fault) for fault in self._faults],
            "samples": [attrs.asdict(sample) for sample in self._samples],
        }

    @staticmethod
    def _quarters(values: Sequence[float]) -> tuple[float, float]:
        """The medians of the second quarter and of the last."""
        quarter = max(1, len(values) // 4)
        return statistics.median(values[quarter : 2 * quarter]), statistics.median(
            values[-quarter:]
        )


def tell(report: dict[str, Any]) -> None:
    """Print a summary of a report, for people."""
    print(
        f"\n{report['seconds']:.0f} s at {report['rate']:g}/s through each of {len(PAIRS)} pairs, "
        f"seed {report['seed']}, {len(report['faults'])} faults"
    )
    for row in report["pairs"].values():
        counted = ", ".join(f"{name} {count}" for name, count in row["counted"].items())
        print(
            f"  {row['pair']:24} in {row['sent']}, out {row['out']}, "
            f"duplicated {row['duplicated']}, lost {row['lost']} {counted and f'({counted})'}"
        )
    for what, (before, after) in report["flatness"].items():
        print(f"  {what:24} {before:.2f} in the second quarter, {after:.2f} in the last")
    for wrong in report["wrong"]:
        print(f"  WRONG: {wrong}")
    print("  all as it should be" if not report["wrong"] else f"  see {REPORT}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--rate", type=float, default=1000.0, help="numbers per second and pair")
    parser.add_argument("--no-faults", action="store_true")
    options = parser.parse_args()
    for variable in ("TANGO_DS_EVENT_BUFFER_HWM", "TANGO_EVENT_BUFFER_HWM"):
        os.environ[variable] = HIGH_WATER_MARK
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # with what is started ended in order
    report = Soak(options.minutes, options.seed, options.rate, not options.no_faults).run()
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(report, indent=1) + "\n")
    tell(report)
    return 1 if report["wrong"] else 0


if __name__ == "__main__":
    sys.exit(main())
