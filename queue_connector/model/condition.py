"""How one endpoint of an exchange is: well, or waiting for what, since when, and why.

An endpoint says it where it finds it out, in whatever thread: `Condition.waits` when it cannot go
on, `Condition.is_well` when it can. What can be counted at any moment, such as what waits in a
queue, stands in `Condition.gauges`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import attrs

from .timescale import utc_now


@attrs.define(eq=False)
class Condition:
    """What is known of one source or sink; any thread may read it and say what is new.

    ``gauges`` are asked on the Trio thread whenever somebody wants to know; they must not block.
    """

    connected: bool = False
    """Whether its peer has answered, and not failed since."""
    waiting_for: str = ""
    """What it cannot go on without, for people; empty: it can go on."""
    since: str = ""
    """Since when it waits, ISO 8601 in UTC."""
    error: str = ""
    """The latest thing that went wrong; it stays when all is well again."""
    paused: str = ""
    """Since when a source hands over nothing, as it was told to; ISO 8601 in UTC. It is well."""
    gauges: dict[str, Callable[[], int]] = attrs.field(factory=dict)
    """Numbers of the moment: ``queued``, ``under_way``, ``pending``, ``end_offset``, ``lag``,
    and ``partitions`` and ``rebalances`` of a source that shares a topic."""

    def waits(self, for_what: str, error: str = "") -> None:
        """It cannot go on without this."""
        self.connected = False
        if error:
            self.error = error
        if not self.waiting_for:
            self.since = utc_now()
        self.waiting_for = for_what

    def is_well(self) -> None:
        """Its peer has answered, and it can go on."""
        self.connected = True
        self.waiting_for = self.since = ""

    def closed(self) -> None:
        """It was stopped: it waits for nothing, and is not connected."""
        self.connected = False
        self.waiting_for = self.since = self.paused = ""

    def numbers(self) -> dict[str, int]:
        """What the gauges say now; one that cannot be asked is left out, and harms nobody."""
        found = {}
        for name, gauge in list(self.gauges.items()):
            with suppress(Exception):
                found[name] = gauge()
        return found

    def as_dict(self) -> dict[str, Any]:
        """What is known, for people and for JSON; asked on the Trio thread."""
        return {
            "connected": self.connected,
            "waiting_for": self.waiting_for,
            "since": self.since,
            "error": self.error,
            "paused": self.paused,
            **self.numbers(),
        }
