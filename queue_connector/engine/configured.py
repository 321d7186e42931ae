"""One exchange of a group, over all its sessions: its ledger, its conditions, start and stop.

An exchange begins to stream as soon as everything of it is there, and so are the exchanges of its
group that read what it writes: those would miss what it writes earlier. It waits for no other.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

import attrs
import trio

from ..model import texts
from ..model.condition import Condition
from ..model.errors import ExchangeError
from ..model.exchanges import ExchangeDescriptor
from ..model.ledger import Account, Ledger
from ..model.outcome import ABORTED
from ..model.services import AttributeHost, ExchangeName
from ..model.shared import Shared
from ..model.timescale import utc_now, utc_text
from ..runtime.logs import exchange_name
from .exchange import Exchange
from .inlets import Marks

PATIENCE = 1.0
"""Seconds after which an exchange that is opening is told as one that waits."""

MANY = 100
"""Data in a queue from which on it is told of one, beside endpoints that wait."""

MAX_ERROR = 300
"""Characters of an endpoint's last error that are told on a line."""


Trouble = tuple[Hashable, str]
"""What cannot go on, and a line about it."""


@attrs.define(eq=False)
class ConfiguredExchange:
    """An exchange as it is configured."""

    descriptor: ExchangeDescriptor
    name: ExchangeName = attrs.field(factory=lambda: ExchangeName(""))
    ledger: Ledger = attrs.field(init=False)
    conditions: list[Condition] = attrs.field(init=False)
    """Of its sources, of its sinks, and of its error policy."""
    exchange: Exchange | None = None
    """The exchange at work, while one is."""
    streaming: bool = False
    """Whether it has begun to stream."""
    paused: str = ""
    """Since when it takes in nothing, as it was told to; ISO 8601 in UTC."""
    restarting: bool = False
    """Whether it was told to stop and to begin anew, and has not begun yet."""
    restarts: int = 0
    """How often it has begun anew, as it was told to, since its ledger counts."""
    started: trio.Event = attrs.field(factory=trio.Event)
    """Everything of it is there, or it has ended."""
    ended: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    _opening_since: float = 0.0

    @ledger.default
    def _new_ledger(self) -> Ledger:
        return Ledger(
            [source.label for source in self.descriptor.sources],
            [sink.label for sink in self.descriptor.sinks],
        )

    @conditions.default
    def _new_conditions(self) -> list[Condition]:
        ends = (*self.descriptor.sources, *self.descriptor.sinks, self.descriptor.error_policy)
        return [Condition() for _ in ends]

    # -- its life ----------------------------------------------------------------------------------

    def build(
        self,
        shared: Shared,
        attributes: AttributeHost | None,
        log: logging.Logger,
        on_fault: Callable[[ExchangeError], None],
        marks: Marks,
    ) -> None:
        """Make the exchange for another session; it goes on where *marks* say."""
        self.started, self.ended = trio.Event(), trio.Event()
        self.scope = trio.CancelScope()
        self.streaming = False
        self._opening_since = trio.current_time()
        self.exchange = Exchange.build(
            self.name,
            self.descriptor,
            self.ledger,
            attributes,
            log,
            on_fault,
            shared=shared,
            conditions=self.conditions,
        )
        self.exchange.inlets.take_up(marks)

    async def run(
        self,
        readers: Sequence[ConfiguredExchange],
        on_started: Callable[[], None],
        log: logging.Logger,
    ) -> None:
        """Stream from the start to the stop, once *readers* have started.

        Raises:
            ExchangeError: see `Exchange.run`.
        """
        exchange = self.exchange
        assert exchange is not None
        before = self.ledger.dropped[ABORTED.detail]
        exchange_name.set(self.name)
        try:
            with self.scope:
                async with exchange:
                    self.started.set()
                    on_started()
                    for reader in readers:
                        await reader.started.wait()
                    self.streaming = True
                    await exchange.run()
        finally:
            self.exchange = None
            self.paused = ""
            for condition in self.conditions:
                condition.closed()
                condition.gauges.clear()
            self.started.set()
            self.ended.set()
            if (lost := self.ledger.dropped[ABORTED.detail] - before) > 0:
                grace = " after the stop grace" if self.scope.cancelled_caught else ""
                told = f"{lost} data in flight were not delivered, as far as is known"
                log.warning("%s: cut off%s: %s", self.name, grace, told)

    def request_stop(self, grace: float) -> None:
        """End in order within *grace* seconds; one that has not begun to stream ends at once."""
        if self.exchange is not None and self.streaming:
            self.exchange.request_stop()
            self.scope.deadline = min(self.scope.deadline, trio.current_time() + grace)
        else:
            self.scope.cancel()

    def pause(self) -> None:
        """Take in nothing until `resume`, or until it stops; what was taken in is delivered."""
        if self.exchange is not None and not self.paused:
            self._set_paused(utc_now())
            self.exchange.inlets.pause()

    def resume(self) -> None:
        """Take in again what comes, and what the sources have held meanwhile."""
        if self.exchange is not None and self.paused:
            self._set_paused("")
            self.exchange.inlets.go_on()

    def _set_paused(self, since: str) -> None:
        self.paused = since
        for condition in self.conditions[: len(self.ledger.sources)]:
            condition.paused = since

    def reset_statistics(self) -> None:
        """Count from zero; what is in flight stays received."""
        self.collect()
        self.ledger.reset()
        self.restarts = 0

    def collect(self) -> None:
        """Bring the ledger up to date with what sources and sinks know in other threads."""
        if self.exchange is not None:
            self.exchange.collect()

    # -- how it is ---------------------------------------------------------------------------------

    @property
    def opening(self) -> bool:
        """Whether something of it is not there yet, for longer than that takes."""
        waits = self.exchange is not None and not self.started.is_set()
        return waits and trio.current_time() >= self._opening_since + PATIENCE

    @property
    def degraded(self) -> bool:
        """Whether it is at work, and something of it cannot go on."""
        return self.opening or any(condition.waiting_for for condition in self.conditions)

    def _endpoints(self) -> Iterator[tuple[str, Account, Condition]]:
        *ends, of_policy = self.conditions
        accounts = (*self.ledger.sources, *self.ledger.sinks)
        kinds = ["source"] * len(self.ledger.sources) + ["sink"] * len(self.ledger.sinks)
        yield from zip(kinds, accounts, ends, strict=True)
        if of_policy.connected or of_policy.waiting_for:  # one that has a peer
            yield "on_error", Account("on_error"), of_policy

    def troubles(self) -> Iterator[Trouble]:
        """What of it cannot go on, and what waits because of that."""
        if not self.degraded:
            return
        if self.opening:
            yield self, f"{self.name} is opening"
        for _, account, condition in self._endpoints():
            where = texts.name(f"{self.name}: {account.name}")
            queued = condition.numbers().get("queued", 0)
            if condition.waiting_for:
                error = texts.one_line(condition.error, MAX_ERROR)
                told = texts.one_line(condition.waiting_for, MAX_ERROR)
                why = f": {error}" if error else ""
                since = f"waits for {told} since {condition.since}"
                yield condition, f"{where} {since}{why}{_many(queued)}"
            elif queued >= MANY:
                yield condition, f"{where}{_many(queued)}"

    def endpoints(self) -> Iterator[dict[str, Any]]:
        """The condition of each end, for JSON."""
        for kind, account, condition in self._endpoints():
            yield {
                "exchange": self.name.text,
                "kind": kind,
                "name": account.name,
                **condition_of(account, condition),
            }

    def statistics(self) -> dict[str, Any]:
        """The ledger, and beside it the conditions of its ends, for JSON.

        ``queued`` is what waits: at a source what it has not handed over, which is in no account
        yet; at a sink what is handed on to it, which is in flight. Of the exchange it is what is
        in no account yet. ``buffered`` is what waits in front of its pipe, which is in flight.
        """
        self.collect()
        told = self.ledger.as_dict()
        endpoints = list(self._endpoints())
        parts = (*told["sources"], *told["sinks"])
        for part, (_, account, condition) in zip(parts, endpoints, strict=False):
            part["condition"] = found = condition_of(account, condition)
            part["queued"] = found.get("queued", 0)
        told["queued"] = sum(part["queued"] for part in told["sources"])
        told["latency"] = self.ledger.latency.as_dict()
        told["paused"] = self.paused
        told["restarts"] = self.restarts
        told["buffered"] = self.exchange.buffered if self.exchange is not None else 0
        return told


def condition_of(account: Account, condition: Condition) -> dict[str, Any]:
    """The condition of an end, with the time of its last datum."""
    last = utc_text(account.last) if account.last else ""
    return {**condition.as_dict(), "last_datum": last}


def _many(queued: int) -> str:
    """How much waits, told so that it changes seldom."""
    if queued < MANY:
        return ""
    return f"; {10 ** (len(str(queued)) - 1)} or more data wait in its queue"


def feeding(
    streams: Sequence[ConfiguredExchange],
) -> dict[ConfiguredExchange, list[ConfiguredExchange]]:
    """Of each stream, those that read what it writes."""
    readers: dict[Hashable, list[ConfiguredExchange]] = defaultdict(list)
    for stream in streams:
        for key in stream.descriptor.reads():
            readers[key].append(stream)
    return {
        stream: [
            reader
            for key in stream.descriptor.writes()
            for reader in readers.get(key, ())
            if reader is not stream
        ]
        for stream in streams
    }
