"""A wish for the events of an attribute, and who is told how it is."""

from __future__ import annotations

from typing import Any, Protocol

import attrs
import trio

from ...model.errors import EndpointError
from ...runtime.backoff import Backoff
from ...runtime.inbox import Mailbox

RETRY_FIRST = 0.25
RETRY_MOST = 4.0
"""Seconds between two tries to subscribe: the first wait, doubled up to the longest."""


@attrs.frozen
class NoValue:
    """An event without a value: INVALID quality, or with a reason, an error."""

    reason: str = ""
    message: str = ""


class Listener(Protocol):
    """Who is told of a subscription, on the Trio thread."""

    def opened(self, *, again: bool) -> None:
        """It is open; *again* after it was lost."""

    def failed(self, error: EndpointError) -> None:
        """It was lost, or could not be opened; that is tried again."""


@attrs.define(eq=False)
class Subscription:
    """A wish for the events of an attribute; what they say comes into ``mailbox``.

    Events come in threads of Tango's, which set ``heard``, ``has_value`` and ``broken``.
    """

    device: str
    attribute: str
    event_type: int
    mailbox: Mailbox[Any]
    listener: Listener
    wanted: bool = True
    is_open: bool = False
    tried: trio.Event = attrs.field(factory=trio.Event)
    """Set once it was open or failed for the first time."""
    next_try: float = 0.0
    identifier: int | None = None
    """Tango's, while it is subscribed."""
    heard: bool = False
    """Whether anything came since that was last asked."""
    has_value: bool = False
    """Whether an event brought one since it was opened or confirmed."""
    last: Any = None
    """What came last."""
    broken: bool = False
    """Whether Tango said that its connection is lost."""
    _was_open: bool = False
    _backoff: Backoff = attrs.field(factory=lambda: Backoff(RETRY_FIRST, RETRY_MOST))
    proxy: Any = None

    @property
    def name(self) -> str:
        """Device and attribute."""
        return f"{self.device}/{self.attribute}"

    def opened(self) -> None:
        """Its connection is there."""
        again, self._was_open = self._was_open, True
        self.is_open = True
        self._backoff.reset()
        self.tried.set()
        self.listener.opened(again=again)

    def failed(self, error: EndpointError) -> None:
        """It was lost, or could not be opened."""
        self.is_open = False
        self.next_try = trio.current_time() + self._backoff.next()
        self.listener.failed(error)
        self.tried.set()
