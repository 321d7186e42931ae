"""A topic as one source reads it: what was handed over and waits, and what of it is settled.

The thread that polls hands over bursts of messages and says what becomes of the partitions; the
source takes them on the Trio thread. Neither waits for the other: `Subscription.full` tells the
thread that it should fetch nothing more for now.
"""

from __future__ import annotations

import datetime
import logging
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

import attrs
import trio

from ...model.condition import Condition
from .settled import SettledOffsets

if TYPE_CHECKING:
    from confluent_kafka import Message

MAX_WAITING = 2000
"""Messages that wait for a source, beyond which nothing more is fetched for it."""

MAX_WAITING_BYTES = 8 * 1024 * 1024
"""Bytes that wait for a source, beyond which nothing more is fetched for it."""


@attrs.frozen
class Start:
    """Where reading begins in partitions that it was not in before."""

    at: Literal["latest", "earliest", "offset", "time"] = "latest"
    value: int = 0
    """The offset, or the time in ms since the Unix epoch."""

    @classmethod
    def parse(cls, written: int | str) -> Start:
        """What a configuration says.

        Raises:
            ValueError: it is none of the words, no time, or a time without a zone.
        """
        if isinstance(written, int):
            return cls("offset", written)
        if written in ("latest", "earliest"):
            return cls("latest" if written == "latest" else "earliest")
        when = datetime.datetime.fromisoformat(written)
        if when.tzinfo is None:
            raise ValueError("the time has no zone")
        since = when - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
        milliseconds = since // datetime.timedelta(milliseconds=1)
        if milliseconds < 0:
            raise ValueError("Kafka has no time before 1970")
        return cls("time", milliseconds)


@attrs.frozen
class Place:
    """An offset of a partition, in one of its lives: a topic that is made again begins another."""

    life: int
    offset: int


@attrs.define(eq=False)
class Burst:
    """Messages that came together, in order of each partition."""

    begins: dict[int, Place]
    """Partition → what the first message of it comes after."""
    messages: deque[Message[Any, Any]]


Runs = Mapping[int, tuple[Place, int]]
"""Partition → where a run of settled offsets begins, and the offset after its last."""


class Subscription:
    """One topic for one source; the methods are called on the Trio thread, but for `full`."""

    def __init__(
        self,
        topic: str,
        start: Start,
        resume: Mapping[int, int] | None,
        log: logging.Logger,
        upstream: Counter[str],
        condition: Condition,
    ) -> None:
        self.topic = topic
        self.start = start
        self.resume = resume
        self.log = log
        self.upstream = upstream
        self.condition = condition
        self.closing = False
        """Nothing more is wanted."""
        self.given = self.given_bytes = 0
        """What was handed over ever; the thread that polls counts it."""
        self.ends: dict[int, int] = {}
        """Partition → where it ended when last heard of; the thread that polls keeps it."""
        self.opened = trio.Event()
        """It is known where to begin, or that it failed."""
        self.committed = trio.Event()
        """Set, once it leaves, when everything that was settled is committed."""
        self.returned = False
        """Whether what was taken of partitions that are given back is settled; any thread reads."""
        self.on_moved: Callable[[Mapping[int, Place]], None] | None = None
        """Told of positions that have moved, where they are committed."""
        self._failure: Exception | None = None
        self._bursts: deque[Burst] = deque()
        self._taken = self._taken_bytes = 0
        self._lives: dict[int, int] = {}
        self._settled = SettledOffsets({})
        self._arrived = trio.Event()
        self._ends_taken: dict[int, int] = {}
        self._taking = False
        self._dropped: set[tuple[int, int]] = set()
        self._returning: set[int] = set()

    # -- for the source ----------------------------------------------------------------------------

    @property
    def waiting(self) -> int:
        """Messages that were handed over and not taken."""
        return self.given - self._taken

    @property
    def full(self) -> bool:
        """Whether it has enough for now; any thread may ask."""
        waiting_bytes = self.given_bytes - self._taken_bytes
        return self.waiting >= MAX_WAITING or waiting_bytes >= MAX_WAITING_BYTES

    @property
    def has_room(self) -> bool:
        """Whether more is worth while again; any thread may ask."""
        waiting_bytes = self.given_bytes - self._taken_bytes
        return self.waiting < MAX_WAITING // 2 and waiting_bytes < MAX_WAITING_BYTES // 2

    @property
    def positions(self) -> Mapping[int, int]:
        """Partition → everything before this offset is settled."""
        return self._settled.positions

    @property
    def kept_runs(self) -> int:
        """How many runs of settled offsets wait for one before them."""
        return self._settled.runs

    @property
    def end_offset(self) -> int:
        """The sum of where the partitions end."""
        return sum(self.ends.values())

    @property
    def lag(self) -> int:
        """Messages that are in the topic and not settled, as far as is known."""
        positions = self._settled.positions
        return sum(max(0, end - positions.get(n, end)) for n, end in self.ends.items())

    async def wait(self) -> Burst | None:
        """The first burst that waits; none: nothing will ever come again.

        It stays until everything in it was taken.

        Raises:
            EndpointError: the topic cannot be read.
        """
        self._taking = False
        self._leave_out_dropped()
        if not self._bursts:
            self._dropped.clear()
        while not self._bursts:
            if self._failure is not None:
                raise self._failure
            if self.closing:
                return None
            self._arrived = trio.Event()
            await self._arrived.wait()
            self._leave_out_dropped()
        self._taking = True
        return self._bursts[0]

    @property
    def first(self) -> Burst | None:
        """The burst that has waited longest."""
        return self._bursts[0] if self._bursts else None

    def after(self, burst: Burst) -> Burst | None:
        """The burst behind the first one, which was taken whole; none: it has not come yet."""
        assert self._bursts[0] is burst
        self._bursts.popleft()
        self._leave_out_dropped()
        return self.first

    def took(self, messages: int, size: int, runs: Runs) -> None:
        """So much was taken out of the first bursts: these runs of offsets."""
        self._taken += messages
        self._taken_bytes += size
        self._taking = False
        for number, (begin, end) in runs.items():
            if self._lives.get(number) == begin.life:
                self._ends_taken[number] = end
        self._note_returned()
        if self._bursts and not self._bursts[0].messages:
            self._bursts.popleft()

    def settle(self, runs: Runs) -> None:
        """Everything in these runs has come to its end."""
        valid = {
            number: (begin.offset, end)
            for number, (begin, end) in runs.items()
            if self._lives.get(number) == begin.life
        }
        moved = self._settled.settle(valid)
        self._note_returned()
        if moved and self.on_moved is not None:
            self.on_moved({n: Place(self._lives[n], at) for n, at in moved.items()})

    def close(self) -> None:
        """Take in nothing more."""
        self.closing = True
        self._arrived.set()

    def raise_failure(self) -> None:
        """Raise why the topic cannot be read, if it cannot."""
        if self._failure is not None:
            raise self._failure

    # -- partitions that are taken away ------------------------------------------------------------

    def give_back(self, partitions: Iterable[int]) -> None:
        """Drop what waits of them; `returned` once what was taken of them is settled."""
        self._returning = set(partitions)
        self.drop(self._returning)
        self._note_returned()

    def drop(self, partitions: Iterable[int]) -> None:
        """What waits of them is somebody else's now."""
        lives = self._lives
        self._dropped.update((number, lives[number]) for number in partitions if number in lives)

    def _note_returned(self) -> None:
        if not self._returning or self._taking:
            return
        positions = self._settled.positions
        if all(positions.get(n, 0) >= self._ends_taken.get(n, 0) for n in self._returning):
            self._returning = set()
            self.returned = True

    def _leave_out_dropped(self) -> None:
        """Begin with a burst that has messages which were not dropped, if one waits."""
        while self._dropped and self._bursts:
            burst = self._bursts[0]
            there = burst.begins.items()
            if gone := {n for n, at in there if (n, at.life) in self._dropped}:
                kept = deque(m for m in burst.messages if m.partition() not in gone)
                left_out = sum(len(m.value() or b"") for m in burst.messages)
                left_out -= sum(len(m.value() or b"") for m in kept)
                self._taken += len(burst.messages) - len(kept)
                self._taken_bytes += left_out
                burst.messages = kept
            if burst.messages:
                return
            self._bursts.popleft()

    # -- for the thread that polls, in order -------------------------------------------------------

    def hand_over(self, burst: Burst) -> None:
        """More messages, unless nothing more is wanted."""
        if not self.closing:
            self._bursts.append(burst)
            self._arrived.set()

    def place(self, places: Mapping[int, Place]) -> None:
        """These partitions are read from these places on."""
        self._settled.move({number: place.offset for number, place in places.items()})
        self._lives.update({number: place.life for number, place in places.items()})
        for number in places:
            self._ends_taken.pop(number, None)

    def forget(self, partitions: Iterable[int]) -> None:
        """There are no such partitions any more."""
        for number in (partitions := list(partitions)):
            self._lives.pop(number, None)
            self._ends_taken.pop(number, None)
        self._returning.difference_update(partitions)
        self._settled.forget(partitions)

    def fail(self, error: Exception) -> None:
        """The topic cannot be read, and waiting would not help."""
        self._failure = self._failure or error
        self.opened.set()
        self._arrived.set()
