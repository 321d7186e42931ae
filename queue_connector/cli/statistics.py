"""``statistics``: what became of every datum of a running device."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from ..model import texts
from .common import DEFAULT_DEVICE, ask_device, failure, positive

if TYPE_CHECKING:
    from .common import Commands

COLUMNS = (
    "received",
    "delivered",
    "filtered",
    "dropped",
    "failed",
    "skipped",
    "dead_lettered",
    "in_flight",
    "queued",
)
"""The keys of a ledger that a table shows, in this order."""

NOT_COUNTED = "-"
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
        if options.watch is None or status:
            return status
        time.sleep(options.watch)


def _once(options: argparse.Namespace) -> int:
    told = ask_device(options.device, "statistics", "groups", "versionId")
    try:
        statistics, groups = json.loads(told[0]), json.loads(told[1])
        parts = list(_parts(statistics))
        wrong = [part.imbalance for part in parts if part.imbalance]
        text = _text(options.format, statistics, groups, told[2], parts)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        failure(f"{options.device}: tells statistics of another form: {error!r}; use its version")
    watching_a_table = options.watch is not None and options.format == "table"
    print((CLEAR if watching_a_table and sys.stdout.isatty() else "") + text, flush=True)
    if wrong and options.format != "table":
        print("\n".join(wrong), file=sys.stderr)
    return 1 if wrong else 0


def _text(format_: str, statistics: Any, groups: Any, version: str, parts: Sequence[_Part]) -> str:
    if format_ == "json":
        return json.dumps(statistics, indent=2)
    if format_ == "prometheus":
        from ..observability.exposition import text
        from ..observability.metrics import Snapshot

        snapshot = Snapshot(statistics=statistics, groups=groups, version=version)
        return text(snapshot).rstrip("\n")
    return "\n".join(_table(parts)) if parts else "nothing is configured"


# -- the table -------------------------------------------------------------------------------------


@attrs.frozen
class _Part:
    """An exchange, or with a ``kind`` one of its sources and sinks, and what it counts."""

    exchange: str
    kind: str
    name: str
    ledger: Mapping[str, Any]

    @property
    def title(self) -> str:
        return f"  {self.kind:6} {self.name}" if self.kind else self.exchange

    @property
    def cells(self) -> list[str]:
        return [self._cell(key) for key in COLUMNS]

    def _cell(self, key: str) -> str:
        value = self.ledger.get(key, NOT_COUNTED)
        return str(sum(value.values()) if isinstance(value, dict) else value)

    @property
    def imbalance(self) -> str:
        """What does not balance, in words; empty when all does."""
        ledger = self.ledger
        dropped = sum(ledger["dropped"].values())
        ends = ("delivered", "filtered", "failed", "in_flight")
        settled = dropped + sum(ledger.get(end, 0) for end in ends)
        if ledger["received"] == settled:
            return ""
        where = " ".join(filter(None, (self.exchange, self.kind, self.name)))
        return (
            f"{where}: does not balance: {ledger['received']} received, but delivered, filtered, "
            f"dropped, failed and in flight are {settled}"
        )


def _parts(statistics: Mapping[str, Any]) -> Iterator[_Part]:
    for name, ledger in statistics.items():
        exchange = texts.name(name)
        yield _Part(exchange, "", "", ledger)
        for kind in ("source", "sink"):
            for part in ledger.get(f"{kind}s", ()):
                yield _Part(exchange, kind, texts.name(part["name"]), part)


def _table(parts: Sequence[_Part]) -> Iterator[str]:
    """A table for each exchange, all with the same columns, and what is to be said below it."""
    titles = max(len(part.title) for part in parts)
    heads = [key.replace("_", " ") for key in COLUMNS]
    widths = [
        max(len(head), *(len(part.cells[index]) for part in parts))
        for index, head in enumerate(heads)
    ]

    def line(title: str, cells: Sequence[str]) -> str:
        right = (cell.rjust(width) for cell, width in zip(cells, widths, strict=True))
        return "  ".join((title.ljust(titles), *right))

    for exchange in dict.fromkeys(part.exchange for part in parts):
        mine = [part for part in parts if part.exchange == exchange]
        if exchange != parts[0].exchange:
            yield ""
        yield line("", heads)
        yield from (line(part.title, part.cells) for part in mine)
        for key, title in ("dropped", "dropped"), ("upstream", "before the sources"):
            if told := {what: count for what, count in mine[0].ledger[key].items() if count}:
                yield f"  {title}: " + ", ".join(f"{what} {told[what]}" for what in told)
        yield from [f"  {part.imbalance}" for part in mine if part.imbalance] or ["  balances"]
