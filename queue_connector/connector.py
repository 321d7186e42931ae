"""A connector: the groups of one configuration, the database that drives them, and how they are.

This is the half of the Tango device that lives in Trio and knows nothing of Tango. The device is
one user of it; a program that carries data without a device is another.

* owns      the supervisor of the groups, the monitor of a configuration database, the server of
            metrics
* tells     `Connector.announcement`, how all of it is, and each change to whoever opened it
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Protocol

import attrs
import trio

from . import configdb, connectors
from .engine.state import Health, State
from .engine.supervisor import STOP_GRACE, Supervisor, open_supervisor
from .model.errors import QueueConnectorError, StateError
from .model.exchanges import DEFAULT_GROUP, QueueConnectorDescriptor
from .model.services import AttributeHost
from .observability.http_server import HttpServer
from .observability.metrics import Snapshot
from .observability.pages import pages
from .reconfiguration.children import read_once
from .reconfiguration.flows.monitor import FlowMonitor
from .reconfiguration.following import Following
from .reconfiguration.monitor import Monitor
from .runtime.logs import lost_lines

FAREWELL = 2.0
"""Seconds in which the configuration database is told of the last states."""

PATIENCE = 2.0
"""Seconds after which an end that takes longer says what it waits for, again and again."""

ANNOUNCEMENTS = 256
"""State changes that may wait to be announced; beyond them the oldest are only logged."""

METRICS_HOST = "127.0.0.1"
"""Where metrics are served unless told otherwise."""

_log = logging.getLogger(__name__)


@attrs.frozen
class Announcement:
    """How a connector is at one instant: its state, that state in words, how well it does."""

    state: State
    status: str
    health: Health


class AttributePublisher(AttributeHost, Protocol):
    """Where attributes are published, and what it knows of those who read them."""

    def problems(self) -> Sequence[str]:
        """What is to be told of attributes and of their subscribers, a line each."""
        ...

    def slow_subscribers(self) -> int:
        """How many do not take their events at the moment."""
        ...

    def cut_subscribers(self) -> int:
        """How many were cut off for it until now."""
        ...


Announce = Callable[[Sequence[Announcement]], Awaitable[None]]
"""Told of every change, in order; of several at once when they come faster than it takes them."""


async def _tell_nobody(_announcements: Sequence[Announcement]) -> None:
    await trio.lowlevel.checkpoint()


class Connector:
    """Groups of exchanges and what drives and watches them; see `open_connector`.

    What it does to the groups is in `supervisor`; what is here concerns the whole.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        name: str = "",
        publisher: AttributePublisher | None = None,
        announce: Announce = _tell_nobody,
        database: Callable[[], configdb.ConfigDatabase] = configdb.from_environment,
    ) -> None:
        self.supervisor: Supervisor
        self.announcement = Announcement(State.INIT, "starting", Health.UNKNOWN)
        self.fault = ""
        """Why the whole is in FAULT, whatever its groups are in."""
        self._name = name
        self._nursery = nursery
        self._publisher = publisher
        self._announce = announce
        self._database = database
        self._waiting: deque[Announcement] = deque(maxlen=ANNOUNCEMENTS)
        self._changed = trio.Event()
        self._http: HttpServer | None = None
        self._monitor: Following | None = None
        self._monitor_scope = trio.CancelScope()
        self._monitor_ended = trio.Event()

    # -- what is told ------------------------------------------------------------------------------

    def changed(self) -> None:
        """Something may be another way than it was announced."""
        if self._monitor is not None:
            self._monitor.group_changed()
        announcement = self._present()
        if announcement != self.announcement:
            self.announcement = announcement
            self._waiting.append(announcement)
            self._changed.set()

    def _present(self) -> Announcement:
        monitor = self._monitor
        notes, problems = ((), []) if monitor is None else (monitor.notes, [*monitor.problems])
        if self._http is not None and self._http.problem:
            problems.append(self._http.problem)
        health = max(self.supervisor.health, Health.DEGRADED if problems else Health.OK)
        lines = [self.supervisor.status, *notes, *problems]
        if self._publisher is not None:
            lines += self._publisher.problems()
        if fault := self.fault or (monitor.refusal if monitor is not None else ""):
            return Announcement(State.FAULT, "\n".join([fault, *lines]), Health.FAILED)
        return Announcement(self.supervisor.state, "\n".join(lines), health)

    async def announce(self) -> None:
        """Tell of every change, until cancelled."""
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            await self._announce_waiting()

    async def _announce_waiting(self) -> None:
        waiting = list(self._waiting)
        self._waiting.clear()
        await self._announce(waiting)

    def snapshot(self) -> Snapshot:
        """All that is counted, at this instant."""
        return Snapshot(
            statistics=self.supervisor.statistics(),
            groups=self.supervisor.as_dict(),
            connected=self._monitor.connected if self._monitor is not None else None,
            slow=self._publisher.slow_subscribers() if self._publisher is not None else None,
            cut=self._publisher.cut_subscribers() if self._publisher is not None else None,
            lost_lines=lost_lines(),
        )

    def serve_pages(self, host: str, port: int) -> None:
        """Serve what `pages` has over HTTP from now on."""

        def present() -> tuple[State, str]:
            return self.announcement.state, self.announcement.status

        values = self.supervisor.operations.last_values
        found = pages(self._name, self.snapshot, present, values)
        self._http = HttpServer("status page and metrics", host, port, found, self.changed)
        self._nursery.start_soon(self._http.run)

    # -- the configuration database ----------------------------------------------------------------

    @property
    def monitoring(self) -> bool:
        """Whether changes of the configuration database are seen as they happen."""
        monitor = self._monitor
        return monitor is not None and monitor.connected

    async def monitor(self, path: str, *, standby: bool = False) -> None:
        """Make the groups those that stand below a path, from now on; "" stops that.

        Only one of those that follow a path streams: with *standby*, this one waits its turn.

        Raises:
            ConfigError: no path, no database, or none to stand by with; nothing was changed.
        """
        await self._follow(partial(Monitor, path=path, standby=standby) if path else None)

    async def follow_flows(
        self, subarray: str, *, standby: bool = False, tell_states: bool = True
    ) -> None:
        """Make the groups the flows of a subarray, from now on; the rest is as with `monitor`.

        *tell_states* says whether the states of the flows are written.
        """
        flows = partial(FlowMonitor, subarray=subarray, standby=standby, tell_states=tell_states)
        await self._follow(flows)

    async def _follow(self, make: Callable[..., Following] | None) -> None:
        """Follow what this makes from now on, and nothing else."""
        monitor = make and make(
            database=self._database(),
            supervisor=self.supervisor,
            on_change=self.changed,
            device=self._name,
        )
        if self._monitor is not None:
            self._monitor_scope.cancel()
            await self._monitor_ended.wait()
        if monitor is not None:
            self._monitor = monitor
            self._monitor_scope, self._monitor_ended = trio.CancelScope(), trio.Event()
            self._nursery.start_soon(self._run_monitor, monitor)
        await trio.lowlevel.checkpoint()

    async def _run_monitor(self, monitor: Following) -> None:
        try:
            with self._monitor_scope:
                await monitor.run()
        except* Exception as errors:
            _log.critical("the configuration database is not watched any more", exc_info=errors)
        finally:
            self._monitor = None
            self.supervisor.permit()
            self._monitor_ended.set()
        self.changed()

    async def configure_from(self, path: str) -> None:
        """Take on what stands below a path now, see `Supervisor.configure`."""
        async with self._database() as database:
            descriptor = await read_once(database, path)
        await self.supervisor.configure(descriptor)

    async def run(self, descriptor: QueueConnectorDescriptor) -> None:
        """Take on a configuration and stream until all of it has ended; for ever, of live sources.

        Raises:
            StateError: it streams already, or is in FAULT.
            QueueConnectorError: attributes cannot be defined, or an exchange has failed.
        """
        await self.supervisor.configure(descriptor)
        await self.supervisor.start()
        await self.supervisor.wait_idle()
        for group in self.supervisor.groups.values():
            for error in group.errors:
                raise error

    # -- faults ------------------------------------------------------------------------------------

    async def refuse(self, error: QueueConnectorError) -> None:
        """The first configuration cannot be taken on."""
        await trio.lowlevel.checkpoint()
        self.supervisor.refuse(DEFAULT_GROUP, error)

    async def fail(self, fault: str) -> None:
        """Go to FAULT as a whole, for a reason that is no group's."""
        await trio.lowlevel.checkpoint()
        self.fault = fault
        self.changed()

    async def reset(self) -> None:
        """Leave FAULT: that of the whole, and that of every group.

        Raises:
            StateError: nothing is in FAULT.
        """
        refused = self._monitor is not None and self._monitor.look_again()
        own, self.fault = self.fault, ""
        try:
            await self.supervisor.reset()
        except StateError:  # no group is in FAULT
            if not own and not refused:
                raise
        self.changed()

    # -- the end -----------------------------------------------------------------------------------

    async def close(self) -> None:
        """Stop in order, within the stop grace, and tell everybody of the last states."""
        self._nursery.start_soon(self._say_what_for)
        await self.supervisor.close()
        if self.monitoring and self._monitor is not None:
            with trio.move_on_after(FAREWELL):
                await self._monitor.reported()
        await self._announce_waiting()

    async def _say_what_for(self) -> None:
        """Log what an end waits for, until cancelled."""
        while True:
            await trio.sleep(PATIENCE)
            waits = [
                f"{exchange}: {sink['in_flight']} in flight at {sink['name']}"
                for exchange, ledger in self.supervisor.statistics().items()
                for sink in ledger["sinks"]
                if sink["in_flight"]
            ]
            _log.warning("still ending: %s", "; ".join(waits) or self.supervisor.status)


@asynccontextmanager
async def open_connector(
    *,
    name: str = "",
    publisher: AttributePublisher | None = None,
    announce: Announce = _tell_nobody,
    database: Callable[[], configdb.ConfigDatabase] = configdb.from_environment,
    stop_grace: float = STOP_GRACE,
    metrics_port: int = 0,
    metrics_host: str = METRICS_HOST,
) -> AsyncIterator[Connector]:
    """A `Connector` at work; on leaving, what still streams is cut off and counted so.

    An error of the body is raised as it is, not in a group.

    Args:
        name: That of the device, which tells its own attributes from those of others.
        publisher: Where sinks publish attributes; without it they cannot be built.
        announce: Told of every change of the state.
        database: Makes the configuration database, anew for each use; by default the one that the
            environment names.
        stop_grace: Seconds in which an orderly stop delivers what is in flight.
        metrics_port: Where metrics are served over HTTP; 0 for nowhere.
        metrics_host: The address of it.
    """
    failure: Exception | None = None
    connectors.import_clients()
    async with trio.open_nursery() as nursery:
        connector = Connector(
            nursery, name=name, publisher=publisher, announce=announce, database=database
        )
        async with open_supervisor(
            attributes=publisher, on_change=connector.changed, stop_grace=stop_grace
        ) as connector.supervisor:
            nursery.start_soon(connector.announce)
            if metrics_port:
                connector.serve_pages(metrics_host, metrics_port)
            connector.changed()
            try:
                yield connector
            except Exception as error:
                failure = error
            nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
