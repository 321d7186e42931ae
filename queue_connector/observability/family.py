"""One metric: its name, what it counts, how it is labelled, and where its samples come from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import attrs
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)

PREFIX = "queue_connector_"

Buckets = tuple[Sequence[float], Sequence[int], float]
"""A histogram: the upper bounds, how many there are below each and beyond, the sum of all."""

Sample = tuple[tuple[str, ...], float | Buckets]
"""The values of a family's labels, in their order, and the number, or those of a histogram."""

Kind = type[CounterMetricFamily] | type[GaugeMetricFamily] | type[HistogramMetricFamily]


@attrs.frozen
class Family:
    """One metric: its name as the text format writes it, what it counts, how it is labelled."""

    name: str
    kind: Kind
    doc: str
    labels: tuple[str, ...]
    samples: Callable[[Any], Iterable[Sample]]


def add(metric: Metric, labels: Sequence[str], value: float | Buckets) -> None:
    """Add one sample to a metric, or those of a histogram, which counts from below."""
    if not isinstance(metric, HistogramMetricFamily):
        metric.add_metric(labels, value)  # type: ignore[attr-defined]
        return
    assert isinstance(value, tuple)
    bounds, counts, total = value
    below, buckets = 0, []
    for bound, count in zip((*map(str, bounds), "+Inf"), counts, strict=True):
        below += count
        buckets.append((bound, below))
    metric.add_metric(labels, buckets, total)
