"""How many events may wait for each subscription, so that those of all have room together.

* share     the more subscriptions a connector has, the fewer events may wait for each
* unknown   texts and arrays of any length are taken to be small
"""

from __future__ import annotations

import math
from typing import Any

from ...model.datatypes import DataSpec, Kind
from ...model.shares import Shares
from ...runtime.inbox import Mailbox

INBOX_BYTES = 192 * 2**20
"""Memory that the events of all subscriptions may take up while they wait to be received."""

MOST_EVENTS = 10_000
"""Events that may wait for one subscription, however small they are."""

UNSIZED_EVENTS = 1000
"""Events that may wait for one whose size nobody knows before."""

_OBJECT = 144  # B of an array of numpy's beside its numbers, and of the reference to it
_LEAST = 2


def size_of(spec: DataSpec) -> int | None:
    """Bytes of an event that carries such a value; None where that is not known."""
    if spec.kind in (Kind.STR, Kind.BYTES) or spec.dynamic:
        return None
    return _OBJECT + spec.dtype.itemsize * math.prod(max(length, 1) for length in spec.shape)


class Inboxes:
    """The mailboxes of all subscriptions of a connector; used on the Trio thread."""

    def __init__(self) -> None:
        self._shares = Shares(INBOX_BYTES)

    def add(self, mailbox: Mailbox[Any], size: int | None) -> None:
        """One more, with events of so many bytes."""

        def resize(share: int) -> None:
            mailbox.limit = _limit(size, share)

        self._shares.add(mailbox, resize)

    def remove(self, mailbox: Mailbox[Any]) -> None:
        """One less; what waits in it stays."""
        self._shares.remove(mailbox)


def _limit(size: int | None, share: int) -> int:
    """How many events of so many bytes may take up a *share* of the memory."""
    if size is None:
        return UNSIZED_EVENTS
    return max(_LEAST, min(MOST_EVENTS, share // size))
