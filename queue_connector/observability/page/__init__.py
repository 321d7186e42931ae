"""The status page: one document that shows a connector live, and changes nothing.

The browser asks for the document once, and then listens to server-sent events, each of them all
that is shown. They are made once for all who look, and for nobody when nobody does.

* safe      the document brings its script and its style, known by their hashes; nothing else is let
            in, from nowhere, and what a configuration or a peer has named is only ever text
* bounded   an event is made every `PERIOD` seconds, or as seldom as it takes to cost a fiftieth of
            the loop's time at most; it tells of `MAX_EXCHANGES` exchanges
* source    HTML Living Standard, "Server-sent events"; W3C, Content Security Policy Level 3
"""

from __future__ import annotations

import base64
import datetime
import hashlib
import json
import re
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping
from importlib import resources
from typing import Any

import attrs
import trio

from ...model.datatypes import Data
from ..explaining import Weight, explain
from ..http_server import Answer
from .drawing import drawn

PERIOD = 0.5
"""Seconds between two events for a page that is open."""

SHARE = 50
"""So many times as long as it took to make an event, the next one is not made."""

MAX_EXCHANGES = 600
"""Exchanges that an event tells of: those that stand first."""

MAX_REASONS = 100
"""Lines of what is wrong that an event tells, what weighs most first."""

Json = Mapping[str, Any]


@attrs.frozen
class Look:
    """What there is to be shown."""

    device: str
    state: str
    status: str
    groups: Json
    """As the device's attribute ``groups``."""
    statistics: Json
    """As its attribute ``statistics``."""
    values: Mapping[str, Data] = attrs.field(factory=dict)
    """The last datum of each exchange, by its name, as far as it is known."""


class StatusPage:
    """Shows what *look* tells."""

    def __init__(self, look: Callable[[], Look]) -> None:
        self._look = look
        self._text = resources.files(__package__).joinpath("status.html").read_text("utf-8")
        self._event = b""
        self._fresh_until = 0.0

    async def document(self, _headers: Mapping[str, str]) -> Answer:
        """The page itself."""
        await trio.lowlevel.checkpoint()
        return Answer(
            body=self._text.encode(),
            content_type="text/html; charset=utf-8",
            headers=(
                ("content-security-policy", policy(self._text)),
                ("x-content-type-options", "nosniff"),
                ("referrer-policy", "no-referrer"),
            ),
        )

    async def events(self, _headers: Mapping[str, str]) -> Answer:
        """What it listens to, until it goes away."""
        await trio.lowlevel.checkpoint()
        return Answer(content_type="text/event-stream; charset=utf-8", chunks=self._events())

    async def _events(self) -> AsyncGenerator[bytes, None]:
        yield b"retry: 1000\n\n"
        while True:
            yield self._latest()
            await trio.sleep_until(max(self._fresh_until, trio.current_time() + PERIOD / 2))

    def _latest(self) -> bytes:
        """The newest event; those who ask at the same time have the same one."""
        begun = trio.current_time()
        if begun >= self._fresh_until or not self._event:
            text = json.dumps(_compact(self._look()), separators=(",", ":"), default=str)
            self._event = b"data: " + text.encode() + b"\n\n"
            took = trio.current_time() - begun
            self._fresh_until = begun + max(PERIOD, SHARE * took)
        return self._event


def policy(document: str) -> str:
    """The content security policy of a document: its own script and style, and its own server."""
    hashes = {
        kind: " ".join(
            f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in re.findall(rf"<{kind}>(.*?)</{kind}>", document, re.DOTALL)
        )
        for kind in ("script", "style")
    }
    return (
        f"default-src 'none'; script-src {hashes['script']}; style-src {hashes['style']}; "
        "img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


def _compact(look: Look) -> dict[str, Any]:
    """What the page shows, with little more."""
    groups, statistics = look.groups, look.statistics
    now = datetime.datetime.now(datetime.UTC)
    reasons = [
        {"weight": reason.weight.name.lower(), "where": reason.where, "what": reason.what}
        for reason in explain(groups, statistics, now)
        if reason.weight is not Weight.TELLS
    ]
    left = MAX_EXCHANGES
    told = []
    for name, group in groups.items():
        shown = group["exchanges"][: max(left, 0)]
        left -= len(shown)
        told.append(
            {
                "name": name,
                "state": group["state"],
                "degraded": group["degraded"],
                "fault": group["fault"],
                "notes": group["notes"],
                "exchanges": [
                    _exchange(each, statistics[each], look.values)
                    for each in shown
                    if each in statistics
                ],
                "left_out": len(group["exchanges"]) - len(shown),
            }
        )
    return {
        "device": look.device,
        "state": look.state,
        "status": look.status,
        "time": now.isoformat(timespec="milliseconds"),
        "groups": told,
        "reasons": reasons[:MAX_REASONS],
        "reasons_left_out": max(0, len(reasons) - MAX_REASONS),
    }


def _exchange(name: str, ledger: Json, values: Mapping[str, Data]) -> dict[str, Any]:
    return {
        "value": drawn(values[name]) if name in values else None,
        "name": name,
        "paused": ledger["paused"],
        "counts": {key: ledger[key] for key in ("received", "delivered", "filtered", "in_flight")},
        "lost": sum(ledger["dropped"].values()) + sum(ledger["upstream"].values()),
        "failed": ledger["failed"],
        "latency": _mean(ledger["latency"]),
        "sources": list(_ends(ledger["sources"], "received")),
        "sinks": list(_ends(ledger["sinks"], "delivered")),
    }


def _ends(accounts: list[Json], key: str) -> Iterator[dict[str, Any]]:
    for account in accounts[:20]:
        condition = account["condition"]
        yield {
            "name": account["name"],
            "count": account[key],
            "waiting_for": condition["waiting_for"],
            "error": condition["error"] if condition["waiting_for"] else "",
            "last": condition["last_datum"],
        }
    if len(accounts) > 20:
        rest = accounts[20:]
        yield {
            "name": f"{len(rest)} more",
            "count": sum(account[key] for account in rest),
            "waiting_for": "",
            "error": "",
            "last": "",
        }


def _mean(latency: Json) -> float | None:
    """Milliseconds that data took, on average; None: there were none."""
    count = sum(latency["counts"])
    return round(1000 * latency["sum"] / count, 1) if count else None
