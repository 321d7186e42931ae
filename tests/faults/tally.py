"""What went in against what came out, compactly enough for hours of a thousand numbers a second."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable

import numpy as np

Arrival = tuple[int, float]
"""A number, and the time of its arrival in seconds since the Unix epoch."""

_MOST = 255  # arrivals of one number that are told apart


class Handed:
    """Consecutive numbers from 1 on: when each was handed over, where to, whether it is in.

    One thread adds, others may read.
    """

    def __init__(self) -> None:
        self.times = array("d", [0.0])
        self._partitions = bytearray(1)
        self._acknowledged = bytearray(1)

    @property
    def next(self) -> int:
        return len(self.times)

    def add(self, when: float, partition: int = 0, *, acknowledged: bool = False) -> None:
        self._partitions.append(partition)
        self._acknowledged.append(acknowledged)
        self.times.append(when)

    def acknowledge(self, number: int) -> None:
        self._acknowledged[number] = True

    def partition(self, number: int) -> int:
        return self._partitions[number]

    def since(self, when: float) -> int:
        """The first number that was handed over at *when* or later."""
        return max(1, bisect_left(self.times, when))

    def acknowledged(self) -> np.ndarray:
        """Whether each number, from 0 on, is known to be in."""
        return np.frombuffer(bytes(self._acknowledged), bool)


class Tally:
    """Which of the numbers came out of one place: how often, when first, in which order."""

    def __init__(self, handed: Handed) -> None:
        self.count = 0
        self.overtaken: list[tuple[int, int]] = []
        """Numbers that came first after a later one of their partition, each with that one."""
        self._handed = handed
        self._times = bytearray(1)
        self._first = array("d", [0.0])
        self._latest: dict[int, int] = {}

    def add(self, arrivals: Iterable[Arrival]) -> None:
        """Count these in their order; numbers below 1 are no data.

        Raises:
            AssertionError: a number came out that never went in.
        """
        for number, when in arrivals:
            if number < 1:
                continue
            assert number < self._handed.next, f"{number} came out and never went in"
            missing = number + 1 - len(self._times)
            if missing > 0:
                self._times.extend(bytes(missing))
                self._first.extend([0.0] * missing)
            self.count += 1
            if not self._times[number]:
                self._first[number] = when
                partition = self._handed.partition(number)
                if number < self._latest.get(partition, 0):
                    self.overtaken.append((number, self._latest[partition]))
                else:
                    self._latest[partition] = number
            self._times[number] = min(_MOST, self._times[number] + 1)

    def times(self) -> np.ndarray:
        """How often each number came out, from 0 on, as far as any was handed over."""
        there = np.zeros(self._handed.next, np.uint8)
        there[: len(self._times)] = np.frombuffer(bytes(self._times), np.uint8)
        return there

    def fresh(self, since: float) -> int:
        """How many numbers came out that were handed over at *since* or later."""
        return int(np.count_nonzero(self.times()[self._handed.since(since) :]))

    def first(self, since: float) -> float | None:
        """When the first number came out that was handed over at *since* or later."""
        arrivals = [when for when in self._first[self._handed.since(since) :] if when]
        return min(arrivals, default=None)

    def waited(self, first: int, last: int) -> list[float]:
        """Seconds between going in and coming out, of the numbers of a span that have come out."""
        there = range(first, min(last + 1, len(self._first)))
        return [self._first[n] - self._handed.times[n] for n in there if self._first[n]]

    def lost(self) -> list[int]:
        """The numbers that went in and have not come out."""
        acknowledged = self._handed.acknowledged()
        return np.flatnonzero(acknowledged & (self.times()[: len(acknowledged)] == 0)).tolist()

    def repeated(self) -> list[int]:
        """The numbers that came out more than once."""
        return np.flatnonzero(self.times() > 1).tolist()
