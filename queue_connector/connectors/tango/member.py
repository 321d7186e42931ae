"""One subscription of a source: its mailbox, its account, and what is to be told of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import trio

from ...model.datatypes import DataSpec
from ...model.errors import EndpointError
from ...model.services import Services
from ...runtime.inbox import Mailbox
from .event_client import EventClient
from .inboxes import UNSIZED_EVENTS, size_of
from .own_events import NOT_THERE, OwnEvents, not_there, own_events
from .subscription import NoValue, Subscription

_MISSED = "API_MissedEvents"


class Member:
    """One subscription of a source: its mailbox, its account, and what is to be told of it."""

    def __init__(
        self,
        device: str,
        attribute: str,
        event_type: int,
        spec: DataSpec,
        services: Services,
    ) -> None:
        self.device = device
        self._attribute = attribute
        self._event_type = event_type
        self.position = f"{device}/{attribute}"
        self.account = services.account
        self.condition = services.condition
        self._size = size_of(spec)
        self._log = services.log
        self._exchange = services.exchange
        self._host = services.attributes
        self._own: OwnEvents | None = None
        self._overflowed = 0
        self._trouble = ""
        self._said_until = 0.0
        self.mailbox: Mailbox[Any]
        self.subscription: Subscription

    def subscribe(self, client: EventClient, arrived: Callable[[Member], None]) -> None:
        """Wish for the events; *arrived* is called whenever some are there."""
        self.mailbox = Mailbox(client.bell, UNSIZED_EVENTS, lambda: arrived(self))
        client.inboxes.add(self.mailbox, self._size)
        wish = self.subscription = Subscription(
            self.device, self._attribute, self._event_type, self.mailbox, self
        )
        self.condition.waits(f"the subscription to {self.position}")
        self.condition.gauges["queued"] = self.mailbox.__len__
        self.condition.gauges["pending"] = lambda: int(not wish.is_open)
        self._own = own_events(self._host, wish)
        if self._own is not None:
            self._own.listen(wish)
        else:
            client.add(wish)

    def leave(self) -> None:
        """Take in nothing more of an attribute of the device itself."""
        if self._own is not None:
            self._own.leave(self.subscription)

    async def must_be_open(self) -> None:
        """Wait for the first try.

        Raises:
            EndpointError: it did not succeed.
        """
        await self.subscription.tried.wait()
        if not self.subscription.is_open:
            raise EndpointError(self.position, "subscription", self.condition.error)

    def opened(self, *, again: bool) -> None:
        """Say that the subscription is there, and count what may have been lost before."""
        self.condition.is_well()
        self._trouble = ""
        if again:
            self.account.upstream["subscribed again"] += 1
            self._log.info("%s: %s: subscribed again", self._exchange, self.position)

    def failed(self, error: EndpointError) -> None:
        """Say that there is no subscription, and why."""
        self.condition.waits(f"the subscription to {self.position}", str(error))
        self._say(str(error))

    def take(self, most: int) -> list[Any]:
        """The values that are there; what else events said is counted."""
        items = self.mailbox.take(most)
        self.collect()
        if self._own is not None and self.subscription.wanted:
            self._follow(items)
        if not any(type(item) is NoValue for item in items):
            return items
        for item in items:
            if type(item) is NoValue:
                self._count(item)
        return [item for item in items if type(item) is not NoValue]

    def collect(self) -> None:
        """Count what had no room in the mailbox."""
        if self.mailbox.overflowed > self._overflowed:
            lost = self.mailbox.overflowed - self._overflowed
            self._overflowed += lost
            self.account.drop("inbox full", lost)

    def _follow(self, items: Iterable[Any]) -> None:
        """See by what came whether the attribute is there."""
        for item in items:
            if item is NOT_THERE:
                self.subscription.failed(not_there(self.subscription))
            elif not self.subscription.is_open:
                self.subscription.opened()

    def _count(self, event: NoValue) -> None:
        if not event.reason:
            self.account.drop("invalid quality")
            return
        missed = event.reason == _MISSED
        self.account.upstream["missed events" if missed else "error event"] += 1
        self._say(f"{event.message} [{event.reason}]")

    def _say(self, trouble: str) -> None:
        """Log what is wrong, once for each change of it, and again after a minute without."""
        now = trio.current_time()
        if trouble != self._trouble or now > self._said_until:
            self._trouble = trouble
            self._log.warning("%s: %s: %s", self._exchange, self.position, trouble)
        self._said_until = now + 60.0
