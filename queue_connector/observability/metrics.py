"""The numbers of a device as Prometheus and OpenMetrics read them.

`FAMILIES` is the one table of names, labels and help texts. A `Snapshot` is what all samples of one
answer are made from, so that the ledger's law holds in each: for an exchange, a source and a sink,
received is delivered, filtered, dropped, failed and in flight together.

* units     data, as the source hands them over; a counter starts from zero with its ledger
* source    https://prometheus.io/docs/practices/naming, the OpenMetrics specification 1.0
"""

from __future__ import annotations

import datetime
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import attrs
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)

from .. import __version__
from ..engine.state import State

PREFIX = "queue_connector_"

Sample = tuple[tuple[str, ...], float]
"""The values of a family's labels, in their order, and the number."""


@attrs.frozen
class Family:
    """One metric: its name as the text format writes it, what it counts, how it is labelled."""

    name: str
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily]
    doc: str
    labels: tuple[str, ...]
    samples: Callable[[Snapshot], Iterable[Sample]]


@attrs.frozen(kw_only=True)
class Snapshot:
    """What a device counts at one instant; it collects the metrics of that instant.

    ``statistics`` and ``groups`` are what the device's attributes of these names say.
    ``connected`` says whether the configuration database is seen; None when none is followed.
    ``slow`` subscribers do not take their events at the moment; so many were ``cut`` off for it.
    ``lost_lines`` of the log were not written, since nobody read it.
    ``version`` is that of the device's software.
    """

    statistics: Mapping[str, Any]
    groups: Mapping[str, Any] = attrs.field(factory=dict)
    connected: bool | None = None
    slow: int | None = None
    cut: int | None = None
    lost_lines: int | None = None
    version: str = __version__

    def collect(self) -> Iterator[Metric]:
        """Every family, in the order of the table, with all samples of the instant."""
        for family in FAMILIES:
            metric = family.kind(family.name, family.doc, labels=family.labels)
            for labels, value in family.samples(self):
                metric.add_metric(labels, value)
            yield metric


# -- the ledgers -----------------------------------------------------------------------------------


def _exchanges(snapshot: Snapshot) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
    for exchange, ledger in snapshot.statistics.items():
        yield (exchange.rpartition("[")[0], exchange), ledger


def _parts(
    key: str,
) -> Callable[[Snapshot], Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]]:
    def find(snapshot: Snapshot) -> Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]:
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
    find: Callable[[Snapshot], Iterator[tuple[tuple[str, ...], Mapping[str, Any]]]]


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
    kind: type[CounterMetricFamily] | type[GaugeMetricFamily] = CounterMetricFamily
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

    def _samples(self, scope: _Scope) -> Callable[[Snapshot], Iterator[Sample]]:
        def samples(snapshot: Snapshot) -> Iterator[Sample]:
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
    _Count(
        "queued",
        "Data that wait in the queue of {whose}: before a source hands them over they are in no "
        "account, before a sink they are in flight.",
        kind=GaugeMetricFamily,
    ),
)


# -- the conditions --------------------------------------------------------------------------------


def _told(
    key: str, doc: str, scope: _Scope, number: Callable[[Any], float] = float, name: str = ""
) -> Family:
    """A key of the condition of each source or sink, as a number."""

    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        for labels, part in scope.find(snapshot):
            value = part.get("condition", {}).get(key)
            if value is not None:
                yield labels, number(value)

    doc = doc.format(whose=scope.whose)
    return Family(
        f"{PREFIX}{scope.prefix}{name or key}", GaugeMetricFamily, doc, scope.labels, samples
    )


def _timestamp(written: str) -> float:
    return datetime.datetime.fromisoformat(written).timestamp() if written else 0.0


_CONDITIONS = (
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
)


# -- the device ------------------------------------------------------------------------------------


def _build(snapshot: Snapshot) -> Iterator[Sample]:
    yield (snapshot.version,), 1.0


def _states(snapshot: Snapshot) -> Iterator[Sample]:
    for name, group in snapshot.groups.items():
        for state in State:
            yield (name, state.value), float(group["state"] == state.value)


def _faults(snapshot: Snapshot) -> Iterator[Sample]:
    for name, group in snapshot.groups.items():
        yield (name,), float(bool(group["fault"]))


def _degraded(snapshot: Snapshot) -> Iterator[Sample]:
    for name, group in snapshot.groups.items():
        if "degraded" in group:
            yield (name,), float(group["degraded"])


def _connected(snapshot: Snapshot) -> Iterator[Sample]:
    if snapshot.connected is not None:
        yield (), float(snapshot.connected)


def _slow(snapshot: Snapshot) -> Iterator[Sample]:
    if snapshot.slow is not None:
        yield (), float(snapshot.slow)


def _cut(snapshot: Snapshot) -> Iterator[Sample]:
    if snapshot.cut is not None:
        yield (), float(snapshot.cut)


def _lost_lines(snapshot: Snapshot) -> Iterator[Sample]:
    if snapshot.lost_lines is not None:
        yield (), float(snapshot.lost_lines)


FAMILIES: tuple[Family, ...] = (
    *(family for count in _COUNTS for family in count.families()),
    *_CONDITIONS,
    Family(
        f"{PREFIX}group_state",
        GaugeMetricFamily,
        "1 for the state that a group is in, 0 for every other state.",
        ("group", "state"),
        _states,
    ),
    Family(
        f"{PREFIX}group_fault",
        GaugeMetricFamily,
        "1 while a group has a fault; one that is ON can have been refused a configuration.",
        ("group",),
        _faults,
    ),
    Family(
        f"{PREFIX}group_degraded",
        GaugeMetricFamily,
        "1 while something of a group cannot go on, or a configuration for it was refused.",
        ("group",),
        _degraded,
    ),
    Family(
        f"{PREFIX}configuration_database_connected",
        GaugeMetricFamily,
        "1 while changes of the configuration database are seen; missing when none is followed.",
        (),
        _connected,
    ),
    Family(
        f"{PREFIX}slow_subscribers",
        GaugeMetricFamily,
        "Clients that do not take their events at the moment; Status names them.",
        (),
        _slow,
    ),
    Family(
        f"{PREFIX}cut_subscribers_total",
        CounterMetricFamily,
        "Slow clients that were cut off, since too many bytes of events waited for them.",
        (),
        _cut,
    ),
    Family(
        f"{PREFIX}lost_log_lines_total",
        CounterMetricFamily,
        "Lines of the log that were not written, since nobody read it.",
        (),
        _lost_lines,
    ),
    Family(
        f"{PREFIX}build_info",
        GaugeMetricFamily,
        "The version of the software; always 1.",
        ("version",),
        _build,
    ),
)
"""Every metric of our own; those of the process come from the client library."""
