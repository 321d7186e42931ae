"""Log lines that are alike: beyond a number they are counted, and summed up in one line.

What is alike comes from one place in the code, at one level: a thousand streams that meet the same
fault at once, or one that meets it a thousand times.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Iterator

import attrs

MOST_ALIKE = 100
"""Log lines of one place in the code within `PERIOD`; more are left out, and counted."""

PERIOD = 10.0
"""Seconds for which log lines that are alike are counted."""

_Place = tuple[str, int, int]


@attrs.define
class _Seen:
    until: float
    lines: int = 0
    last: logging.LogRecord | None = None
    """The last one that was left out."""


class Repeats:
    """Of one log; called by one thread at a time."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[_Place, _Seen] = {}
        self._left_out: dict[_Place, _Seen] = {}

    def sorted_out(self, record: logging.LogRecord) -> Iterator[logging.LogRecord]:
        """What is to be written now that *record* has come: sums of what is over, and it."""
        now = self._clock()
        yield from self.summed_up(now)
        place = (record.pathname, record.lineno, record.levelno)
        seen = self._seen.get(place)
        if seen is None or now >= seen.until:
            seen = self._seen[place] = _Seen(now + PERIOD)
        seen.lines += 1
        if seen.lines <= MOST_ALIKE:
            yield record
        else:
            seen.last = record
            self._left_out[place] = seen

    def summed_up(self, now: float) -> Iterator[logging.LogRecord]:
        """The last line of each that were left out until *now*, with how many they were."""
        for place, seen in list(self._left_out.items()):
            if now >= seen.until and seen.last is not None:
                del self._left_out[place]
                told = copy.copy(seen.last)
                left_out = seen.lines - MOST_ALIKE
                told.msg = (
                    f"{told.getMessage()} (the last of {left_out} lines alike that were left out "
                    f"within {PERIOD:g} s)"
                )
                told.args = None
                yield told
