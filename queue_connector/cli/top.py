"""``top``: the exchanges of running devices, live."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import attrs

from .common import DEFAULT_DEVICE, import_tango, positive, print_json
from .top_table import KEYS, RECENT, Row, Seen, lines, rows

if TYPE_CHECKING:
    from .common import Commands

SHORT = 200
"""Characters that are told of why a device cannot be asked."""


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

        show(watched.look, options.interval, devices=len(options.devices) > 1)
        return 0
    watched.look()
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
        self.devices = devices
        self.troubled = False
        """Whether a device could not be asked the last time."""
        self._proxies: dict[str, Any] = {}
        self._seen: dict[str, Seen] = {}
        self._recent: dict[tuple[str, str], deque[float]] = {}

    def look(self) -> list[Row]:
        """Ask all of them."""
        found: list[Row] = []
        self.troubled = False
        clock = datetime.datetime.now(datetime.UTC)
        for device in self.devices:
            seen = self._ask(device)
            found += rows(self._seen.get(device), seen, clock)
            self._seen[device] = seen
            self.troubled |= bool(seen.trouble)
        return [self._with_recent(row) for row in found]

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
            why = " ".join(error.args[0].desc.split())[:SHORT]
            return Seen(device, at, trouble=f"cannot be asked: {why}")
        except (ValueError, TypeError) as error:
            return Seen(device, at, trouble=f"tells it in another form: {error!r:.{SHORT}}")
        return Seen(device, at, groups, statistics)
