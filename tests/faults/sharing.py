"""What becomes of a topic that connectors share when one comes, goes or is hurt, as a table.

``build/sharing.json`` keeps the rows of the latest run; ``python -m tests.faults.sharing`` puts
them into the page ``docs/explanations/faults.md``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

import attrs

from tests.device.servers import ROOT
from tests.faults.tables import keep, put

JSON = ROOT / "build" / "sharing.json"
PAGE = ROOT / "docs" / "explanations" / "faults.md"
BEGIN = "<!-- begin sharing: written by `make faults-table` -->"
END = "<!-- end sharing -->"
_HEAD = (
    "| event | connectors | in | out | duplicated | lost | shared out, s | longest wait, s |",
    "|---|---|---:|---:|---:|---:|---:|---:|",
)


@attrs.frozen(kw_only=True)
class Takeover:
    """What one event did to the data; ``out`` counts distinct numbers."""

    event: str
    connectors: str
    sent: int
    out: int
    duplicated: int
    lost: int
    shared_out: float
    """Seconds from the event until all partitions had the readers of afterwards."""
    longest_wait: float
    """Seconds that any number took from going in to coming out, at most."""

    def markdown(self) -> str:
        counts = (self.sent, self.out, self.duplicated, self.lost)
        times = (f"{self.shared_out:.1f}", f"{self.longest_wait:.1f}")
        return f"| {' | '.join(map(str, (self.event, self.connectors, *counts, *times)))} |"


def load(path: Path = JSON) -> list[Takeover]:
    return [Takeover(**row) for row in json.loads(path.read_text())] if path.exists() else []


def save(rows: Sequence[Takeover], path: Path = JSON) -> None:
    keep(path, [attrs.asdict(row) for row in rows])


def write_page(rows: Sequence[Takeover], page: Path = PAGE) -> None:
    """Put the table between its marks in the page."""
    put(page, BEGIN, END, "\n".join([*_HEAD, *(row.markdown() for row in rows)]))


if __name__ == "__main__":
    found = load()
    if not found:
        sys.exit(f"{JSON} holds no rows; make test-faults writes them")
    write_page(found)
