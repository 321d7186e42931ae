"""``statistics``: what became of every datum of a running device."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from typing import Any

from .accounts import Part, parts_of, table
from .asking import DeviceCommand, ask_device
from .common import DEFAULT_DEVICE, Commands, failure, positive

CLEAR = "\x1b[H\x1b[2J"


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    statistics = commands.add_parser(
        "statistics",
        help=words,
        description="Print the ledger of each exchange of a running device, and of each of its "
        "sources and sinks, and whether they balance: received = delivered + filtered + dropped + "
        "failed + in flight. Skipped and dead-lettered data are among the failed. Exit status 1 "
        "when a ledger does not balance, or when the device cannot be asked.",
    )
    statistics.add_argument(
        "device",
        nargs="?",
        default=DEFAULT_DEVICE,
        metavar="DEVICE",
        help="its Tango name; without a database tango://HOST:PORT/a/b/c#dbase=no: %(default)s",
    )
    statistics.add_argument(
        "--format",
        choices=("table", "json", "prometheus"),
        default="table",
        help="for people, as the device tells it, or as metrics: %(default)s",
    )
    statistics.add_argument(
        "--json",
        dest="format",
        action="store_const",
        const="json",
        help="the same as --format json",
    )
    how_often = statistics.add_mutually_exclusive_group()
    how_often.add_argument(
        "--reset",
        action="store_true",
        help="have the device count from zero, once that is printed; what comes in between is lost "
        "to the counts",
    )
    how_often.add_argument(
        "--watch",
        type=positive,
        metavar="SECONDS",
        help="ask again every so many seconds, until Ctrl-C or until a ledger does not balance",
    )
    statistics.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask and print, once or again and again."""
    while True:
        status = _once(options)
        if options.reset:
            DeviceCommand(options.device, "ResetStatistics")()
        if options.watch is None or status:
            return status
        time.sleep(options.watch)


def _once(options: argparse.Namespace) -> int:
    told = ask_device(options.device, "statistics", "groups", "versionId")
    try:
        statistics, groups = json.loads(told[0]), json.loads(told[1])
        parts = list(parts_of(statistics))
        wrong = [part.imbalance for part in parts if part.imbalance]
        text = _text(options.format, statistics, groups, told[2], parts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        failure(f"{options.device}: tells statistics of another form: {error!r}; use its version")
    watching_a_table = options.watch is not None and options.format == "table"
    print((CLEAR if watching_a_table and sys.stdout.isatty() else "") + text, flush=True)
    if wrong and options.format != "table":
        print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


def _text(format_: str, statistics: Any, groups: Any, version: str, parts: Sequence[Part]) -> str:
    if format_ == "json":
        return json.dumps(statistics, indent=2)
    if format_ == "prometheus":
        from ..observability.exposition import text
        from ..observability.metrics import Snapshot

        snapshot = Snapshot(statistics=statistics, groups=groups, version=version)
        return text(snapshot).rstrip("\n")
    return "\n".join(table(parts)) if parts else "nothing is configured"
