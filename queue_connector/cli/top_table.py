"""What ``top`` shows: a row for each exchange, made of what devices tell one after the other."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from ..model import texts

KEYS = "q ends, s sorts by the next column, r turns the order round, / filters, arrows scroll"

NONE = "-"

Json = Mapping[str, Any]


@attrs.frozen
class Seen:
    """What a device told at one time, or why it told nothing; ``at`` is in seconds."""

    device: str
    at: float
    groups: Json = attrs.field(factory=dict)
    statistics: Json = attrs.field(factory=dict)
    trouble: str = ""


@attrs.frozen
class Row:
    """One exchange; a number is None where it is not known."""

    device: str
    exchange: str
    state: str
    rate_in: float | None = None
    rate_out: float | None = None
    in_flight: int | None = None
    queued: int | None = None
    lag: int | None = None
    dropped: int | None = None
    failed: int | None = None
    age: float | None = None
    recent: tuple[float, ...] = ()
    """Data out per second at the last looks, the oldest first."""


def _count(value: float | None) -> str:
    return NONE if value is None else f"{value:.0f}"


def _rate(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}"


def _age(value: float | None) -> str:
    if value is None:
        return NONE
    for seconds, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if value >= seconds:
            return f"{value / seconds:.0f} {unit}"
    return f"{value:.1f} s"


COLUMNS: Sequence[tuple[str, str, Callable[[Any], str]]] = (
    ("exchange", "exchange", texts.name),
    ("state", "state", str),
    ("in/s", "rate_in", _rate),
    ("out/s", "rate_out", _rate),
    ("in flight", "in_flight", _count),
    ("queued", "queued", _count),
    ("lag", "lag", _count),
    ("dropped", "dropped", _count),
    ("failed", "failed", _count),
    ("last", "age", _age),
)
"""Head, key of `Row`, and how a value is written."""

RECENT = 20
"""Looks whose rates are drawn."""

_LEVELS = "▁▂▃▄▅▆▇█"
_WIDEST = 60
_TEXTS = 2  # columns from the left that hold texts


def rows(before: Seen | None, now: Seen, clock: datetime.datetime) -> Iterator[Row]:
    """A row for each exchange of a device, and for each group without one."""
    if now.trouble:
        yield Row(now.device, "", now.trouble)
    for name, group in now.groups.items():
        exchanges = group["exchanges"]
        if not exchanges:
            yield Row(now.device, name, group["state"])
        for exchange in exchanges:
            if (ledger := now.statistics.get(exchange)) is not None:
                earlier = before.statistics.get(exchange) if before is not None else None
                span = now.at - before.at if before is not None else 0.0
                yield _row(now.device, exchange, group, ledger, (earlier, span, clock))


def _row(
    device: str,
    exchange: str,
    group: Json,
    ledger: Json,
    times: tuple[Json | None, float, datetime.datetime],
) -> Row:
    earlier, span, clock = times
    conditions = [each.get("condition", {}) for each in ledger["sources"]]
    lags = [each["lag"] for each in conditions if "lag" in each]
    last = max((each.get("last_datum", "") for each in conditions), default="")
    age = (clock - datetime.datetime.fromisoformat(last)).total_seconds() if last else None
    return Row(
        device,
        exchange,
        _state(group, ledger),
        _per_second("received", ledger, earlier, span),
        _per_second("delivered", ledger, earlier, span),
        ledger["in_flight"],
        ledger.get("queued"),
        sum(lags) if lags else None,
        sum(ledger["dropped"].values()),
        ledger["failed"],
        max(0.0, age) if age is not None else None,
    )


def _state(group: Json, ledger: Json) -> str:
    if ledger.get("paused"):
        return f"{group['state']} paused"
    ends = (*ledger["sources"], *ledger["sinks"])
    waits = any(end.get("condition", {}).get("waiting_for") for end in ends)
    return f"{group['state']} waits" if waits else str(group["state"])


def _per_second(key: str, ledger: Json, earlier: Json | None, span: float) -> float | None:
    if earlier is None or span <= 0 or ledger[key] < earlier[key]:  # it counts from zero again
        return None
    return float((ledger[key] - earlier[key]) / span)


def _drawn(rates: Sequence[float]) -> str:
    """A character for each, as high as it is beside the highest."""
    most = max(rates, default=0.0) or 1.0
    return "".join(_LEVELS[round((len(_LEVELS) - 1) * rate / most)] for rate in rates)


def arranged(found: Sequence[Row], by: str, *, reverse: bool, only: str = "") -> list[Row]:
    """Those whose name or state has *only* in it, sorted; what is not known comes last."""
    wanted = [each for each in found if only.lower() in f"{each.exchange} {each.state}".lower()]
    known = [each for each in wanted if getattr(each, by) is not None]
    unknown = [each for each in wanted if getattr(each, by) is None]
    return [*sorted(known, key=lambda each: getattr(each, by), reverse=reverse), *unknown]


def lines(shown: Sequence[Row], *, devices: bool) -> list[str]:
    """A head, and a line for each row; with *devices*, whose it is, where there are several.

    The rates of several looks are drawn at the end of each line.
    """
    heads = [head for head, _, _ in COLUMNS]
    cells = [[write(getattr(each, key)) for _, key, write in COLUMNS] for each in shown]
    if devices:
        heads.insert(0, "device")
        for row, each in zip(cells, shown, strict=True):
            row.insert(0, texts.name(each.device))
    if any(len(each.recent) > 1 for each in shown):
        heads.append("out/s lately".ljust(RECENT))
        for row, each in zip(cells, shown, strict=True):
            row.append(_drawn(each.recent).ljust(RECENT))
    count = _TEXTS + devices
    widths = [min(_WIDEST, max(map(len, column))) for column in zip(heads, *cells, strict=True)]
    return [
        "  ".join(
            cell.ljust(width) if number < count else cell.rjust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in (heads, *cells)
    ]
