"""What of a topic has come to its end: runs of offsets, never the data themselves.

A run goes from the offset after the one before it to the offset after its last, so that what a
partition has no message for (compaction, transactions) lies inside. Runs that touch become one, so
that their number is bounded by what is not settled, not by what is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping

Runs = Mapping[int, tuple[int, int]]
"""Partition → the offset of the first of a run, and the one after its last."""


class SettledOffsets:
    """``positions``: partition → everything before this offset has come to its end."""

    def __init__(self, positions: Mapping[int, int]) -> None:
        self.positions = dict(positions)
        self._ahead: dict[int, list[tuple[int, int]]] = {}

    @property
    def runs(self) -> int:
        """How many runs are kept behind something that is not settled."""
        return sum(map(len, self._ahead.values()))

    def move(self, positions: Mapping[int, int]) -> None:
        """Go on at other positions in these partitions; what was settled of them is void."""
        for partition, offset in positions.items():
            self.positions[partition] = offset
            self._ahead.pop(partition, None)

    def forget(self, partitions: Iterable[int]) -> None:
        """There are no such partitions any more."""
        for partition in partitions:
            self.positions.pop(partition, None)
            self._ahead.pop(partition, None)

    def settle(self, runs: Runs) -> dict[int, int]:
        """These have come to their end, in any order; the positions that moved."""
        moved = {}
        for partition, (begin, end) in runs.items():
            position = self.positions.get(partition)
            if position is None or end <= position:
                continue
            if begin > position:
                self._keep(self._ahead.setdefault(partition, []), begin, end)
                continue
            moved[partition] = self.positions[partition] = self._absorb(partition, end)
        return moved

    def _absorb(self, partition: int, end: int) -> int:
        ahead = self._ahead.get(partition, [])
        while ahead and ahead[0][0] <= end:
            end = max(end, ahead.pop(0)[1])
        return end

    @staticmethod
    def _keep(ahead: list[tuple[int, int]], begin: int, end: int) -> None:
        first = bisect_left(ahead, (begin,))
        if first and ahead[first - 1][1] >= begin:
            first -= 1
        last = first
        while last < len(ahead) and ahead[last][0] <= end:
            begin, end = min(begin, ahead[last][0]), max(end, ahead[last][1])
            last += 1
        ahead[first:last] = [(begin, end)]
