"""How long data take, as a histogram of fixed buckets.

One call for all data that took equally long: it costs the same for one and for a thousand.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

BOUNDS = (
    *(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0),
)
"""The upper bounds of the buckets, s; beyond the last there is one more."""


class Latency:
    """Counts of data by how long they took."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        """Data that took at most as long as the bound, and longer than the one before."""
        self.total = 0.0
        """Seconds of all data together."""

    def observe(self, seconds: float, count: int) -> None:
        """*count* data took so long."""
        self.counts[bisect_left(BOUNDS, seconds)] += count
        self.total += seconds * count

    def reset(self) -> None:
        """Count from zero."""
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def as_dict(self) -> dict[str, Any]:
        """The counts by bucket and the sum of all times in seconds, for JSON."""
        return {"counts": list(self.counts), "sum": self.total}
