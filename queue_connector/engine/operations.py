"""What is done to one exchange while the others stream: pause, resume, restart; and its counts.

* pause     its sources hand over nothing; what they have handed over is delivered. They stay open:
            what comes meanwhile stays with them, as it does behind a slow sink
* ends      with `resume`, and with whatever stops the exchange; a change of the configuration that
            keeps the exchange keeps the pause
* state     that of the group stays what it is
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import trio

from ..model import texts
from ..model.datatypes import Data
from ..model.errors import StateError, UnknownExchangeError
from ..model.registry import did_you_mean
from .configured import ConfiguredExchange
from .glance import Glance
from .group import Group
from .state import Trigger, allowed
from .tap import LEASE, Tap

_AT_WORK = allowed(Trigger.STOP)

PLACES = ("source", "pipe", "sink")
"""Where an exchange can be tapped: what sources hand over, what the sinks are given, what became of
it at each of them."""

MOST_TAPS = 16
"""Taps that may be open at a time; each keeps some hundred kilobytes at most."""

MANY = 20
"""Names of exchanges that are told where one is not known."""


class Operations:
    """On the exchanges of *groups*, by their present names; restarts run in *nursery*.

    Every method raises `UnknownExchangeError` where no exchange has the name, and `StateError`
    where its group does not stream.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        groups: Mapping[str, Group],
        on_change: Callable[[Group], None],
        log: logging.Logger,
    ) -> None:
        self._nursery = nursery
        self._groups = groups
        self._on_change = on_change
        self._log = log
        self._taps: list[Tap] = []

    def find(self, name: str) -> tuple[Group, ConfiguredExchange]:
        """The exchange that has this name now, and its group, whatever its state."""
        names: dict[str, None] = {}
        for group in self._groups.values():
            for stream in group.streams:
                if stream.name.text == name:
                    return group, stream
                names[stream.name.text] = None
        listed = texts.first(list(names), MANY, "more")
        raise UnknownExchangeError(texts.name(name), did_you_mean(name, names, listed or ("none",)))

    def _at_work(self, name: str, command: str) -> tuple[Group, ConfiguredExchange]:
        group, stream = self.find(name)
        if group.state not in _AT_WORK:
            raise StateError(command, group.state, _AT_WORK)
        return group, stream

    def pause(self, name: str) -> None:
        """Have it take in nothing until it is resumed or stops; again changes nothing.

        Raises:
            StateError: also, the exchange has ended by itself.
        """
        group, stream = self._at_work(name, "Pause")
        if stream.exchange is None:
            raise StateError("Pause", f"{group.state}, where {stream.name} has ended", _AT_WORK)
        stream.pause()
        self._tell(group, stream, "paused")

    def resume(self, name: str) -> None:
        """Have it take in again what comes, and what its sources hold; else changes nothing."""
        group, stream = self._at_work(name, "Resume")
        stream.resume()
        self._tell(group, stream, "resumed")

    def restart(self, name: str) -> None:
        """Stop it in order and start it where it has stopped; returns when that has begun.

        A pause of it ends. What goes wrong takes the group to FAULT, as at every start. Again,
        while it is under way, changes nothing.
        """
        group, stream = self._at_work(name, "Restart")
        if not stream.restarting:
            stream.restarting = True
            self._nursery.start_soon(self._restart, group, stream)
            self._tell(group, stream, "is restarted")

    async def _restart(self, group: Group, stream: ConfiguredExchange) -> None:
        try:
            await group.restart(stream)
        finally:
            stream.restarting = False
            self._on_change(group)

    def tap(self, name: str, where: str, after: int) -> dict[str, Any]:
        """What passes at its ``source``, ``pipe`` or ``sink``, see `Tap.tell`; opens a tap there.

        Raises:
            StateError: also, it has ended, or too many taps are open.
        """
        group, stream = self._at_work(name, "Tap")
        exchange = stream.exchange
        if exchange is None:
            raise StateError("Tap", f"{group.state}, where {stream.name} has ended", _AT_WORK)
        place: Any = exchange.inlets if where == "source" else exchange.outlets
        slot = "tap_of_sinks" if where == "sink" else "tap"
        tap: Tap | None = getattr(place, slot)
        if tap is None or not tap.is_open:
            self._taps = [each for each in self._taps if each.is_open]
            if len(self._taps) >= MOST_TAPS:
                there = f"{group.state} with {MOST_TAPS} taps, which close {LEASE:g} s after use"
                raise StateError("Tap", there, _AT_WORK)
            tap = Tap()
            setattr(place, slot, tap)
            self._taps.append(tap)
        return tap.tell(after)

    def last_values(self) -> dict[str, Data]:
        """The last datum of each exchange, by its name, as far as one came since this was asked."""
        found = {}
        for group in self._groups.values():
            for stream in group.streams:
                if stream.exchange is not None:
                    outlets = stream.exchange.outlets
                    outlets.glance = outlets.glance or Glance()
                    if (value := outlets.glance.asked()) is not None:
                        found[stream.name.text] = value
        return found

    def reset_statistics(self) -> None:
        """Have every ledger count from zero; what is in flight stays received."""
        for group in self._groups.values():
            for stream in group.streams:
                stream.reset_statistics()
        self._log.info("the statistics were reset")

    def _tell(self, group: Group, stream: ConfiguredExchange, what: str) -> None:
        self._log.info("%s: %s by command", stream.name, what)
        self._on_change(group)
