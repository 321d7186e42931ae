"""The ledger of one exchange: what became of every datum, in an account per source and sink.

``received == delivered + filtered + dropped + failed + in flight`` in each account at every instant
that it can be read, and in the exchange as a whole, which is the sum of its sources' accounts. A
batch knows how many of its data are in flight: one that is forgotten stays so, and is `ABORTED` at
the end; one that is settled twice is an error.

* sources   count data as they hand them over; a pipe that makes one datum out of n keeps n
* sinks     count what is handed on to them, which is what the pipe has made
* settled   when the last datum of a source's batch has come to its end, the source is told, unless
  one of them should come again
* errors    `RuntimeError` when more is settled than is in flight
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from operator import attrgetter
from typing import Any

import attrs

from .datatypes import Data
from .errors import DataError
from .latency import Latency
from .outcome import ABORTED, DEAD_LETTERED, SKIPPED, Outcome


@attrs.frozen(eq=False)
class Refusal:
    """A datum that could not be used: why, its bytes as they came, and where it came from.

    ``path`` leads from the exchange to what refused it: ``$.source``, ``$.pipe``, ``$.sink[1]``.
    A payload of None is that of a message without one. ``key`` and ``headers`` came with it.
    """

    error: DataError
    payload: bytes | None = b""
    position: str = ""
    path: str = ""
    key: bytes | None = None
    headers: Sequence[tuple[str, str | bytes | None]] = ()


@attrs.define(eq=False)
class Batch:
    """Data that travel through an exchange together, oldest first.

    A source fills in ``values``, ``refused`` (data that it could not make a value of), ``raw``
    (what each value was made from, for `DataSource.provenance`), ``token`` (whatever it needs to
    know again what was settled) and, where it knows it, ``size``. A pipe fills in ``values`` and
    ``weights``: for how many data each value stands (none: one each), in the order in which they
    came.
    """

    values: Sequence[Data]
    refused: Sequence[Refusal] = ()
    weights: Sequence[int] | None = None
    raw: Sequence[Any] | None = None
    token: Any = None
    size: int = 0
    """Bytes of memory that the values take up; 0: it is to be estimated."""
    account: Account | None = None
    """Of the source that handed it over."""
    parts: Sequence[Span] = ()
    """What it was made of, in order. Nothing for a batch of a source itself."""
    in_flight: int = 0
    """How many of the data that a source handed over with it have not come to their end."""
    final: bool = True
    """Whether none of those that have should come again."""
    arrived: float = 0.0
    """When the source handed it over, by `time.monotonic`."""

    @property
    def count(self) -> int:
        """For how many data of sources the values stand; the refused are not among them."""
        return len(self.values) if self.weights is None else sum(self.weights)

    @property
    def spans(self) -> Sequence[Span]:
        """The data of sources that its values stand for, in order."""
        return self.parts or ((self, 0, len(self.values)),)

    def runs(self, first: int, count: int) -> Iterator[Span]:
        """For which data *count* values from *first* on stand."""
        if self.weights is not None:
            first, count = sum(self.weights[:first]), sum(self.weights[first : first + count])
        for part, begin, there in self.spans:
            if not count:
                return
            if first >= there:
                first -= there
                continue
            taken = min(there - first, count)
            yield part, begin + first, taken
            first, count = 0, count - taken

    def keep(self, which: slice) -> None:
        """Keep these values of a batch of a source; whoever drops the others settles them."""
        self.values = self.values[which]
        self.raw = None if self.raw is None else self.raw[which]


Span = tuple[Batch, int, int]
"""Of a source's batch: the first of some data that follow each other, and how many."""


def runs_of(indexes: Iterable[int]) -> Iterator[tuple[int, int]]:
    """Ascending numbers as runs: (first, count)."""
    first = last = None
    for index in indexes:
        if last is not None and index == last + 1:
            last = index
            continue
        if first is not None and last is not None:
            yield first, last + 1 - first
        first = last = index
    if first is not None and last is not None:
        yield first, last + 1 - first


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch, or one that holds the values of several that no pipe has made."""
    if len(batches) == 1:
        return batches[0]
    values = [value for batch in batches for value in batch.values]
    parts = [span for batch in batches for span in batch.spans]
    return Batch(values, size=sum(batch.size for batch in batches), parts=parts)


def settle(batch: Batch, outcome: Outcome) -> None:
    """All values of a batch have come to the same end."""
    for part, _, count in batch.spans:
        _account_of(part).settle(part, count, outcome)


def settle_run(batch: Batch, first: int, count: int, outcome: Outcome) -> None:
    """*count* values of a batch, from *first* on, have come to the same end."""
    for part, _, number in batch.runs(first, count):
        _account_of(part).settle(part, number, outcome)


def _account_of(batch: Batch) -> Account:
    if batch.account is None:
        raise RuntimeError("a batch was settled that no source has handed over")
    return batch.account


@attrs.define(eq=False)
class Account:
    """Counts of one source or sink; see the module's docstring for the law that they keep."""

    name: str = ""
    received: int = 0
    delivered: int = 0
    filtered: int = 0
    """What a pipe has left out, as it was told to."""
    failed: int = 0
    skipped: int = 0
    """How many of the failed a policy has left out."""
    dead_lettered: int = 0
    """How many of the failed a policy has set aside."""
    dropped: Counter[str] = attrs.field(factory=Counter)
    upstream: Counter[str] = attrs.field(factory=Counter)
    """Trouble before a source, which is no datum of its own: lost events, error events."""
    in_flight: int = 0
    """Data that are in a buffer, a pipe or a sink."""
    last: float = 0.0
    """When a source handed over its last datum, or a sink accepted it: Unix time, s; 0: never."""
    latency: Latency | None = attrs.field(default=None, repr=False)
    """Of a source: how long its data take to be delivered; exchanges share one over theirs."""
    on_settled: Callable[[Batch], None] | None = attrs.field(default=None, repr=False)
    """Called with each batch that has come to its end, where no datum of it should come again."""

    @property
    def balanced(self) -> bool:
        """Whether every datum received is accounted for once."""
        settled = self.delivered + self.filtered + self.failed + self.dropped.total()
        return self.received == settled + self.in_flight and self.in_flight >= 0

    def receive(self, batch: Batch) -> None:
        """A source handed over *batch*; what it refused is in it."""
        batch.account = self
        batch.in_flight = count = len(batch.values) + len(batch.refused)
        self.hold(count)
        self.last = time.time()
        batch.arrived = time.monotonic()
        if not count:
            self._release(batch)

    def hold(self, count: int) -> None:
        """*count* data are in flight from now on: a sink is handed them."""
        self.received += count
        self.in_flight += count

    def drop(self, reason: str, count: int = 1) -> None:
        """A source got *count* data that it does not hand over, for *reason*."""
        self.received += count
        self.dropped[reason] += count

    def settle(self, batch: Batch, count: int, outcome: Outcome) -> None:
        """*count* of the data of a source's batch have come to this end."""
        if not count:
            return
        if batch.in_flight < count:
            there = f"a batch that has {batch.in_flight} in flight"
            raise RuntimeError(f"{count} data were settled of {there}")
        self.close(count, outcome)
        if outcome.kind == "delivered" and self.latency is not None:
            self.latency.observe(time.monotonic() - batch.arrived, count)
        batch.in_flight -= count
        batch.final &= outcome.final
        if not batch.in_flight:
            self._release(batch)

    def close(self, count: int, outcome: Outcome) -> None:
        """*count* data that are in flight have come to this end."""
        if self.in_flight < count:
            raise RuntimeError(f"{count} data were settled where {self.in_flight} are in flight")
        self.in_flight -= count
        match outcome.kind:
            case "delivered":
                self.delivered += count
            case "filtered":
                self.filtered += count
            case "dropped":
                self.dropped[outcome.detail] += count
            case "failed":
                self.failed += count
                self.skipped += count if outcome is SKIPPED else 0
                self.dead_lettered += count if outcome is DEAD_LETTERED else 0

    def abandon(self) -> None:
        """Whatever is still in flight is dropped: the stream was cut off."""
        if self.in_flight:
            self.close(self.in_flight, ABORTED)

    def reset(self) -> None:
        """Count from zero; what is in flight has been received."""
        self.received = self.in_flight
        self.delivered = self.filtered = self.failed = self.skipped = self.dead_lettered = 0
        self.dropped.clear()
        self.upstream.clear()

    def as_dict(self) -> dict[str, Any]:
        """The counts, for people and for JSON."""
        return {"name": self.name, **_counts(self)}

    def _release(self, batch: Batch) -> None:
        if batch.final and self.on_settled is not None:
            self.on_settled(batch)


def _sum(name: str) -> Any:
    """A property of a ledger: this count of all its sources together."""
    count = attrgetter(name)
    return property(lambda ledger: sum(map(count, ledger.sources)))


def _sums(name: str) -> Any:
    """The same of counts by reason."""
    counts = attrgetter(name)

    def found(ledger: Ledger) -> Counter[str]:
        together: Counter[str] = Counter()
        for each in filter(None, map(counts, ledger.sources)):
            together.update(each)
        return together

    return property(found)


class Ledger:
    """The accounts of an exchange; its counts are the sums of those of its sources."""

    received: int = _sum("received")
    """What the sources handed over, and what they had to refuse or drop."""
    delivered: int = _sum("delivered")
    """What every sink has accepted."""
    filtered: int = _sum("filtered")
    """What a pipe has left out."""
    failed: int = _sum("failed")
    """What could not be used."""
    skipped: int = _sum("skipped")
    """What could not be used and was left out."""
    dead_lettered: int = _sum("dead_lettered")
    """What could not be used and was set aside."""
    dropped: Counter[str] = _sums("dropped")
    """What was dropped, by reason."""
    upstream: Counter[str] = _sums("upstream")
    """Trouble before the sources."""
    in_flight: int = _sum("in_flight")
    """Data of the sources that are in a buffer, a pipe or a sink."""

    def __init__(self, sources: Sequence[str] = ("",), sinks: Sequence[str] = ("",)) -> None:
        """An account for each of these names."""
        self.latency = Latency()
        self.sources = tuple(Account(name, latency=self.latency) for name in sources)
        self.sinks = tuple(map(Account, sinks))

    @property
    def balanced(self) -> bool:
        """Whether every account balances."""
        return all(account.balanced for account in (*self.sources, *self.sinks))

    def abandon(self) -> None:
        """Whatever is still in flight is dropped: the stream was cut off."""
        for account in (*self.sinks, *self.sources):
            account.abandon()

    def reset(self) -> None:
        """Count from zero, in every account."""
        self.latency.reset()
        for account in (*self.sinks, *self.sources):
            account.reset()

    def as_dict(self) -> dict[str, Any]:
        """The counts, for people and for JSON."""
        return {
            **_counts(self),
            "sources": [account.as_dict() for account in self.sources],
            "sinks": [account.as_dict() for account in self.sinks],
        }


def _counts(kept: Account | Ledger) -> dict[str, Any]:
    return {
        "received": kept.received,
        "delivered": kept.delivered,
        "filtered": kept.filtered,
        "dropped": dict(kept.dropped),
        "failed": kept.failed,
        "skipped": kept.skipped,
        "dead_lettered": kept.dead_lettered,
        "in_flight": kept.in_flight,
        "upstream": dict(kept.upstream),
    }
