"""The subscriptions on one device server, from the moment that it answers until it has gone.

* threads   one at a time, and only for calls to a server that has just answered
* tasks     three for each server, however many subscriptions it has
* order     what was read when a subscription was opened comes only if no event with a value came
            until `SETTLE` after the answer: it never follows what is younger
* units     seconds
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import trio

from ...model.errors import EndpointError, leaves
from ...runtime.inbox import Inbox, Mailbox
from ...runtime.worker import Worker
from .client import ServerClient, same
from .locate import Address, DeviceName, Link, link
from .subscription import NoValue, Subscription

CONFIRM = 10.0
"""Seconds after which the subscriptions on a server are confirmed."""

SETTLE = 0.1
"""Seconds that the connection of a subscription's events may take to be made, and that events which
were on their way when a value was read may take to come."""

SLOW = 0.1
"""Seconds that a sign of life may take where subscribing is to hold up nobody: while Tango waits
for a server's answer to that, it keeps back the events of all others."""

SLOW_PATIENCE = 60.0
"""Seconds after which a server that stays slow is subscribed to all the same."""

_SLOW_RETRY = 1.0
_TOGETHER = 20
"""Subscriptions that are opened one after the other before the server is asked again."""


@attrs.frozen
class Workers:
    """The threads for calls to servers that have just answered, shared by all of them."""

    subscribing: Worker
    calling: Worker


class Server:
    """One device server; `run` ends when it has gone, or nobody wants anything of it any more."""

    def __init__(
        self,
        address: Address,
        workers: Workers,
        bell: Inbox[Mailbox[Any]],
        alone: Callable[[], bool] = lambda: True,
    ) -> None:
        """*alone* says whether no other server has a subscription that could be held up."""
        self.address = address
        self._alone = alone
        self._slow_since = math.inf
        self._bell = bell
        self._changed: set[str] = set()
        self.subscriptions: set[Subscription] = set()
        self._workers = workers
        self._client = ServerClient()
        self._due = trio.Event()
        self._connection: Link
        self._silent = False
        self._confirm_at = 0.0
        self._subscribing: set[Subscription] = set()
        self._subscribed = trio.Event()

    def add(self, subscription: Subscription) -> None:
        """Open it as soon as may be."""
        self.subscriptions.add(subscription)
        self._due.set()

    async def remove(self, subscriptions: Sequence[Subscription]) -> None:
        """Take them down; on return nothing comes any more."""
        if not subscriptions:
            return
        if not self._subscribing.isdisjoint(subscriptions):
            await self._subscribed.wait()
        self.subscriptions.difference_update(subscriptions)
        there = [each for each in subscriptions if each.identifier is not None]
        if there:
            await self._workers.subscribing.run(self._client.unsubscribe, there)
        if not self.subscriptions:
            self._due.set()

    def look(self) -> None:
        """See whether there is something to do; called again and again."""
        heard = [each for each in self.subscriptions if each.heard]
        for subscription in heard:
            subscription.heard = False
        self._silent = not heard
        now = trio.current_time()
        if self._silent or now >= self._confirm_at or next(self._to_open(now), None):
            self._due.set()

    async def run(self) -> None:
        """Serve the subscriptions.

        Raises:
            EndpointError: the server cannot be reached, or has gone; all of them are taken down.
        """
        key = DeviceName.parse(next(iter(self.subscriptions)).device).device
        error: EndpointError | None = None
        try:
            async with link(self.address, key) as self._connection, trio.open_nursery() as nursery:
                nursery.start_soon(self._connection.watch)
                await self._serve(nursery)
                nursery.cancel_scope.cancel()
        except* EndpointError as errors:
            error = next(each for each in leaves(errors) if isinstance(each, EndpointError))
        finally:
            with trio.CancelScope(shield=True):  # bounded: the server is not asked
                everything = list(self.subscriptions)
                await self._workers.subscribing.run(self._client.close, everything)
        if error is not None:
            raise error

    async def _serve(self, nursery: trio.Nursery) -> None:
        self._confirm_at = trio.current_time() + CONFIRM
        while self.subscriptions:
            self._due = trio.Event()
            now = trio.current_time()
            if self._silent or now >= self._confirm_at or next(self._to_open(now), None):
                await self._connection.ask()  # what follows would wait long for one that is frozen
                self._silent = False
            changed, self._changed = self._changed, set()
            for device in changed:
                nursery.start_soon(self._revive, device)
            await self._open(nursery)
            if trio.current_time() >= self._confirm_at:
                await self._confirm_all()
            await self._due.wait()

    def _to_open(self, now: float) -> Iterator[Subscription]:
        return (
            each
            for each in self.subscriptions
            if each.broken or (each.identifier is None and each.next_try <= now)
        )

    async def _too_slow(self) -> EndpointError | None:
        """Why subscribing has to wait for the server to be quicker, if it has.

        Raises:
            EndpointError: there is no sign of life.
        """
        began = trio.current_time()
        await self._connection.ask()
        took = trio.current_time() - began
        if took <= SLOW or self._alone():
            self._slow_since = math.inf
            return None
        self._slow_since = min(self._slow_since, began)
        if began - self._slow_since > SLOW_PATIENCE:
            return None
        return EndpointError(
            str(self.address),
            "device server",
            f"it took {took:.1f} s for a sign of life, and subscribing would hold up the events of "
            f"others; that waits until it is quicker, {SLOW_PATIENCE:g} s at most",
        )

    async def _open(self, nursery: trio.Nursery) -> None:
        due = list(self._to_open(trio.current_time()))
        for first in range(0, len(due), _TOGETHER):
            await self._open_some(due[first : first + _TOGETHER], nursery)

    async def _open_some(self, due: list[Subscription], nursery: trio.Nursery) -> None:
        devices = {each.device for each in due}
        try:
            unreached = await self._workers.calling.run(self._client.reach, devices)
        except EndpointError as error:
            unreached = dict.fromkeys(devices, error)
        failed = {each: unreached[each.device] for each in due if each.device in unreached}
        wanted = [each for each in due if each not in failed and each in self.subscriptions]
        if slow := await self._too_slow():  # reaching its devices may have taken long, too
            for subscription in wanted:
                subscription.failed(slow)
            return
        self._subscribing, self._subscribed = set(wanted), trio.Event()
        try:
            failed |= await self._workers.subscribing.run(self._client.subscribe, wanted)
        finally:
            self._subscribing.clear()
            self._subscribed.set()
        for subscription, failure in failed.items():
            subscription.failed(failure)
        opened = [each for each in wanted if each not in failed]
        if opened:
            nursery.start_soon(self._settle, opened, nursery)

    async def _settle(self, opened: list[Subscription], nursery: trio.Nursery) -> None:
        """Once their connection is there, say so, and read what they are at."""
        await trio.sleep(SETTLE)
        by_device: dict[str, list[Subscription]] = {}
        for subscription in opened:
            if subscription.identifier is not None and subscription in self.subscriptions:
                subscription.opened()
                by_device.setdefault(subscription.device, []).append(subscription)
        for device, subscriptions in by_device.items():
            nursery.start_soon(self._begin, device, subscriptions)

    async def _begin(self, device: str, subscriptions: Sequence[Subscription]) -> None:
        """Hand on what the attributes are at, and see whether the device changes from now on."""
        for subscription, value in await self._read(device, subscriptions):
            subscription.last = value
            subscription.mailbox.put(value)
        while True:  # reading may have taken long, too
            if not await self._too_slow():
                break
            await trio.sleep(_SLOW_RETRY)
        told = Mailbox[Any](self._bell, 1, lambda: self._device_changed(device, told))
        await self._workers.subscribing.run(self._client.watch, device, told.put)

    async def _read(
        self, device: str, subscriptions: Sequence[Subscription]
    ) -> list[tuple[Subscription, Any]]:
        """The values of those of which no event came with one."""
        identifiers = [each.identifier for each in subscriptions]
        names = [each.attribute for each in subscriptions]
        values = await self._workers.calling.run(self._client.read, device, names)
        await trio.sleep(SETTLE)
        return [
            (subscription, value)
            for subscription, identifier, value in zip(
                subscriptions, identifiers, values, strict=True
            )
            if subscription.identifier == identifier and not subscription.has_value
        ]

    def _device_changed(self, device: str, told: Mailbox[Any]) -> None:
        told.take(1)
        self._changed.add(device)
        for subscription in self.subscriptions:
            if subscription.device == device:
                subscription.next_try = 0.0
        self._due.set()

    async def _revive(self, device: str) -> None:
        """Attributes came or went: see to it that ours are heard, and whether they were not."""
        there = [each for each in self.subscriptions if each.device == device and each.is_open]
        for subscription in there:
            subscription.has_value = False
        await self._confirm(there)
        still = [each for each in there if each.is_open]
        for subscription, value in await self._read(device, still):
            if not isinstance(value, NoValue) and not same(value, subscription.last):
                subscription.opened()
                subscription.last = value
                subscription.mailbox.put(value)

    async def _confirm_all(self) -> None:
        self._confirm_at = trio.current_time() + CONFIRM
        await self._confirm([each for each in self.subscriptions if each.is_open])

    async def _confirm(self, subscriptions: Sequence[Subscription]) -> None:
        """Say what is still wanted; what the server does not know any more is opened anew."""
        if not subscriptions:
            return
        unknown = await self._workers.calling.run(self._client.confirm, subscriptions)
        gone = [each for each in unknown if each in self.subscriptions]
        await self._workers.subscribing.run(self._client.unsubscribe, gone)
        for subscription in gone:
            subscription.failed(unknown[subscription])
        self._due.set()
