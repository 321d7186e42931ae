"""How the groups of a device are, for people and programs: status, health, and what waits.

One task looks at the conditions of all endpoints, `watch`: it tells of changes, and its log lines
remind of what lasts. It costs nothing that grows with the data.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

import attrs
import trio

from ..model import texts
from ..model.errors import counted
from .group import Group
from .state import Health, State

MAX_FAULT_LINE = 1000
"""Characters of a group's fault in the status; all of it stands in its record."""

MAX_STATUS = 32_768
"""Characters of the status."""

MANY_GROUPS = 30
"""Groups that have room in the status, whatever is wrong with them."""

MAX_TROUBLES = 20
"""Endpoints of a group that have a line of their own in the status."""

MAX_ENDPOINTS = 500
"""Endpoints whose conditions stand in the attribute ``groups``, of all groups together."""

LOOK_PERIOD = 1.0
"""Seconds between two looks at the conditions of all endpoints."""

REMINDER_PERIOD = 60.0
"""Seconds between two log lines about an endpoint that waits."""

MAX_REMINDERS = 20
"""Log lines that remind of endpoints that wait, at one time."""

Groups = Mapping[str, Group]


@attrs.frozen
class Shown:
    """How one group is shown; kept with it, as one of a thousand changes at a time."""

    text: str
    health: Health


def _shown(group: Group) -> Shown:
    shown: Shown = group.shown or _show(group)
    group.shown = shown
    return shown


def _show(group: Group) -> Shown:
    exchanges = counted(len(group.exchanges), "exchange")
    troubles = [line for _, line in group.troubles()]
    at_work = group.state in (State.OPEN, State.ON)
    degraded = ", degraded" if troubles and at_work else ""
    fault = f": {texts.one_line(group.fault.message, MAX_FAULT_LINE)}" if group.fault else ""
    more = texts.first(troubles, MAX_TROUBLES, "more endpoints wait")
    paused = [f"{each.name} is paused since {each.paused}" for each in group.streams if each.paused]
    more += texts.first(paused, MAX_TROUBLES, "more exchanges are paused")
    first = f"{texts.name(group.name)}: {group.state}{degraded}, {exchanges}{fault}"
    health = Health.DEGRADED if troubles or group.fault else Health.OK
    if group.state is State.FAULT:
        health = Health.FAILED
    return Shown("\n  ".join([first, *more]), health)


def health(groups: Groups) -> Health:
    """Whether what is configured is done."""
    return max((_shown(group).health for group in groups.values()), default=Health.OK)


def status(groups: Groups) -> str:
    """The state in words, a line per group, and below it one for each endpoint that waits.

    Where groups are many, those with faults come first, then those that are degraded.
    """
    if not groups:
        return "STANDBY: not configured"
    shown = list(groups.values())
    if len(shown) > MANY_GROUPS:
        shown.sort(key=lambda group: (group.fault is None, -_shown(group).health))
    return texts.within((_shown(group).text for group in shown), MAX_STATUS, "more groups")


def totals(groups: Groups) -> dict[str, int]:
    """What the ledgers of all exchanges count together, and how many of them are paused."""
    streams = [stream for group in groups.values() for stream in group.streams]
    for stream in streams:
        stream.collect()
    ledgers = [stream.ledger for stream in streams]
    return {
        "received": sum(ledger.received for ledger in ledgers),
        "delivered": sum(ledger.delivered for ledger in ledgers),
        "filtered": sum(ledger.filtered for ledger in ledgers),
        "dropped": sum(ledger.dropped.total() for ledger in ledgers),
        "failed": sum(ledger.failed for ledger in ledgers),
        "in_flight": sum(ledger.in_flight for ledger in ledgers),
        "upstream": sum(ledger.upstream.total() for ledger in ledgers),
        "paused": sum(bool(stream.paused) for stream in streams),
    }


def as_dict(groups: Groups) -> dict[str, Any]:
    """State, fault, exchanges and endpoints of every group, `MAX_ENDPOINTS` of them all."""
    most = max(1, MAX_ENDPOINTS // max(1, len(groups)))
    return {name: group_as_dict(group, most) for name, group in groups.items()}


def group_as_dict(group: Group, most: int = MAX_ENDPOINTS) -> dict[str, Any]:
    """The same of one group; of the endpoints *most*, those that cannot go on before the others."""
    endpoints = [each for stream in group.streams for each in stream.endpoints()]
    endpoints.sort(key=lambda each: not each["waiting_for"])
    return {
        "state": group.state.value,
        "degraded": group.degraded,
        "revision": group.revision,
        "fault": attrs.asdict(group.fault) if group.fault else None,
        "exchanges": [stream.name.text for stream in group.streams],
        "notes": list(group.notes),
        "paused": [stream.name.text for stream in group.streams if stream.paused],
        "opening": [stream.name.text for stream in group.streams if stream.opening],
        "endpoints": endpoints[:most],
        "endpoints_left_out": max(0, len(endpoints) - most),
    }


async def watch(groups: Groups, on_change: Callable[[], None], log: logging.Logger) -> None:
    """Look at every endpoint once in a while: tell of changes, and remind of what lasts."""
    told, reminded = _troubles(groups), dict[Hashable, float]()
    surprise = ""
    while True:
        await trio.sleep(LOOK_PERIOD)
        try:
            if (troubles := _troubles(groups)) != told:
                told = troubles
                for group in groups.values():
                    group.shown = None
                on_change()
            reminded = _remind(troubles, reminded, log)
        except Exception as error:  # whatever it is, it must not end this task
            if repr(error) != surprise:
                surprise = repr(error)
                log.exception("the conditions of endpoints cannot be told")


def _troubles(groups: Groups) -> dict[Hashable, str]:
    return dict(trouble for group in groups.values() for trouble in group.troubles())


def _remind(
    troubles: Mapping[Hashable, str], since: Mapping[Hashable, float], log: logging.Logger
) -> dict[Hashable, float]:
    """Log what lasts; gives what there is to remind of, and when it was reminded of."""
    now = trio.current_time()
    reminded = {what: since.get(what, now) for what in troubles}
    due = [what for what, then in reminded.items() if now - then >= REMINDER_PERIOD]
    lines: Sequence[str] = [troubles[what] for what in due]
    for line in texts.first(lines, MAX_REMINDERS, "more endpoints wait, see groups"):
        log.warning("%s", line)
    return {**reminded, **dict.fromkeys(due, now)}
