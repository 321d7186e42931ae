"""What the figures of a run are to be, and whether they are: ratios are to others of that run."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import attrs

from benchmarks.blackbox.report import Runs, median

MIB_12_6 = 12.6e6 / 2**20


@attrs.frozen
class Goal:
    """A line of the table."""

    load: str
    what: str
    figure: float
    bound: float
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether it was reached."""
        return self.figure >= self.bound if self.at_least else self.figure <= self.bound

    def row(self) -> str:
        """As Markdown."""
        sign, met = ("≥", "≤")[not self.at_least], "yes" if self.met else "**no**"
        return f"| {self.load} | {self.what} | {sign} {self.bound:g} | {self.figure:.3g} | {met} |"


def goals(runs: Runs) -> list[Goal]:
    """Those whose loads were run."""
    return [goal for goal in _Goals(runs).all() if not math.isnan(goal.figure)]


class _Goals:
    def __init__(self, runs: Runs) -> None:
        self._runs = runs

    def _of(self, load: str, figure: str, who: str = "connector") -> float:
        return median(self._runs.get(load, {}).get(who, ()), figure)

    def _ratio(self, load: str, figure: str, who: str, other: str = "") -> float:
        return self._of(load, figure) / (self._of(other or load, figure, who) or math.nan)

    def all(self) -> Iterator[Goal]:
        for load in ("aa4_merged", "aa4_separate"):
            yield from self._array(load)
        yield Goal("burst", "ms until the last of 197", self._of("burst", "burst"), 30)
        yield Goal("burst", "ms of CPU", self._of("burst", "burst_cpu"), 25)
        yield from self._streams()
        yield from self._floods()
        for way in ("latency_to_tango", "latency_to_kafka"):
            late = self._of(way, "p99") - self._of(way, "p99", "bare")
            yield Goal(way, "p99 beyond bare, ms", late, 1.5)

    def _array(self, load: str) -> Iterator[Goal]:
        bare = "aa4_merged"
        yield Goal(load, "lost", self._of(load, "lost"), 0)
        yield Goal(load, "out of order", self._of(load, "disordered"), 0)
        yield Goal(load, "CPU / bare", self._ratio(load, "cpu", "bare", bare), 1.3)
        yield Goal(load, "p99, ms", self._of(load, "p99"), 50)
        yield Goal(load, "RSS, MiB", self._of(load, "rss"), 200)
        yield Goal(load, "threads", self._of(load, "threads"), 40)
        yield Goal(load, "open / bare", self._ratio(load, "open", "bare", bare), 3)

    def _streams(self) -> Iterator[Goal]:
        load = "streams_300"
        yield Goal(load, "threads", self._of(load, "threads"), 40)
        yield Goal(load, "idle CPU", self._of(load, "idle_cpu"), 0.02)
        yield Goal(load, "RSS, MiB", self._of(load, "rss"), 150)
        growth = self._of(load, "us") / self._of("streams_1", "us")
        yield Goal(load, "CPU per datum / that of 1 exchange", growth, 1.5)
        growth = self._of("attributes_1000", "us") / self._of("attributes_1", "us")
        yield Goal("attributes_1000", "CPU per value / that of 1 attribute", growth, 1.5)

    def _floods(self) -> Iterator[Goal]:
        def faster(load: str, who: str, bound: float) -> Goal:
            ratio = self._ratio(load, "rate", who)
            return Goal(load, f"rate / {who}", ratio, bound, at_least=True)

        yield faster("tango_to_kafka", "bare", 0.8)
        yield faster("tango_to_kafka", "asyncio", 8)
        yield faster("kafka_to_tango", "bare", 0.85)
        yield faster("kafka_to_tango", "asyncio", 1.2)
        yield Goal(
            "kafka_to_tango", "CPU / asyncio", self._ratio("kafka_to_tango", "us", "asyncio"), 1
        )
        yield faster("kafka_to_kafka", "bare", 0.4)
        large = "kafka_to_kafka_12mb"
        yield Goal(large, "CPU / bare", self._ratio(large, "us", "bare"), 2)
        beyond = self._of(large, "rss_beyond_idle") / MIB_12_6
        yield Goal(large, "RSS beyond idle / message", beyond, 4)
        yield faster("array_1000", "bare", 0.85)
        yield faster("image_4mb", "bare", 0.85)


def growth(runs: Runs, kind: str) -> list[tuple[int, float]]:
    """Number of streams or attributes → µs of processor time for each datum."""
    found: dict[int, Any] = {}
    for load, contenders in runs.items():
        if load.startswith(f"{kind}_"):
            found[int(load.rpartition("_")[2])] = median(contenders["connector"], "us")
    return sorted(found.items())
