"""The ledger of one exchange: what became of every datum that its sources handed over.

``received == delivered + dropped + failed + in flight`` at every instant that it can be read.
In flight is not the difference of the others: it is counted from the batches that are alive, so
that a batch which is forgotten or settled twice shows as an imbalance.

* units     data as the source hands them over; a pipe that makes one datum out of n keeps n
* errors    `RuntimeError` when a batch is settled with other counts than it holds
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import attrs

from .datatypes import Data
from .errors import DataError


@attrs.frozen(eq=False)
class Refusal:
    """A datum that could not be used, where it was refused, and its bytes as they came."""

    error: DataError
    payload: bytes = b""
    position: str = ""


@attrs.define(eq=False)
class Batch:
    """Data that travel through an exchange together, oldest first.

    ``weights`` says how many data of the source each value stands for (none: one each);
    ``refused`` are data that the source could not make a value of.
    """

    values: Sequence[Data]
    refused: Sequence[Refusal] = ()
    weights: Sequence[int] | None = None

    @property
    def count(self) -> int:
        """How many data of the source the values stand for; the refused are not among them."""
        return len(self.values) if self.weights is None else sum(self.weights)


@attrs.define
class Ledger:
    """Counts of one exchange; see the module's docstring for the law that they keep."""

    received: int = 0
    delivered: int = 0
    failed: int = 0
    dropped: Counter[str] = attrs.field(factory=Counter)
    upstream: Counter[str] = attrs.field(factory=Counter)
    """Trouble before the sources, which is no datum of theirs: lost events, error events."""
    _counts: dict[int, tuple[Batch, int]] = attrs.field(factory=dict, repr=False)

    @property
    def in_flight(self) -> int:
        """Data that are in a channel, a pipe or a sink."""
        return sum(count for _, count in self._counts.values())

    @property
    def balanced(self) -> bool:
        """Whether every datum received is accounted for once."""
        settled = self.delivered + self.failed + self.dropped.total()
        return self.received == settled + self.in_flight

    def receive(self, batch: Batch) -> None:
        """A source handed over *batch*; what it refused has failed already."""
        count = batch.count
        self.received += count + len(batch.refused)
        self.failed += len(batch.refused)
        if count:
            self._hold(batch, count)

    def drop(self, reason: str, count: int = 1) -> None:
        """A source got *count* data that it does not hand over, for *reason*."""
        self.received += count
        self.dropped[reason] += count

    def replace(self, old: Sequence[Batch], new: Batch) -> None:
        """A pipe made *new* out of all that the *old* batches held."""
        for batch in old:
            self._release(batch)
        self._hold(new, new.count)

    def settle(
        self,
        batch: Batch,
        *,
        delivered: int = 0,
        failed: int = 0,
        dropped: int = 0,
        reason: str = "",
    ) -> None:
        """All that *batch* stood for has come to its end."""
        count = self._release(batch)
        if delivered + failed + dropped != count:
            raise RuntimeError(
                f"a batch of {count} was settled as {delivered} delivered, {failed} failed "
                f"and {dropped} dropped"
            )
        self.delivered += delivered
        self.failed += failed
        if dropped:
            self.dropped[reason] += dropped

    def abandon(self, reason: str) -> None:
        """Whatever is still in flight is dropped: the stream was cut off."""
        for batch, count in list(self._counts.values()):
            self.settle(batch, dropped=count, reason=reason)

    def as_dict(self) -> dict[str, Any]:
        """The counts, for people and for JSON."""
        return {
            "received": self.received,
            "delivered": self.delivered,
            "dropped": dict(self.dropped),
            "failed": self.failed,
            "in_flight": self.in_flight,
            "upstream": dict(self.upstream),
        }

    def _hold(self, batch: Batch, count: int) -> None:
        self._counts[id(batch)] = (batch, count)

    def _release(self, batch: Batch) -> int:
        held = self._counts.pop(id(batch), None)
        if held is None:
            raise RuntimeError("a batch was settled that is not in flight")
        return held[1]
