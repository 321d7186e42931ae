"""Ledgers as a table, as a device tells them in its attribute ``statistics``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import attrs

from ..model import texts

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


@attrs.frozen
class Part:
    """An exchange, or with a ``kind`` one of its sources and sinks, and what it counts."""

    exchange: str
    kind: str
    name: str
    ledger: Mapping[str, Any]

    @property
    def title(self) -> str:
        """Whose line it is."""
        return f"  {self.kind:6} {self.name}" if self.kind else self.exchange

    @property
    def cells(self) -> list[str]:
        """The numbers of its line."""
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


def parts_of(statistics: Mapping[str, Any]) -> Iterator[Part]:
    """Every exchange, each followed by its sources and sinks."""
    for name, ledger in statistics.items():
        exchange = texts.name(name)
        yield Part(exchange, "", "", ledger)
        for kind in ("source", "sink"):
            for part in ledger.get(f"{kind}s", ()):
                yield Part(exchange, kind, texts.name(part["name"]), part)


def table(parts: Sequence[Part]) -> Iterator[str]:
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
