"""The telescope: a plain Tango client that subscribes to the offsets of every dish.

It uses nothing of the connector's own client, so that what it counts is what any client sees.

* events    counted by dish. The first one, which Tango makes of the value that is current at the
  subscription, is no datum and is not counted
* trouble   ``API_MissedEvents`` and other error events are counted apart, by reason
* threads   Tango's only append to an inbox; proxies are used in one worker thread
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import tango
import trio

from ..runtime.inbox import Inbox
from ..runtime.worker import Worker
from .children import Child
from .remote import refused
from .routes import Dish

INBOX_LIMIT = 100_000


class Telescope:
    """Subscriptions to the offset attributes of one connector. Made on the Trio thread."""

    def __init__(self, device: str, dishes: Sequence[Dish]) -> None:
        self.events = dict.fromkeys((dish.name for dish in dishes), 0)
        self.latest: dict[str, list[float]] = {}
        self.trouble: Counter[str] = Counter()
        self._device = device
        self._dishes = dishes
        self._worker = Worker(tango.EnsureOmniThread)
        self._inbox: Inbox[tuple[str, str, list[float]]] = Inbox(INBOX_LIMIT)
        self._ids: list[int] = []
        self._proxy: Any = None

    async def subscribe(self) -> None:
        """Subscribe to all; raises ``tango.DevFailed``."""
        await self._worker.run(self._subscribe)

    def _subscribe(self) -> None:
        self._proxy = tango.DeviceProxy(self._device)
        for dish in self._dishes:
            self._ids.append(
                self._proxy.subscribe_event(
                    dish.offset_attribute,
                    tango.EventType.CHANGE_EVENT,
                    self._receiver(dish.name),
                    tango.EventSubMode.SyncRead,
                )
            )

    def _receiver(self, name: str) -> Callable[[Any], None]:
        first = True

        def receive(event: Any) -> None:
            nonlocal first
            if event.err:
                self._inbox.put((name, event.errors[0].reason, []))
            elif not first:
                self._inbox.put((name, "", event.attr_value.value.tolist()))
            first = False

        return receive

    async def watch(self) -> None:
        """Count what comes, until cancelled."""
        while True:
            for name, reason, value in await self._inbox.receive(1000):
                if not reason:
                    self.events[name] += 1
                    self.latest[name] = value
                else:
                    self.trouble[reason] += 1

    async def unsubscribe(self) -> None:
        """Take the subscriptions back; a process that exits with some may crash."""
        with trio.CancelScope(shield=True):  # bounded by Tango's timeouts
            await self._worker.run(self._unsubscribe)

    def _unsubscribe(self) -> None:
        while self._ids:
            with suppress(tango.DevFailed):  # the connector is gone
                self._proxy.unsubscribe_event(self._ids.pop())


@asynccontextmanager
async def open_telescope(
    server: Child, device: str, dishes: Sequence[Dish]
) -> AsyncIterator[Telescope]:
    """A telescope that has subscribed and counts.

    Raises:
        DemoError: it cannot subscribe to the device of *server*.
    """
    telescope = Telescope(device, dishes)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(telescope.watch)
        try:
            try:
                await telescope.subscribe()
            except tango.DevFailed as error:
                raise await refused(server, error) from None
            yield telescope
        finally:
            await telescope.unsubscribe()
        nursery.cancel_scope.cancel()
