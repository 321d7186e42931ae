"""What passes one place of an exchange, for people who want to see it: a sample, in words.

Nobody waits for it and nothing is held up: what is not looked at passes, and is counted. A closed
tap costs a batch one comparison.

* sampled   `RATE` data a second, and as many at once; each is written down as it passes, in at most
            `MAX_VALUE` characters, so that no value is kept
* lease     it closes `LEASE` seconds after it was asked last, by the next batch that passes
"""

from __future__ import annotations

import reprlib
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..model.datatypes import Data
from ..model.errors import DataError
from ..model.ledger import Batch
from ..model.stream import DataSource
from ..model.texts import one_line, printable, shortened
from ..model.timescale import utc_text

RATE = 50
"""Data a second that are written down."""

PAUSE = 0.1
"""Seconds for which nothing is written down once that many were."""

MOST = 200
"""Data that are kept until somebody asks for them; the oldest go."""

LEASE = 10.0
"""Seconds that a tap stays open without being asked."""

MAX_VALUE = 1000
"""Characters of a value that are told."""

_FEW = 32  # elements of an array that are told

_plain = reprlib.Repr()
_plain.maxlevel, _plain.maxdict, _plain.maxlist, _plain.maxtuple = 3, 20, _FEW, _FEW
_plain.maxstring = _plain.maxother = _plain.maxlong = MAX_VALUE


class Tap:
    """At one place of one exchange; used on the Trio thread."""

    def __init__(self) -> None:
        self.passed = 0
        """Data that have passed since it was opened."""
        self._kept: deque[dict[str, Any]] = deque(maxlen=MOST)
        self._until = time.monotonic() + LEASE
        self._room = float(RATE)
        self._filled = time.monotonic()
        self._next = 0.0
        """Until then, all that passes is counted only."""

    @property
    def is_open(self) -> bool:
        """Whether somebody has asked lately."""
        return time.monotonic() < self._until

    def tell(self, after: int) -> dict[str, Any]:
        """What was written down *after* this number, and how many have passed; it stays open."""
        self._until = time.monotonic() + LEASE
        if after > self.passed:  # of a tap that was here before
            after = 0
        return {
            "data": [each for each in self._kept if each["number"] > after],
            "passed": self.passed,
        }

    # -- what passes -------------------------------------------------------------------------------

    def handed_over(self, source: DataSource, batch: Batch) -> bool:
        """A source has handed over *batch*; False: the tap is closed."""
        if time.monotonic() < self._next:  # in a flood, nearly always
            self.passed += len(batch.values) + len(batch.refused)
            return True
        raw = batch.raw
        name = batch.account.name if batch.account is not None else ""

        def describe(index: int) -> dict[str, Any]:
            where = source.position(raw[index]) if raw is not None else ""
            return {"position": where, **_described(batch.values[index])}

        def refused(index: int) -> dict[str, Any]:
            refusal = batch.refused[index]
            told = _described(refusal.payload)
            return {"position": refusal.position, **told, "error": _error(refusal.error)}

        self._take(len(batch.values), name, describe)
        self._take(len(batch.refused), name, refused)
        return self.is_open

    def handed_on(self, batch: Batch) -> bool:
        """What the sinks are given; False: the tap is closed."""
        if time.monotonic() < self._next:
            self.passed += len(batch.values)
            return True
        self._take(len(batch.values), "", lambda index: _described(batch.values[index]))
        return self.is_open

    def told(self, sink: str, values: Sequence[Data], first: int, count: int, error: Any) -> bool:
        """A sink has said what became of *count* values; False: the tap is closed."""
        if time.monotonic() < self._next:
            self.passed += count
            return True
        why: Mapping[str, Any] = {"error": _error(error)} if error is not None else {}
        self._take(count, sink, lambda index: {**_described(values[first + index]), **why})
        return self.is_open

    def _take(self, count: int, end: str, describe: Callable[[int], dict[str, Any]]) -> None:
        now = time.monotonic()
        self._room = min(RATE, self._room + (now - self._filled) * RATE)
        self._filled = now
        taken = min(count, int(self._room))
        self._room -= taken
        written = utc_text(time.time())
        for index in range(taken):
            entry = {"number": self.passed + index + 1, "time": written, "end": end}
            self._kept.append({**entry, **describe(index)})
        self.passed += count
        if self._room < 1:
            self._next = now + PAUSE


def _described(value: Data) -> dict[str, Any]:
    try:
        return {"size": _size(value), "value": rendered(value)}
    except Exception as error:  # a sample that cannot be shown must not harm the stream
        return {"size": 0, "value": f"cannot be shown: {shortened(repr(error), MAX_VALUE)}"}


def _size(value: Data) -> int:
    """Bytes of the value itself, characters of a text; 0 where nobody knows at once."""
    if isinstance(value, tuple):  # bytes, with their encoding
        return sum(map(_size, value))
    if isinstance(value, str | bytes):
        return len(value)
    return 8 if isinstance(value, int | float) else int(getattr(value, "nbytes", 0))


def _error(error: DataError) -> str:
    return one_line(str(error), MAX_VALUE)


def rendered(value: Data) -> str:
    """A datum in words, on one line, at a cost that does not grow with it."""
    if isinstance(value, np.ndarray | np.generic):
        array = np.asarray(value)
        few = array.flat[:_FEW].tolist()
        told = (repr if array.dtype.kind in "biufc" else _plain.repr)(few if array.ndim else few[0])
        if array.size > _FEW:
            told = f"{told[:-1]}, … {array.size - _FEW} more]"
        shape = f" {list(array.shape)}" if array.ndim > 1 or array.size > _FEW else ""
        return printable(shortened(f"{told}{shape}", MAX_VALUE))
    if isinstance(value, str | bytes):
        told = repr(value[:MAX_VALUE])
        more = f" … {len(value) - MAX_VALUE} more" if len(value) > MAX_VALUE else ""
        return printable(shortened(told, MAX_VALUE)) + more
    return printable(shortened(_plain.repr(value), MAX_VALUE))
