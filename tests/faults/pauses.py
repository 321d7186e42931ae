"""How long one peer's fault holds up what has nothing to do with it, as a table for the docs.

``build/pauses.json`` keeps the rows of the latest run; ``python -m tests.faults.pauses`` puts them
into the page ``docs/explanations/isolation.md``.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path

import attrs

from tests.device.servers import ROOT
from tests.faults.tables import keep, put

JSON = ROOT / "build" / "pauses.json"
PAGE = ROOT / "docs" / "explanations" / "isolation.md"
BEGIN = "<!-- begin: written by `make faults-table` -->"
END = "<!-- end -->"
_HEAD = (
    "| peer | what happens to it | stream, ms | read, ms | `State`, ms | command, ms |",
    "|---|---|---:|---:|---:|---:|",
)


@attrs.frozen(kw_only=True)
class Pause:
    """The longest that an unrelated datum, read or command took while a fault lasted, in ms."""

    peer: str
    fault: str
    stream: int
    read: int
    state: int
    command: int

    @property
    def longest(self) -> int:
        return max(self.stream, self.read, self.state, self.command)

    def markdown(self) -> str:
        cells = (self.peer, self.fault, self.stream, self.read, self.state, self.command)
        return f"| {' | '.join(map(str, cells))} |"


def load(path: Path = JSON) -> list[Pause]:
    return [Pause(**row) for row in json.loads(path.read_text())] if path.exists() else []


def save(pauses: Iterable[Pause], path: Path = JSON) -> None:
    """Put these in the place of those of the same peer and fault."""
    kept = {(pause.peer, pause.fault): pause for pause in (*load(path), *pauses)}
    keep(path, [attrs.asdict(pause) for pause in kept.values()])


def table(pauses: Iterable[Pause]) -> str:
    lines, last = list(_HEAD), ""
    for pause in pauses:
        lines.append((pause if pause.peer != last else attrs.evolve(pause, peer="")).markdown())
        last = pause.peer
    return "\n".join(lines)


def write_page(pauses: Iterable[Pause], page: Path = PAGE) -> None:
    """Put the table between its marks in the page."""
    put(page, BEGIN, END, table(pauses))


if __name__ == "__main__":
    found = load()
    if not found:
        sys.exit(f"{JSON} holds no rows; make test-faults writes them")
    write_page(found)
