"""The figures of a run as a page of the documentation, a plot, and the JSON of both."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import confluent_kafka
import tango

import benchmarks.blackbox.loads  # noqa: F401  registers the cases
from benchmarks.blackbox.case import CASES
from benchmarks.blackbox.goals import goals, growth
from benchmarks.blackbox.report import table
from tests.device.servers import ROOT

FOLDER = ROOT / "docs" / "explanations"
_PAGE = """# Benchmarks

Written by `make bench ARGS=--docs`, {when}: {runs}, windows of {seconds:g} s, on {machine}.
PyTango {tango}, librdkafka {librdkafka}, Python {python}. The connector and the others take turns;
*bare* is the least that PyTango and confluent-kafka can be made to do the work with, *asyncio* the
same with PyTango's asyncio green mode and aiokafka. Brokers, dishes, writers and readers run on the
same processors, so that what is late or slow is so for all: compare ratios. All figures of all runs
are in [`benchmarks.json`](benchmarks.json).

## Goals

{met} of {all} are met.

| load | figure | goal | found | met |
|---|---|---:|---:|---|
{goals}

## What a datum costs

![µs of processor time for each datum, over the number of streams](benchmarks.svg)

{growth}

## Every load

{tables}
"""


def about(runs: int, seconds: float) -> dict[str, Any]:
    """What a run was made with."""
    return {
        "when": datetime.date.today().isoformat(),
        "runs": "one run" if runs == 1 else f"medians of {runs} runs",
        "seconds": seconds,
        "machine": f"{os.cpu_count()} processors, {platform.machine()}, {platform.system()}",
        "tango": tango.__version__,
        "librdkafka": confluent_kafka.libversion()[0],
        "python": platform.python_version(),
    }


def page(found: Mapping[str, Any]) -> str:
    """The whole page."""
    runs = found["figures"]
    lines = goals(runs)
    return _PAGE.format(
        **found["about"],
        met=sum(line.met for line in lines),
        all=len(lines),
        goals="\n".join(line.row() for line in lines),
        growth="\n\n".join(_growth(runs, kind) for kind in ("streams", "attributes")),
        tables=table(runs, {name: case.doc for name, case in CASES.items()}),
    )


def _growth(runs: Any, kind: str) -> str:
    points = growth(runs, kind)
    head = "| " + " | ".join([kind, *(str(count) for count, _ in points)]) + " |"
    cells = " | ".join(["µs a datum", *(f"{cost:.1f}" for _, cost in points)])
    return "\n".join([head, "|---|" + "---:|" * len(points), f"| {cells} |"])


def write(found: Mapping[str, Any], folder: Path = FOLDER) -> None:
    """Page, plot and JSON."""
    (folder / "benchmarks.json").write_text(json.dumps(found, indent=1) + "\n")
    (folder / "benchmarks.md").write_text(page(found))
    _plot(found["figures"], folder / "benchmarks.svg")


def _plot(runs: Any, file: Path) -> None:
    from matplotlib.figure import Figure  # of the extra "bench", which only this needs

    axes = (figure := Figure(figsize=(6, 3.2), layout="constrained")).subplots()
    for kind, label in (("streams", "exchanges"), ("attributes", "attributes of one message")):
        if points := growth(runs, kind):
            axes.plot(*zip(*points, strict=True), marker="o", label=label)
    axes.set(xscale="log", xlabel="number", ylabel="µs of CPU a datum", ylim=(0, None))
    axes.legend()
    figure.savefig(file, metadata={"Date": None})
