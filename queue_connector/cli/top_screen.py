"""The table of ``top`` on a terminal, and its keys."""

from __future__ import annotations

import curses
import locale
import time
from collections.abc import Callable

from .top_table import COLUMNS, KEYS, Row, arranged, lines

_ESCAPE, _ENTER = 27, (10, 13)
_RUB_OUT = (8, 127, curses.KEY_BACKSPACE)

Look = Callable[[], list[Row]]
"""Asks the devices, and gives a row for each exchange."""


def show(look: Look, interval: float, *, devices: bool) -> None:
    """Show the table and *look* again every *interval* seconds, until a key ends it."""
    locale.setlocale(locale.LC_ALL, "")  # curses writes names as the terminal reads them
    curses.wrapper(lambda screen: _Screen(screen, look, interval, devices).run())


class _Screen:
    """The table on a terminal, and what keys do to it."""

    def __init__(self, screen: curses.window, look: Look, interval: float, devices: bool) -> None:
        self._screen = screen
        self._look = look
        self._devices = devices
        self._interval = interval
        self._by = 0
        self._reverse = False
        self._only = ""
        self._typing = False
        self._first = 0
        self._found: list[Row] = []

    def run(self) -> None:
        """Show, ask again when it is time, and do what keys say, until one ends it."""
        due = 0.0
        while True:
            if time.monotonic() >= due:
                self._found = self._look()
                due = time.monotonic() + self._interval
            self._draw()
            self._screen.timeout(max(1, int((due - time.monotonic()) * 1000)))
            if not self._pressed(self._screen.getch()):
                return

    def _pressed(self, key: int) -> bool:
        """Do what a key says; False: it ends."""
        if self._typing:
            self._type(key)
            return True
        match chr(key) if 0 <= key < 256 else key:
            case "q":
                return False
            case "s":
                self._by = (self._by + 1) % len(COLUMNS)
                self._reverse = self._by > 1  # of numbers, the largest first
            case "r":
                self._reverse = not self._reverse
            case "/":
                self._typing, self._only = True, ""
            case curses.KEY_DOWN:
                self._first += 1
            case curses.KEY_UP:
                self._first -= 1
        return True

    def _type(self, key: int) -> None:
        if key in _ENTER:
            self._typing = False
        elif key == _ESCAPE:
            self._typing, self._only = False, ""
        elif key in _RUB_OUT:
            self._only = self._only[:-1]
        elif 0 <= key < 256 and chr(key).isprintable():
            self._only += chr(key)

    def _draw(self) -> None:
        head, by, _ = COLUMNS[self._by]
        shown = arranged(self._found, by, reverse=self._reverse, only=self._only)
        table = lines(shown, devices=self._devices)
        height, width = self._screen.getmaxyx()
        self._first = max(0, min(self._first, len(shown) - 1))
        filtered = f", only /{self._only}" if self._only or self._typing else ""
        title = f"{len(shown)} of {len(self._found)} by {head}{filtered}    {KEYS}"
        self._screen.erase()
        for number, line in enumerate([title, table[0], *table[1 + self._first :]][:height]):
            marked = number == 1
            # A terminal that knows fewer characters shows "?" where they would end it.
            written = line.encode(known := self._screen.encoding, "replace").decode(known)
            self._screen.addnstr(number, 0, written, width - 1, curses.A_REVERSE if marked else 0)
        self._screen.refresh()
