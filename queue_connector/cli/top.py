"""``top``: the exchanges of running devices, live."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from collections import deque
from collections.abc import Sequence
from functools import partial
from typing import Any

import attrs

from ..runtime.answers import Answer
from ..runtime.process import leave
from .asking import asked, import_tango, reason
from .common import DEFAULT_DEVICE, Commands, positive, print_json
from .top_table import KEYS, RECENT, Row, Seen, lines, rows

SHORT = 200
"""Characters that are told of why a device cannot be asked."""

PATIENCE = 0.2
"""Seconds that the screen waits for answers: keys are not heard meanwhile."""

SILENCE = 2.0
"""Seconds without an answer after which that is told of a device."""


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "top",
        help=words,
        description="Watch the exchanges of running devices: state, data per second in and out, "
        "what is in flight, queued, behind, dropped and failed, how long ago the last datum came, "
        f"and how the rate out went lately. Keys: {KEYS}. "
        "Where stdout is no terminal, the table is printed once.",
    )
    parser.add_argument(
        "devices",
        nargs="*",
        default=[DEFAULT_DEVICE],
        metavar="DEVICE",
        help=f"their Tango names, as statistics takes them: {DEFAULT_DEVICE}",
    )
    parser.add_argument(
        "--interval", type=positive, default=1.0, metavar="SECONDS", help="between two looks: 1"
    )
    parser.add_argument("--once", action="store_true", help="print the table once, and end")
    parser.add_argument("--json", action="store_true", help="print a list of objects once")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Watch, or look twice and print."""
    watched = Watched(options.devices)
    if not (options.once or options.json) and sys.stdout.isatty() and sys.stdin.isatty():
        from .top_screen import show  # late, as no other command needs curses

        look = partial(watched.look, PATIENCE)
        show(look, options.interval, devices=len(options.devices) > 1)
        if watched.waiting:
            leave(0)
        return 0
    found = watched.look()
    if any(row.exchange for row in found):  # their rates take a second look
        time.sleep(options.interval)
        found = watched.look()
    if options.json:
        print_json([attrs.asdict(row) for row in found])
    else:
        print("\n".join(lines(found, devices=len(options.devices) > 1)))
    return 1 if watched.troubled else 0


class Watched:
    """Devices, and what they told last."""

    def __init__(self, devices: Sequence[str]) -> None:
        self._devices = tuple(dict.fromkeys(devices))
        self._proxies: dict[str, Any] = {}
        self._asked: dict[str, tuple[float, Answer[Seen]]] = {}
        self._seen: dict[str, Seen] = {}
        self._rows: dict[str, list[Row]] = {}
        self._recent: dict[tuple[str, str], deque[float]] = {}

    @property
    def waiting(self) -> bool:
        """Whether a device has not answered yet."""
        return bool(self._asked)

    @property
    def troubled(self) -> bool:
        """Whether a device could not be asked the last time."""
        return any(seen.trouble for seen in self._seen.values())

    def look(self, patience: float | None = None) -> list[Row]:
        """Ask all of them, together.

        Of one that has not answered after *patience* seconds comes what it told last, for a while.
        """
        now = time.monotonic()
        for device in self._devices:
            if device not in self._asked:
                self._asked[device] = now, asked(partial(self._ask, device))
        Answer.wait_for((answer for _, answer in self._asked.values()), patience)
        for device, (since, answer) in [*self._asked.items()]:
            if answer.is_there():
                del self._asked[device]
                self._take(answer.wait())
            elif (silent := time.monotonic() - since) > SILENCE:
                trouble = f"has not answered for {silent:.0f} s"
                self._take(Seen(device, since, trouble=trouble))
        return [row for device in self._devices for row in self._rows.get(device, ())]

    def _take(self, seen: Seen) -> None:
        clock = datetime.datetime.now(datetime.UTC)
        found = rows(self._seen.get(seen.device), seen, clock)
        self._rows[seen.device] = [self._with_recent(row) for row in found]
        self._seen[seen.device] = seen

    def _with_recent(self, row: Row) -> Row:
        if row.rate_out is None:
            return row
        recent = self._recent.setdefault((row.device, row.exchange), deque(maxlen=RECENT))
        recent.append(row.rate_out)
        return attrs.evolve(row, recent=tuple(recent))

    def _ask(self, device: str) -> Seen:
        tango = import_tango()
        at = time.monotonic()
        try:
            if device not in self._proxies:
                self._proxies[device] = tango.DeviceProxy(device)
            told = self._proxies[device].read_attributes(["groups", "statistics"])
            groups, statistics = (json.loads(each.value) for each in told)
        except tango.DevFailed as error:
            return Seen(device, at, trouble=f"cannot be asked: {reason(error)[:SHORT]}")
        except (ValueError, TypeError) as error:
            return Seen(device, at, trouble=f"tells it in another form: {error!r:.{SHORT}}")
        return Seen(device, at, groups, statistics)
