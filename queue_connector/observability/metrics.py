"""The numbers of a device as Prometheus and OpenMetrics read them.

`FAMILIES` is the one table of names, labels and help texts; most of it is in `of_exchanges`. A
`Snapshot` is what all samples of one answer are made from, so that the ledger's law holds in each:
for an exchange, a source and a sink, received is delivered, filtered, dropped, failed and in flight
together.

* units     data, as the source hands them over; a counter starts from zero with its ledger
* source    https://prometheus.io/docs/practices/naming, the OpenMetrics specification 1.0
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    Metric,
)

from .. import __version__
from ..engine.state import State
from .family import PREFIX, Family, Sample, add
from .of_exchanges import OF_EXCHANGES


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
                add(metric, labels, value)
            yield metric


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
    *OF_EXCHANGES,
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
