"""``tap``: data as they pass an exchange of a running device."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping
from typing import Any

from .asking import DeviceCommand
from .common import Commands, at_least_one, failure, tinted

PERIOD = 0.3
"""Seconds between two questions."""

SILENCE = 5.0
"""Seconds without a datum after which that is said."""

FEW = 10
"""Data that are shown unless told otherwise."""


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "tap",
        help=words,
        description="Show data as they pass an exchange: when, where they stood, how large they "
        "are, and their value, shortened. The stream is not held up: of more than some fifty a "
        "second a part is shown, and how many passed between. It begins when it is asked.",
    )
    parser.add_argument("device", metavar="DEVICE", help="its Tango name, as statistics takes it")
    parser.add_argument("exchange", metavar="EXCHANGE", help="its present name, e.g. default[0]")
    parser.add_argument(
        "--where",
        choices=("source", "pipe", "sink"),
        default="source",
        help="what sources hand over, what the sinks are given, or what became of it at each of "
        "them: %(default)s",
    )
    parser.add_argument(
        "-n",
        type=at_least_one,
        metavar="NUMBER",
        help=f"end after so many: {FEW}, unless --follow is given",
    )
    parser.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    parser.add_argument("--json", action="store_true", help="print an object on each line")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask again and again, and print what there is."""
    left = options.n if options.n or options.follow else FEW
    shown = 0
    for datum in _data(options):
        if options.json:
            print(json.dumps(datum), flush=True)
        else:
            if passed := datum["number"] - shown - 1:
                print(tinted(f"… {passed} more passed", "yellow"))
            print(_line(datum), flush=True)
        shown = datum["number"]
        if left is not None:
            left -= 1
            if not left:
                break
    return 0


def _data(options: argparse.Namespace) -> Iterator[Mapping[str, Any]]:
    """What passes, until nobody wants more."""
    tap = DeviceCommand(options.device, "Tap")
    after, heard, silent = 0, time.monotonic(), False
    while True:
        request = {"exchange": options.exchange, "where": options.where, "after": after}
        try:
            told = json.loads(tap(json.dumps(request)))
            data, passed = told["data"], told["passed"]
        except (ValueError, KeyError, TypeError) as error:
            failure(f"{options.device}: answers in another form: {error!r}; use its version")
        if data:
            heard, silent = time.monotonic(), False
        elif not silent and time.monotonic() - heard > SILENCE:
            silent = True
            why = f"queue-connector explain {options.device} '{options.exchange}' says why"
            print(f"nothing has passed for {SILENCE:g} s; {why}", file=sys.stderr)
        yield from data
        after = data[-1]["number"] if data else min(after, passed)
        time.sleep(PERIOD)


def _line(datum: Mapping[str, Any]) -> str:
    size = f"{datum['size']} B" if datum["size"] else ""
    parts = (datum["time"], datum.get("position", ""), datum["end"], size, datum["value"])
    told = "  ".join(part for part in parts if part)
    return f"{told}  {tinted(datum['error'], 'red')}" if "error" in datum else told
