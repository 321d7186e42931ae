"""What is told of each exchange, each source and each sink, as metrics."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

import attrs
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)

from ..model.latency import BOUNDS
from .family import PREFIX, Family, Kind, Sample


class Counted(Protocol):
    """What the metrics of exchanges are taken from."""

    @property
    def statistics(self) -> Mapping[str, Any]:
        """What the device's attribute of this name says."""
        ...


# -- the ledgers -----------------------------------------------------------------------------------


def _exchanges(snapshot: Counted) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    for exchange, ledger in snapshot.statistics.items():
        yield (exchange.rpartition("[")[0], exchange), ledger


def _parts(
    key: str,
) -> Callable[[Counted], Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]]:
    def find(snapshot: Counted) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
        for labels, ledger in _exchanges(snapshot):
            for index, part in enumerate(ledger.get(key, ())):
                yield (*labels, part["name"], str(index)), part

    return find


@attrs.frozen
class _Scope:
    """Whose ledgers: how they are named, labelled, called in help texts, and found."""

    prefix: str
    labels: tuple[str, ...]
    whose: str
    find: Callable[[Counted], Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]]


_EXCHANGE = _Scope("", ("group", "exchange"), "an exchange", _exchanges)
_SOURCE = _Scope(
    "source_", ("group", "exchange", "source", "index"), "one source", _parts("sources")
)
_SINK = _Scope("sink_", ("group", "exchange", "sink", "index"), "one sink", _parts("sinks"))
_ALL = (_EXCHANGE, _SOURCE, _SINK)
_NO_SINK = (_EXCHANGE, _SOURCE)


@attrs.frozen
class _Count:
    """A key of a ledger; with ``by``, the label that tells the keys of its mapping apart."""

    key: str
    doc: str
    scopes: tuple[_Scope, ...] = _ALL
    by: str = ""
    kind: Kind = CounterMetricFamily
    name: str = ""

    def families(self) -> Iterator[Family]:
        suffix = "" if self.kind is GaugeMetricFamily else "_total"
        for scope in self.scopes:
            yield Family(
                f"{PREFIX}{scope.prefix}{self.name or self.key}{suffix}",
                self.kind,
                self.doc.format(whose=scope.whose),
                (*scope.labels, self.by) if self.by else scope.labels,
                self._samples(scope),
            )

    def _samples(self, scope: _Scope) -> Callable[[Counted], Iterator[Sample]]:
        def samples(snapshot: Counted) -> Iterator[Sample]:
            for labels, ledger in scope.find(snapshot):
                if self.key not in ledger:  # nothing is said of what is not counted
                    continue
                if not self.by:
                    yield labels, ledger[self.key]
                    continue
                for reason, number in ledger[self.key].items():
                    yield (*labels, reason), number

        return samples


_COUNTS = (
    _Count("received", "Data that came to {whose}: all that the others account for."),
    _Count("delivered", "Data of {whose} that were accepted for good."),
    _Count("filtered", "Data of {whose} that a pipe left out, as it was told to.", _NO_SINK),
    _Count("dropped", "Data of {whose} that were given up, by reason.", by="reason"),
    _Count("failed", "Data of {whose} that could not be used."),
    _Count("in_flight", "Data of {whose} that are on their way right now.", kind=GaugeMetricFamily),
    _Count("skipped", "Failed data of {whose} that the error policy skipped.", _NO_SINK),
    _Count("dead_lettered", "Failed data of {whose} that went to the dead-letter topic.", _NO_SINK),
    _Count(
        "upstream",
        "Trouble before {whose}, which is no datum and not in the balance, by kind.",
        _NO_SINK,
        by="kind",
        name="upstream_trouble",
    ),
    _Count("restarts", "Restarts of an exchange by command.", (_EXCHANGE,)),
    _Count(
        "queued",
        "Data that wait in the queue of {whose}: before a source hands them over they are in no "
        "account, before a sink they are in flight.",
        kind=GaugeMetricFamily,
    ),
)


# -- the conditions --------------------------------------------------------------------------------


def _told(
    key: str,
    doc: str,
    scope: _Scope,
    number: Callable[[Any], float] = float,
    name: str = "",
    kind: Kind = GaugeMetricFamily,
) -> Family:
    """A key of the condition of each source or sink, as a number."""

    def samples(snapshot: Counted) -> Iterator[Sample]:
        for labels, part in scope.find(snapshot):
            value = part.get("condition", {}).get(key)
            if value is not None:
                yield labels, number(value)

    doc = doc.format(whose=scope.whose)
    return Family(f"{PREFIX}{scope.prefix}{name or key}", kind, doc, scope.labels, samples)


def _timestamp(written: str) -> float:
    return datetime.datetime.fromisoformat(written).timestamp() if written else 0.0


_CONDITIONS: tuple[Family, ...] = (
    *(
        family
        for scope in (_SOURCE, _SINK)
        for family in (
            _told("connected", "1 while the peer of {whose} answers.", scope),
            _told("waiting_for", "1 while {whose} cannot go on.", scope, bool, "waiting"),
            _told(
                "last_datum",
                "When the last datum of {whose} came or was accepted, Unix time; 0 for never.",
                scope,
                _timestamp,
                "last_datum_timestamp_seconds",
            ),
        )
    ),
    _told("end_offset", "Where the topic of {whose} ends, over its partitions.", _SOURCE),
    _told("lag", "Messages in the topic of {whose} that it has not handed over yet.", _SOURCE),
    _told("pending", "Subscriptions of {whose} that are not there yet.", _SOURCE),
    _told("partitions", "Partitions of a shared topic that {whose} reads now.", _SOURCE),
    _told(
        "rebalances",
        "How often the partitions of a shared topic were shared out anew, as {whose} saw it.",
        _SOURCE,
        name="rebalances_total",
        kind=CounterMetricFamily,
    ),
)


# -- the exchange as a whole -----------------------------------------------------------------------


def _paused(snapshot: Counted) -> Iterator[Sample]:
    for labels, ledger in _exchanges(snapshot):
        if "paused" in ledger:
            yield labels, float(bool(ledger["paused"]))


def _last_datum(snapshot: Counted) -> Iterator[Sample]:
    for labels, ledger in _exchanges(snapshot):
        told = [part.get("condition", {}).get("last_datum") for part in ledger.get("sources", ())]
        if told and None not in told:
            yield labels, max(map(_timestamp, told))


def _latency(snapshot: Counted) -> Iterator[Sample]:
    for labels, ledger in _exchanges(snapshot):
        if found := ledger.get("latency"):
            yield labels, (BOUNDS, found["counts"], found["sum"])


OF_EXCHANGES: tuple[Family, ...] = (
    *(family for count in _COUNTS for family in count.families()),
    *_CONDITIONS,
    Family(
        f"{PREFIX}paused",
        GaugeMetricFamily,
        "1 while an exchange takes in nothing, since the command Pause was given.",
        _EXCHANGE.labels,
        _paused,
    ),
    Family(
        f"{PREFIX}last_datum_timestamp_seconds",
        GaugeMetricFamily,
        "When the last datum of an exchange came, of any source, Unix time; 0 for never.",
        _EXCHANGE.labels,
        _last_datum,
    ),
    Family(
        f"{PREFIX}latency_seconds",
        HistogramMetricFamily,
        "Seconds from a source handing a datum over until every sink has accepted it.",
        _EXCHANGE.labels,
        _latency,
    ),
)
"""Every metric of exchanges, sources and sinks."""
