"""All subscriptions of a connector: one object for each device server, one bell for all events.

* cost      a subscription that is quiet costs nothing. A server is asked for a sign of life when
            nothing came from it for `SILENCE`, once for all subscriptions on it; what comes in a
            burst, from wherever, wakes the loop once
* faults    a server that is dead, mute or slow holds up nobody else: what waits for it is a task,
            and a thread is given only to one that has just answered
* recovery  a server that has gone is noticed at once, by its connection; one that is frozen within
            twice `SILENCE` and `locate.PATIENCE`. Its subscriptions are taken down, and opened anew
            when it answers, in tries that are `client.RETRY_MOST` apart at most. What was pushed in
            between is lost
* units     seconds
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import trio

from ...model.errors import EndpointError
from ...model.shared import Shared, background
from ...runtime.inbox import Inbox, Mailbox
from ...runtime.worker import Worker
from .client import thread_context
from .directory import Directory
from .event_server import Server, Workers
from .inboxes import Inboxes
from .locate import Address
from .subscription import Subscription

SILENCE = 0.5
"""Seconds without an event from a server after which it is asked for a sign of life."""

PAUSE = 0.01
"""Seconds after a burst of many events, in which the next one gathers."""

OPENING = 1.0
"""Seconds that sources which are started one after the other wait, all in all, to be subscribed."""

_MOST_SUBSCRIBING, _MOST_CALLING = 4, 12
"""Threads for calls to servers that have just answered."""


class EventClient:
    """The subscriptions of a connector; used on the Trio thread, through `event_client`."""

    def __init__(self) -> None:
        self.bell: Inbox[Mailbox[object]] = Inbox(math.inf)
        self.inboxes = Inboxes()
        self._directory = Directory()
        self._servers: dict[Address, Server] = {}
        self._workers = Workers(
            Worker(thread_context, _MOST_SUBSCRIBING), Worker(thread_context, _MOST_CALLING)
        )
        self._nursery: trio.Nursery
        self._ready = trio.Event()
        self._grace_until = -math.inf
        self._log = logging.getLogger("queue_connector")

    def add(self, subscription: Subscription) -> None:
        """Open it as soon as may be, and again whenever it is lost."""
        self._nursery.start_soon(self._place, [subscription])

    async def first_tries(self, subscriptions: Iterable[Subscription]) -> None:
        """Wait until they are open or failed, unless those before have had that time."""
        now = trio.current_time()
        if now > self._grace_until + OPENING:
            self._grace_until = now + OPENING
        with trio.move_on_at(self._grace_until):
            for subscription in subscriptions:
                await subscription.tried.wait()

    async def remove(self, subscriptions: Sequence[Subscription]) -> None:
        """Take them down; on return nothing comes any more."""
        for subscription in subscriptions:
            subscription.wanted = False
        for server in list(self._servers.values()):
            await server.remove([each for each in subscriptions if each in server.subscriptions])
        for subscription in subscriptions:
            subscription.mailbox.close()
            self.inboxes.remove(subscription.mailbox)

    async def run(self) -> None:
        """Serve until cancelled."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._deliver)
            self._nursery.start_soon(self._look_round)
            self._ready.set()

    async def ready(self) -> None:
        """Return once it can be used."""
        await self._ready.wait()

    async def _deliver(self) -> None:
        while True:
            mailboxes = await self.bell.receive(1_000_000)
            several = len(mailboxes) > 1
            for mailbox in mailboxes:
                several = mailbox.heard() or several
            if several:
                await trio.sleep(PAUSE)

    async def _look_round(self) -> None:
        while True:
            await trio.sleep(SILENCE)
            for server in list(self._servers.values()):
                server.look()

    async def _place(self, subscriptions: Sequence[Subscription], pause: float = 0.0) -> None:
        """Give those to one device to the server that it is on."""
        while subscriptions := [each for each in subscriptions if each.wanted]:
            await trio.sleep(pause)
            try:
                address = await self._directory.find(subscriptions[0].device)
            except EndpointError as error:
                for subscription in subscriptions:
                    subscription.failed(error)
                pause = _pause(subscriptions)
                continue
            for subscription in subscriptions:
                if subscription.wanted:
                    self._server(address, subscription)
            return

    def _server(self, address: Address, subscription: Subscription) -> None:
        server = self._servers.get(address)
        if server is None:
            server = Server(address, self._workers, self.bell, lambda: self._has_no_other(address))
            self._servers[address] = server
            self._nursery.start_soon(self._serve, server)
        server.add(subscription)

    def _has_no_other(self, address: Address) -> bool:
        return not any(
            subscription.is_open
            for other in self._servers.values()
            if other.address != address
            for subscription in other.subscriptions
        )

    async def _serve(self, server: Server) -> None:
        lost: EndpointError | None = None
        try:
            await server.run()
        except EndpointError as error:
            lost = error
        except Exception as error:  # nothing of one server may end the others
            self._log.exception("the subscriptions on %s begin anew", server.address)
            lost = EndpointError(str(server.address), "subscribing", f"unexpected {error!r}")
        del self._servers[server.address]
        by_device: dict[str, list[Subscription]] = {}
        for subscription in server.subscriptions:
            if lost is not None:
                subscription.failed(lost)
            by_device.setdefault(subscription.device, []).append(subscription)
        for device, subscriptions in by_device.items():
            self._directory.forget(device)
            self._nursery.start_soon(self._place, subscriptions, _pause(subscriptions))


def _pause(subscriptions: Sequence[Subscription]) -> float:
    """How long to wait before these are tried again."""
    times = [each.next_try for each in subscriptions]
    return max(min(times, default=0.0) - trio.current_time(), 0.0)


@asynccontextmanager
async def _opened() -> AsyncIterator[EventClient]:
    client = EventClient()
    async with background(client.run):
        await client.ready()
        yield client


def event_client(shared: Shared) -> AbstractAsyncContextManager[EventClient]:
    """The one of a connector."""
    return shared.use("the events of Tango devices", _opened)
