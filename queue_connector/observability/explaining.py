"""Why a stream does not flow, or that it does, from what a device tells of itself.

`explain` takes what the device's attributes ``groups`` and ``statistics`` say. What stops a stream
comes first; then what costs it data; then what may be meant so.
"""

from __future__ import annotations

import datetime
import enum
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

Json = Mapping[str, Any]

QUIET = 60.0
"""Seconds without a datum after which it is told when the last one came."""

MANY = 100
"""Data that wait for a sink from which on it is told as slow."""

_STATES = {
    "INIT": "the device is starting",
    "STANDBY": "it has no configuration: write one, or use the command Configure",
    "OFF": "it is stopped, or all its sources have ended: the command Start begins anew",
    "CLOSE": "it is being stopped: what is in flight is delivered first",
}
"""Why nothing flows in a state in which nothing can."""


class Weight(enum.IntEnum):
    """What a reason means for the stream."""

    STOPS = 0
    COSTS = 1
    TELLS = 2


@attrs.frozen
class Reason:
    """One thing that is known of a stream."""

    weight: Weight
    where: str
    """The group, the exchange, or an end of it."""
    what: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}"


def explain(groups: Json, statistics: Json, now: datetime.datetime) -> list[Reason]:
    """All that is known, what weighs most first; *now* has a time zone."""
    found = [
        reason
        for name, group in groups.items()
        for reason in (*_of_group(name, group), *_of_exchanges(group, statistics, now))
    ]
    return sorted(found, key=lambda reason: reason.weight)


def _of_group(name: str, group: Json) -> Iterator[Reason]:
    state, fault = group["state"], group.get("fault")
    if fault:
        weight = Weight.STOPS if state == "FAULT" else Weight.COSTS
        goes_on = "" if state == "FAULT" else "; what was configured before goes on"
        yield Reason(weight, name, f"{state}: {fault['message']}{goes_on}")
    if state == "FAULT":
        yield Reason(Weight.TELLS, name, "the commands Reset, Configure and Start begin anew")
    elif state in _STATES:
        yield Reason(Weight.STOPS, name, f"{state}: {_STATES[state]}")
    for note in group.get("notes", ()):
        yield Reason(Weight.COSTS, name, note)


def _of_exchanges(group: Json, statistics: Json, now: datetime.datetime) -> Iterator[Reason]:
    opening = group.get("opening", ())
    for exchange in group["exchanges"]:
        ledger = statistics.get(exchange)
        if ledger is None:
            continue
        if exchange in opening:
            yield Reason(Weight.STOPS, exchange, "something of it is not there yet, see below")
        if since := ledger.get("paused"):
            what = f"paused since {since}: the command Resume has it go on where it was"
            yield Reason(Weight.STOPS, exchange, what)
        for kind in ("source", "sink"):
            for end in ledger.get(f"{kind}s", ()):
                where = f"{exchange} {kind} {end['name']}"
                yield from _of_end(where, end, is_sink=kind == "sink")
        yield from _of_ledger(exchange, ledger)
        if group["state"] == "ON" and not ledger.get("paused"):
            yield from _of_flow(exchange, ledger, now)


def _of_end(where: str, end: Json, *, is_sink: bool) -> Iterator[Reason]:
    """What is known of one end; data that wait for a sink wait because it is slow."""
    condition = end.get("condition", {})
    if condition.get("waiting_for"):
        error = f": {condition['error']}" if condition.get("error") else ""
        since = condition.get("since", "")
        what = f"waits for {condition['waiting_for']} since {since}{error}"
        yield Reason(Weight.STOPS, where, what)
    queued = end.get("queued", 0)
    if is_sink and queued >= MANY:
        what = f"takes data more slowly than they come: {queued} wait for it, and then the sources"
        yield Reason(Weight.COSTS, where, what)
    elif queued:
        yield Reason(Weight.TELLS, where, f"{queued} data wait in its queue")


def _of_ledger(exchange: str, ledger: Json) -> Iterator[Reason]:
    failed, dealt_with = ledger["failed"], ledger["skipped"] + ledger["dead_lettered"]
    if failed:
        how = f"{ledger['skipped']} skipped, {ledger['dead_lettered']} dead-lettered"
        could = "could not be used" if failed == dealt_with else "could not be used, and stopped it"
        yield Reason(Weight.COSTS, exchange, f"{_data(failed)} {could}: {how}")
    for reason, number in ledger["dropped"].items():
        if number:
            what = f"{_data(number)} given up: {reason}"
            yield Reason(Weight.COSTS, exchange, what)
    for kind, number in ledger.get("upstream", {}).items():
        if number:
            yield Reason(Weight.COSTS, exchange, f"before its sources: {number} x {kind}")
    if ledger["received"] and ledger["filtered"] == ledger["received"]:
        yield Reason(Weight.STOPS, exchange, "its pipe has left out every datum until now")


def _of_flow(exchange: str, ledger: Json, now: datetime.datetime) -> Iterator[Reason]:
    sources = ledger.get("sources", ())
    lags = [end["condition"]["lag"] for end in sources if "lag" in end.get("condition", {})]
    if not ledger["received"]:
        yield from (_nothing_came(exchange, end) for end in sources)
        return
    last = max((_time(end["condition"].get("last_datum", "")) for end in sources), default=None)
    age = (now - last).total_seconds() if last is not None and last.year > 1 else None
    behind = f", {sum(lags)} messages behind" if any(lags) else ""
    flight = f", {ledger['in_flight']} in flight" if ledger["in_flight"] else ""
    told = f"{ledger['received']} received, {ledger['delivered']} delivered{flight}{behind}"
    if age is not None:
        told += f"; the last came {age:.0f} s ago"
        if age > QUIET and not any(lags):
            told += ": its sources have sent nothing since"
    yield Reason(Weight.TELLS, exchange, told)


def _nothing_came(exchange: str, end: Json) -> Reason:
    """Why nothing has come of a source."""
    condition = end.get("condition", {})
    where = f"{exchange} source {end['name']}"
    if condition.get("waiting_for"):
        return Reason(Weight.TELLS, where, "nothing has come yet")
    if condition.get("end_offset") == 0:
        return Reason(Weight.STOPS, where, "the topic is empty: nobody has written to it yet")
    if "end_offset" in condition and not condition.get("lag"):
        what = (
            f"nothing has been written since it began, at the end of {condition['end_offset']} "
            'messages; "start": "earliest" reads those too'
        )
        return Reason(Weight.STOPS, where, what)
    if "pending" in condition:
        what = "subscribed, and no event has come; does the device push events of this attribute?"
        return Reason(Weight.STOPS, where, what)
    return Reason(Weight.STOPS, where, "connected, and nothing has come yet")


def _data(number: int) -> str:
    return f"{number} datum" if number == 1 else f"{number} data"


def _time(written: str) -> datetime.datetime:
    if not written:
        return datetime.datetime.min.replace(tzinfo=datetime.UTC)
    return datetime.datetime.fromisoformat(written)
