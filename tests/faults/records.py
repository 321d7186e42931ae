"""Numbered data and what became of them, written so that no SIGKILL takes it back.

* record    one line ``TIME NAME VALUE``: seconds since the Unix epoch on the system's clock, which
  no test changes; appended with one ``write`` each, so a killed process leaves whole lines
* numbers   from 1 on, each used once; smaller ones are first values of attributes and no data
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Record(NamedTuple):
    """That *value* passed the place called *name*."""

    time: float
    name: str
    value: str


class Recorder:
    """Appends records to a file; any thread may."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, name: str, value: object) -> None:
        os.write(self._file, f"{time.time():.6f} {name} {value}\n".encode())


class Records:
    """Reads what a recorder of another process has appended since it was last asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = 0

    def read(self) -> Iterator[Record]:
        if not self._path.exists():
            return
        with self._path.open("rb") as file:
            file.seek(self._position)
            text = file.read()
        whole = text.rfind(b"\n") + 1
        self._position += whole
        for line in text[:whole].decode().splitlines():
            when, name, value = line.split(" ", 2)
            yield Record(float(when), name, value)
