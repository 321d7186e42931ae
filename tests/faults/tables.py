"""What tables of the documentation that tests write have in common: a file of rows, and a place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def keep(path: Path, rows: Any) -> None:
    """Write the rows of the latest run."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")


def put(page: Path, begin: str, end: str, table: str) -> None:
    """Put a table between its marks in a page."""
    before, rest = page.read_text().split(begin)
    _, after = rest.split(end)
    page.write_text(f"{before}{begin}\n\n{table}\n\n{end}{after}")
