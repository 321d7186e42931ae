"""The table: one row for each fault and each pair of source and sink that it touches.

``build/faults.json`` keeps the rows of the latest run of each fault; ``python -m
tests.faults.rows`` puts them into the page ``docs/explanations/faults.md``.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import attrs

from tests.device.servers import ROOT
from tests.faults.tables import keep, put

JSON = ROOT / "build" / "faults.json"
PAGE = ROOT / "docs" / "explanations" / "faults.md"
BEGIN = "<!-- begin: written by `make faults-table` -->"
END = "<!-- end -->"
_HEAD = (
    "| fault | from → to | in | out | duplicated | lost | counted | recovered, s |",
    "|---|---|---:|---:|---:|---:|---|---:|",
)


@attrs.frozen(kw_only=True)
class Row:
    """What one fault did to one pair. ``out`` counts distinct numbers."""

    fault: str
    pair: str
    sent: int
    out: int
    duplicated: int
    lost: int
    counted: dict[str, int]
    recovered: float | None

    def markdown(self) -> str:
        counted = ", ".join(f"{name}: {count}" for name, count in self.counted.items())
        recovered = "" if self.recovered is None else f"{self.recovered:.1f}"
        cells = (self.fault, self.pair, self.sent, self.out, self.duplicated, self.lost)
        return f"| {' | '.join(map(str, cells))} | {counted} | {recovered} |"


def load(path: Path = JSON) -> dict[str, list[Row]]:
    """The rows by fault, in the order in which the faults were written."""
    found: dict[str, list[dict[str, Any]]] = json.loads(path.read_text()) if path.exists() else {}
    return {fault: [Row(**row) for row in rows] for fault, rows in found.items()}


def save(rows: Iterable[Row], path: Path = JSON) -> None:
    """Put these rows in the place of those that their faults had."""
    fresh: dict[str, list[Row]] = {}
    for row in rows:
        fresh.setdefault(row.fault, []).append(row)
    kept = {**load(path), **fresh}
    keep(path, {fault: [attrs.asdict(row) for row in rows] for fault, rows in kept.items()})


def table(rows: Iterable[Row]) -> str:
    """The rows as a table of Markdown; a fault is named in its first row only."""
    lines, last = list(_HEAD), ""
    for row in rows:
        lines.append((row if row.fault != last else attrs.evolve(row, fault="")).markdown())
        last = row.fault
    return "\n".join(lines)


def explained(text: str) -> list[str]:
    """The faults that a page explains, in its order."""
    return re.findall(r"^(.+)\n: ", text, re.MULTILINE)


def write_page(rows: Iterable[Row], page: Path = PAGE) -> None:
    """Put the table between its marks in the page, in the order in which the page explains.

    Raises:
        ValueError: the page explains no such fault, or one of which there is no row.
    """
    order = explained(page.read_text())
    rows = list(rows)
    if differing := {row.fault for row in rows} ^ set(order):
        raise ValueError(f"either explained or in the table, but not both: {sorted(differing)}")
    rows.sort(key=lambda row: order.index(row.fault))  # keeps the order of the pairs
    put(page, BEGIN, END, table(rows))


if __name__ == "__main__":
    found = [row for rows in load().values() for row in rows]
    if not found:
        sys.exit(f"{JSON} holds no rows; make test-faults writes them")
    write_page(found)
