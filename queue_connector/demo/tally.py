"""What every station of the way counted, and whether it agrees.

A datum is counted at eight places, each by who is there: the dish, the connector, the pipeline,
the telescope. Nothing is computed from another station's count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any

import attrs

from .routes import Dish

STATIONS = (
    "dish handed out",
    "connector received",
    "topic has",
    "pipeline read",
    "pipeline wrote",
    "connector received",
    "attribute published",
    "telescope got",
)
"""The way of a datum. A dish hands out what it pushes, and the value that a subscriber reads."""

_PLACES = "connector", "topic", "pipeline", "topic", "connector", "attribute", "telescope"
"""Where the data went from the dish, in short."""

_NO_LEDGER: dict[str, Any] = {"received": 0, "delivered": 0, "failed": 0, "in_flight": 0}


@attrs.define
class Tally:
    """The latest counts of all stations; whoever has new ones puts them here."""

    dishes: Sequence[Dish]
    handed_out: Sequence[tuple[int, int]] = ()
    """Events pushed and values read, by dish."""
    ledgers: Mapping[str, Any] = attrs.field(factory=dict)
    """By exchange, as the connector's statistics have them."""
    pipeline: Mapping[str, Any] = attrs.field(factory=dict)
    """By dish, as the pipeline reports them."""
    telescope: Mapping[str, int] = attrs.field(factory=dict)
    """Events by dish; the telescope keeps it up to date."""
    trouble: Mapping[str, int] = attrs.field(factory=dict)
    """Error events of the telescope by reason; kept up to date as well."""

    def ledger(self, exchange: str) -> Mapping[str, Any]:
        """The counts of one exchange."""
        return {**_NO_LEDGER, **self.ledgers.get(exchange, {})}

    def way(self, dish: Dish) -> list[int]:
        """The counts of one dish's data at each of `STATIONS`."""
        pointings = self.ledger(dish.pointings_exchange)
        offsets = self.ledger(dish.offsets_exchange)
        pipeline = self.pipeline.get(dish.name, {})
        return [
            sum(self.handed_out[dish.number]) if self.handed_out else 0,
            pointings["received"],
            pointings["delivered"],
            pipeline.get("read", 0),
            pipeline.get("written", 0),
            offsets["received"],
            offsets["delivered"],
            self.telescope.get(dish.name, 0),
        ]

    def totals(self) -> list[int]:
        """The counts of all dishes together at each of `STATIONS`."""
        return [sum(counts) for counts in zip(*map(self.way, self.dishes), strict=True)]

    def disagreements(self) -> Iterator[str]:
        """Every pair of neighbours that differs, and everything that did not arrive."""
        for dish in self.dishes:
            for (here, before), (there, after) in pairwise(
                zip(STATIONS, self.way(dish), strict=True)
            ):
                if before != after:
                    yield f"{dish.name}: {here} {before}, but {there} {after}"
            for exchange in (dish.pointings_exchange, dish.offsets_exchange):
                ledger = self.ledger(exchange)
                for what in ("failed", "in_flight"):
                    if ledger[what]:
                        yield f"{exchange}: {ledger[what]} {what.replace('_', ' ')}"
                for what in ("dropped", "upstream"):
                    for reason, count in ledger.get(what, {}).items():
                        yield f"{exchange}: {what} {count} ({reason})"
            if failed := self.pipeline.get(dish.name, {}).get("failed", 0):
                yield f"{dish.name}: the pipeline could not write {failed}"
        for reason, count in self.trouble.items():
            yield f"telescope: {count} error events ({reason})"

    def summary(self) -> Iterator[str]:
        """The counts as two tables: by exchange, and along the way."""
        rows = [["exchange", "route", "in", "out", "dropped", "failed", "in flight"]]
        for name, route in [
            *((dish.pointings_exchange, dish.pointings_route) for dish in self.dishes),
            *((dish.offsets_exchange, dish.offsets_route) for dish in self.dishes),
        ]:
            ledger = self.ledger(name)
            dropped = sum(ledger.get("dropped", {}).values())
            numbers = (ledger["received"], ledger["delivered"], dropped, ledger["failed"])
            rows.append([name, route, *map(str, numbers), str(ledger["in_flight"])])
        yield from table(rows, texts=2)
        yield ""
        rows = [["dish", "pushed + read", *(f"→ {place}" for place in _PLACES)]]
        for dish in self.dishes:
            pushed, read = self.handed_out[dish.number]
            _, *counts = self.way(dish)
            rows.append([dish.name, f"{pushed} + {read}", *map(str, counts)])
        yield from table(rows)


def table(rows: Sequence[Sequence[str]], *, texts: int = 1) -> Iterator[str]:
    """Rows as aligned lines: the first *texts* columns to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = [
            cell.ljust(width) if index < texts else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()
