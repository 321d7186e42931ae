"""What flows, live: redrawn in place on a terminal, one line a second elsewhere.

Nothing about the terminal is changed: no cursor is hidden, no colour set, no mode switched. So
there is nothing to restore, however the demonstration ends.
"""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

from .routes import Dish
from .tally import Tally, table

RATE_WINDOW = 3.0
"""Seconds over which rates are taken."""

_TO_TOPIC, _TO_ATTRIBUTE, _TO_TELESCOPE = 2, 6, 7  # places on a datum's way


class View:
    """Shows a tally on a text stream."""

    def __init__(self, stream: TextIO, tally: Tally) -> None:
        self.on_terminal = stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._stream = stream
        self._tally = tally
        self._drawn = 0
        self._history: deque[tuple[float, Mapping[Dish, Sequence[int]]]] = deque()

    @property
    def interval(self) -> float:
        """Seconds between two calls of `show`."""
        return 0.5 if self.on_terminal else 1.0

    def say(self, text: str = "") -> None:
        """Print lines that stay, below what is shown."""
        self._drawn = 0
        over = "\r" if self.on_terminal else ""  # over the ^C that a terminal may have shown
        print(over + text, file=self._stream, flush=True)

    def show(self, elapsed: float, headline: str, offsets: Mapping[str, Sequence[float]]) -> None:
        """Show what flows, *elapsed* seconds after the start; *offsets* are the telescope's."""
        now = {dish: self._tally.way(dish) for dish in self._tally.dishes}
        while self._history and self._history[0][0] < elapsed - RATE_WINDOW:
            self._history.popleft()
        self._history.append((elapsed, now))
        if self.on_terminal:
            self._draw([*self._frame(headline, offsets)])
        else:
            print(self._line(headline, offsets), file=self._stream, flush=True)

    def _rate(self, dishes: Sequence[Dish], station: int) -> str:
        (since, before), (until, after) = self._history[0], self._history[-1]
        if until <= since:
            return "–"
        gained = sum(after[dish][station] - before[dish][station] for dish in dishes)
        return f"{gained / (until - since):.1f}"

    def _erase(self) -> None:
        if self._drawn:
            print(f"\r\x1b[{self._drawn}A\x1b[J", end="", file=self._stream)
            self._drawn = 0

    def _draw(self, lines: Sequence[str]) -> None:
        columns, rows = shutil.get_terminal_size()
        if len(lines) >= rows:
            lines = [*lines[: max(rows - 2, 1)], "…"]
        self._erase()
        for line in lines:
            print(line[: columns - 1], file=self._stream)
        self._stream.flush()
        self._drawn = len(lines)

    def _frame(self, headline: str, offsets: Mapping[str, Sequence[float]]) -> Iterator[str]:
        yield f"{headline}  (Ctrl-C: stop and compare)"
        yield ""
        rows = [_HEAD, *(self._row(dish, offsets) for dish in self._tally.dishes)]
        totals = self._tally.totals()
        rows.append(
            [
                "all",
                str(totals[_TO_TOPIC]),
                self._rate(self._tally.dishes, _TO_TOPIC),
                str(totals[_TO_ATTRIBUTE]),
                self._rate(self._tally.dishes, _TO_ATTRIBUTE),
                str(totals[_TO_TELESCOPE]),
                *[""] * 5,
            ]
        )
        yield from table(rows)

    def _row(self, dish: Dish, offsets: Mapping[str, Sequence[float]]) -> list[str]:
        way = self._tally.way(dish)
        pointing = self._tally.pipeline.get(dish.name, {}).get("pointing")
        offset = offsets.get(dish.name)
        return [
            dish.name,
            str(way[_TO_TOPIC]),
            self._rate([dish], _TO_TOPIC),
            str(way[_TO_ATTRIBUTE]),
            self._rate([dish], _TO_ATTRIBUTE),
            str(way[_TO_TELESCOPE]),
            *([f"{angle:.4f}" for angle in pointing[1:]] if pointing else ["–", "–"]),
            *(_offset(offset) if offset else ["–", "–", "–"]),
        ]

    def _line(self, headline: str, offsets: Mapping[str, Sequence[float]]) -> str:
        dishes = self._tally.dishes
        totals = self._tally.totals()
        line = (
            f"{headline}: {totals[_TO_TOPIC]} pointings ({self._rate(dishes, _TO_TOPIC)}/s), "
            f"{totals[_TO_ATTRIBUTE]} offsets ({self._rate(dishes, _TO_ATTRIBUTE)}/s), "
            f"{totals[_TO_TELESCOPE]} events"
        )
        name = dishes[0].name
        if offset := offsets.get(name):
            line += f"; {name} {' '.join(_offset(offset))}"
        return line


_HEAD = ["dish", "→ topic", "/s", "→ attribute", "/s", "events", "az °", "el °"]
_HEAD += ["scan", "xel °", "el °"]


def _offset(offset: Sequence[float]) -> list[str]:
    return [f"{offset[0]:.0f}", f"{offset[1]:+.5f}", f"{offset[2]:+.5f}"]
