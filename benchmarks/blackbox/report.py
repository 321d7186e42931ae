"""Figures of many runs → medians, ratios and a table in Markdown.

``build/bench.json`` keeps every run: case → contender → figures of each run.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from tests.device.servers import ROOT

JSON = ROOT / "build" / "bench.json"
Runs = Mapping[str, Mapping[str, Sequence[Mapping[str, float]]]]

COLUMNS: Mapping[str, tuple[str, str]] = {
    "rate": ("data/s", "{:,.0f}"),
    "cpu": ("CPU", "{:.2f}"),
    "us": ("µs a datum", "{:.1f}"),
    "p50": ("p50, ms", "{:.1f}"),
    "p99": ("p99, ms", "{:.1f}"),
    "burst": ("last, ms", "{:.0f}"),
    "burst_cpu": ("CPU, ms", "{:.0f}"),
    "idle_cpu": ("idle CPU", "{:.3f}"),
    "rss": ("RSS, MiB", "{:.0f}"),
    "rss_beyond_idle": ("beyond idle, MiB", "{:.0f}"),
    "threads": ("threads", "{:.0f}"),
    "open": ("open, s", "{:.1f}"),
    "lost": ("lost", "{:.0f}"),
    "disordered": ("out of order", "{:.0f}"),
}


def median(runs: Sequence[Mapping[str, float]], figure: str) -> float:
    found = [run[figure] for run in runs if figure in run and not math.isnan(run[figure])]
    return statistics.median(found) if found else math.nan


def table(runs: Runs, docs: Mapping[str, str]) -> str:
    parts = []
    for name, by_contender in runs.items():
        doc = docs.get(name.rpartition(": ")[2], "")
        parts.append(f"**{name}**: {doc}.\n\n" + "\n".join(_rows(by_contender)))
    return "\n\n".join(parts)


def _rows(by_contender: Mapping[str, Sequence[Mapping[str, float]]]) -> Iterator[str]:
    """A line for each contender: medians with their spread, and the ratios to the others."""
    figures = [
        figure
        for figure in COLUMNS
        if any(not math.isnan(median(runs, figure)) for runs in by_contender.values())
    ]
    yield "| | " + " | ".join(COLUMNS[figure][0] for figure in figures) + " |"
    yield "|---|" + "---:|" * len(figures)
    for who, runs in by_contender.items():
        cells = []
        for figure in figures:
            value = median(runs, figure)
            cells.append("" if math.isnan(value) else _cell(runs, figure, value))
        yield f"| {who} | " + " | ".join(cells) + " |"
    ours = by_contender.get("connector", ())
    for who, runs in by_contender.items():
        if who == "connector" or not ours:
            continue
        cells = []
        for figure in figures:
            ratio = median(ours, figure) / (median(runs, figure) or math.nan)
            cells.append("" if math.isnan(ratio) else f"{ratio:.2f}")
        yield f"| connector / {who} | " + " | ".join(cells) + " |"


def _cell(runs: Sequence[Mapping[str, float]], figure: str, value: float) -> str:
    """The median; where there were several runs, the least and the most of them beside it."""
    text = COLUMNS[figure][1].format(value)
    found = [run[figure] for run in runs if figure in run and not math.isnan(run[figure])]
    if len(found) < 2 or not value:
        return text
    return f"{text} ({min(found) / value:.2f}–{max(found) / value:.2f})"


def load(path: Path = JSON) -> dict[str, dict[str, list[dict[str, float]]]]:
    found: dict[str, dict[str, list[dict[str, float]]]] = {}
    return json.loads(path.read_text()) if path.exists() else found


def save(runs: Runs, path: Path = JSON) -> None:
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({**load(path), **runs}, indent=1) + "\n")
