"""A bound that many have together: each may have its share of it, whoever comes and goes."""

from __future__ import annotations

from collections.abc import Callable, Hashable


class Shares:
    """Divides *total* among its members; used on the Trio thread.

    It is divided anew each time that their number has doubled, or is a quarter, so that one more or
    less costs nothing most of the time. Together they never have more than the total.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._shares = 1
        self._members: dict[Hashable, Callable[[int], None]] = {}

    def add(self, member: Hashable, resize: Callable[[int], None]) -> None:
        """One more; *resize* is told how much it may have, now and whenever that changes."""
        self._members[member] = resize
        if len(self._members) > self._shares:
            self._divide(2 * self._shares)
        else:
            resize(self._total // self._shares)

    def remove(self, member: Hashable) -> None:
        """One less; nothing changes where it is none."""
        self._members.pop(member, None)
        if 1 < self._shares >= 4 * len(self._members):
            self._divide(self._shares // 2)

    def _divide(self, shares: int) -> None:
        self._shares = shares
        for resize in self._members.values():
            resize(self._total // shares)
