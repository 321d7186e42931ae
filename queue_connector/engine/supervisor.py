"""The wanted configuration becomes running groups: validate → compare → apply.

The supervisor is what a device commands. A command reaches every group that its state table
allows it for; a device command that no group allows is refused with the device's state.

What a configuration database wants, `Supervisor.follow`, is applied by `following`.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio

from ..model.convert import unstructure
from ..model.errors import ClosedError, QueueConnectorError, StateError
from ..model.exchanges import ExchangeDescriptor, QueueConnectorDescriptor
from ..model.services import AttributeHost
from . import overview
from .following import Following, Wanted
from .group import Group
from .groups import Groups
from .operations import Operations
from .plan import same
from .state import Health, State, Trigger, aggregate, allowed

STOP_GRACE = 10.0
"""Default seconds in which an orderly stop delivers what is in flight."""


class Supervisor:
    """The groups of one device, in one nursery."""

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        attributes: AttributeHost | None = None,
        on_change: Callable[[], None] = lambda: None,
        log: logging.Logger | None = None,
        stop_grace: float = STOP_GRACE,
    ) -> None:
        self._on_change = on_change
        self._log = log = log or logging.getLogger("queue_connector")
        self.groups = Groups(nursery, attributes, on_change, log, stop_grace)
        self._following = Following(nursery, self.groups, attributes, log)
        self.operations = Operations(nursery, self.groups, Group.tell, log)
        self._commands = trio.Lock()
        self._closed = False

    @property
    def state(self) -> State:
        """The state of the device."""
        return aggregate(group.state for group in self.groups.values())

    @property
    def health(self) -> Health:
        """Whether what is configured is done."""
        return overview.health(self.groups)

    @property
    def status(self) -> str:
        """The state in words, see `overview.status`."""
        return overview.status(self.groups)

    async def watch(self) -> None:
        """Tell of endpoints that cannot go on, see `overview.watch`."""
        await overview.watch(self.groups, self._on_change, self._log)

    async def configure(self, descriptor: QueueConnectorDescriptor) -> None:
        """Make the groups those of *descriptor*: add, keep the equal ones, change, remove.

        Raises:
            StateError: a group is streaming or in FAULT; nothing was changed.
            QueueConnectorError: attributes cannot be defined; that group is in FAULT.
        """
        async with self._commands:
            states = allowed(Trigger.CONFIGURE)
            for group in self.groups.values():
                if group.state not in states:
                    raise StateError(Trigger.CONFIGURE.value, self.state, states)
            wanted = descriptor.groups
            for name, group in list(self.groups.items()):
                async with group.changing:
                    if self.groups.get(name) is not group:  # removed while this waited
                        continue
                    if group.state not in states:  # or started
                        raise StateError(Trigger.CONFIGURE.value, self.state, states)
                    await group.release(wanted.get(name, ()))
                    if name not in wanted:
                        await group.configure(())
                        del self.groups[name]
            for name, exchanges in wanted.items():
                await self._configure(name, exchanges)
            self._on_change()

    async def _configure(self, name: str, exchanges: Sequence[ExchangeDescriptor]) -> None:
        while True:
            group = self.groups.get(name) or self.groups.add(name)
            async with group.changing:
                if self.groups.get(name) is not group:  # removed while this waited
                    continue
                if not same(group.exchanges, exchanges) or not exchanges:
                    await group.configure(exchanges)
                return

    def follow(self, wanted: Mapping[str, Wanted]) -> None:
        """Make the groups those *wanted*, and stream them; returns at once.

        Groups that are not among them are stopped in order and removed.
        """
        if not self._closed:
            self._following.follow(wanted)

    def permit(self) -> None:
        """Groups may stream, when they are told to."""
        self.groups.permission.refusal = ""

    def go_on(self) -> None:
        """Groups may stream, and those that are followed do."""
        self.permit()
        self._following.go_on()

    async def hold_back(self, reason: str, deadline: float) -> None:
        """Stop whatever streams, and let nothing stream until `go_on`.

        It stops in order until *deadline*, a time of Trio's clock, and is cut off then. On return
        it has ended, and is configured as before.
        """
        self.groups.permission.refusal = reason
        for group in self.groups.values():
            if group.state in allowed(Trigger.STOP):
                group.request_stop()
            group.halt()
        with trio.CancelScope(deadline=deadline):
            await self.wait_idle()
            return
        async with trio.open_nursery() as nursery:
            for group in self.groups.values():
                nursery.start_soon(group.cut_off)

    # -- commands ----------------------------------------------------------------------------------

    def refuse(self, name: str, error: QueueConnectorError) -> None:
        """A configuration for a group that is not running cannot be taken on: FAULT."""
        group = self.groups.get(name) or self.groups.add(name)
        group.refuse(error)

    def _allowing(self, trigger: Trigger) -> list[Group]:
        """The groups whose state allows *trigger*; raises `StateError` when there are none."""
        states = allowed(trigger)
        found = [group for group in self.groups.values() if group.state in states]
        if not found:
            raise StateError(trigger.value, self.state, states)
        return found

    async def _each(self, trigger: Trigger, act: Callable[[Group], Awaitable[None]]) -> None:
        """Do it to each group that allows it, also after what was changing it has come to its end.

        Raises:
            StateError: there are none.
        """
        states, done = allowed(trigger), False
        async with self._commands:
            for group in self._allowing(trigger):
                async with group.changing:
                    if group.state in states:
                        done = True
                        await act(group)
            if not done:
                raise StateError(trigger.value, self.state, states)

    async def start(self) -> None:
        """Start every group that is OFF; they go ON by themselves."""

        async def start(group: Group) -> None:
            if self._closed:
                raise ClosedError(Trigger.START.value)
            self.groups.permission.check(Trigger.START.value)
            group.start()

        await self._each(Trigger.START, start)

    async def stop(self) -> None:
        """Stop every group that is OPEN or ON in order; they go OFF by themselves."""
        async with self._commands:
            for group in self._allowing(Trigger.STOP):
                group.request_stop()

    async def standby(self) -> None:
        """Drop the configuration of every group that is OFF."""
        await self._each(Trigger.STANDBY, Group.standby)

    async def abort(self) -> None:
        """Cut off every group that is OPEN, ON or CLOSE; they are OFF on return."""
        async with self._commands:
            groups = self._allowing(Trigger.ABORT)
            async with trio.open_nursery() as nursery:
                for group in groups:
                    nursery.start_soon(self._abort, group)

    @staticmethod
    async def _abort(group: Group) -> None:
        if group.state in allowed(Trigger.ABORT):  # it may have ended by itself just now
            await group.abort()

    async def reset(self) -> None:
        """Take every group that is in FAULT to STANDBY."""
        await self._each(Trigger.RESET, Group.reset)

    async def close(self) -> None:
        """Stop whatever streams, in order, and follow nothing any more.

        It returns when all has ended, within the stop grace. Nothing can be started any more.
        """
        self._closed = True
        self._following.end()
        for group in self.groups.values():
            if group.state in allowed(Trigger.STOP):
                group.request_stop()
            group.halt()
        await self.wait_idle()

    async def wait_idle(self) -> None:
        """Wait until no group streams any more: each has ended, or is in FAULT."""
        for group in list(self.groups.values()):
            await group.wait_idle()

    def as_dict(self) -> dict[str, Any]:
        """How every group is, for the device's attribute ``groups``."""
        return overview.as_dict(self.groups)

    def totals(self) -> dict[str, int]:
        """What all exchanges count together, see `overview.totals`."""
        return overview.totals(self.groups)

    def configuration(self) -> dict[str, Any]:
        """What every group is configured with, as a configuration would write it."""
        return unstructure(
            QueueConnectorDescriptor(
                exchanges={name: group.exchanges for name, group in self.groups.items()}
            )
        )

    def statistics(self) -> dict[str, Any]:
        """The ledger of every exchange with the conditions of its ends, by the exchange's name."""
        return {
            stream.name.text: stream.statistics()
            for group in self.groups.values()
            for stream in group.streams
        }


@asynccontextmanager
async def open_supervisor(**options: Any) -> AsyncIterator[Supervisor]:
    """A `Supervisor` in a nursery of its own; on leaving, what streams is cut off."""
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(nursery, **options)
        nursery.start_soon(supervisor.watch)
        yield supervisor
        nursery.cancel_scope.cancel()
