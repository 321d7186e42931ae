"""One of several parts of a list: ``k/n`` is what stands at the positions k, k + n, and so on.

By position, since the list itself says then who reads what, without asking anybody: what is added
at its end moves nothing else from one part to another, and neighbours are spread evenly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Self, TypeVar

import attrs

from .endpoints import SourceDescriptor
from .errors import Fault, counted

T = TypeVar("T")

_SHARE = re.compile(r"([1-9]\d{0,3})/([1-9]\d{0,3})", re.ASCII)


@attrs.frozen
class Share:
    """Part *number* of *count*; both from 1 on."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """What ``k/n`` says; None where it says nothing."""
        found = _SHARE.fullmatch(text)
        if found is None or int(found[1]) > int(found[2]):
            return None
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def of(self, items: Sequence[T]) -> list[T]:
        """The items of this part, in order."""
        return list(items[self.number - 1 :: self.count])


def share_faults(text: str, placed: Iterable[tuple[str, SourceDescriptor]]) -> Iterator[Fault]:
    """What is wrong with a part of sources, which come with their paths; "" is all of them."""
    if not text:
        return
    share, sources = Share.parse(text), list(placed)
    if share is None:
        message = f"{text!r:.50} is no part of a list"
        yield Fault("$.share", message, "write e.g. '1/2' and, at the other device, '2/2'")
    elif share.count > len(sources):
        message = f"there are {share.count} parts of {counted(len(sources), 'source')}"
        yield Fault("$.share", message, "write no more parts than sources")
    for path, source in sources:
        if not source.divisible:
            message = "its data do not come to every reader, so a list of it is not shared"
            yield Fault(path, message, "leave out the key share")
