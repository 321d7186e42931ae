"""Messages that are to be sent in order, and how many of them may be under way."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from ...model.errors import EndpointError
from .client import KafkaError

MOST = 10_000
"""Messages that may be under way from one writer."""

MOST_BYTES = 16 * 2**20
"""Bytes of messages beyond which a writer sends no more until some were accepted."""


def is_full(count: int, size: int) -> bool:
    """Whether so many messages, and so many bytes, under way are enough."""
    return count >= MOST or size >= MOST_BYTES


@attrs.define(eq=False)
class Outgoing:
    """Messages to be sent in order, and who is told what became of them, on the Trio thread.

    ``told`` is called with places of messages and the errors of those that were refused for what
    they are; ``failed`` with the reason for which nothing more will be told.
    """

    payloads: Sequence[Any]
    """Bytes, arrays of bytes or, for tombstones, None."""
    told: Callable[[Sequence[int], Mapping[int, KafkaError]], None]
    failed: Callable[[EndpointError], None]
    timestamps: Sequence[int] = ()
    """In ms since the Unix epoch; none: the time of sending."""
    key: bytes | None = None
    headers: list[tuple[str, str | bytes | None]] | None = None
    number: int = attrs.field(init=False, default=0)
    left: int = attrs.field(init=False, default=0)
    """Messages of which nothing was told yet."""
    size: int = attrs.field(init=False)
    """Bytes of all of them."""

    @size.default
    def _all_bytes(self) -> int:
        return sum([len(payload or b"") for payload in self.payloads])

    def size_of(self, places: Sequence[int]) -> int:
        """Bytes of those at these places."""
        if len(places) == len(self.payloads):
            return self.size
        return sum(len(self.payloads[place] or b"") for place in places)

    def fitting(self, first: int, count: int, size: int) -> int:
        """Behind which message the window is full, where so many, and so many bytes, are in it."""
        room, end = MOST_BYTES - size, min(len(self.payloads), first + MOST - count)
        if self.size_of(range(first, end)) <= room:
            return end
        for place in range(first, end):
            room -= len(self.payloads[place] or b"")
            if room <= 0:
                return place + 1
        return end
