"""The wanted configuration becomes running groups: validate → compare → apply.

The supervisor is what a device commands. A command reaches every group that its state table
allows it for; a device command that no group allows is refused with the device's state.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio

from .descriptors import AttributeHost, QueueConnectorDescriptor
from .errors import StateError
from .group import Group
from .state import State, Trigger, aggregate, allowed

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
        self.groups: dict[str, Group] = {}
        self._nursery = nursery
        self._attributes = attributes
        self._on_change = on_change
        self._log = log or logging.getLogger("queue_connector")
        self._stop_grace = stop_grace
        self._commands = trio.Lock()

    @property
    def state(self) -> State:
        """The state of the device."""
        return aggregate(group.state for group in self.groups.values())

    @property
    def status(self) -> str:
        """The state in words, a line per group."""
        if not self.groups:
            return "STANDBY: not configured"
        return "\n".join(
            f"{group.name}: {group.state}, {len(group.exchanges)} exchanges"
            + (f": {group.fault.message}" if group.fault else "")
            for group in self.groups.values()
        )

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
            for name in [name for name in self.groups if name not in wanted]:
                await self.groups[name].configure(())
                del self.groups[name]
            for name, exchanges in wanted.items():
                group = self.groups.get(name) or self._add(name)
                if group.exchanges != exchanges or not exchanges:
                    await group.configure(exchanges)
            self._on_change()

    def _add(self, name: str) -> Group:
        group = Group(
            name,
            nursery=self._nursery,
            attributes=self._attributes,
            on_change=self._on_change,
            log=self._log,
            stop_grace=self._stop_grace,
        )
        self.groups[name] = group
        return group

    def _allowing(self, trigger: Trigger) -> list[Group]:
        """The groups whose state allows *trigger*; raises `StateError` when there are none."""
        states = allowed(trigger)
        found = [group for group in self.groups.values() if group.state in states]
        if not found:
            raise StateError(trigger.value, self.state, states)
        return found

    async def start(self) -> None:
        """Start every group that is OFF; they go ON by themselves."""
        async with self._commands:
            for group in self._allowing(Trigger.START):
                group.start()

    async def stop(self) -> None:
        """Stop every group that is OPEN or ON in order; they go OFF by themselves."""
        async with self._commands:
            for group in self._allowing(Trigger.STOP):
                group.request_stop()

    async def standby(self) -> None:
        """Drop the configuration of every group that is OFF."""
        async with self._commands:
            for group in self._allowing(Trigger.STANDBY):
                await group.standby()

    async def abort(self) -> None:
        """Cut off every group that is OPEN, ON or CLOSE; they are OFF on return."""
        async with self._commands:
            groups = self._allowing(Trigger.ABORT)
            async with trio.open_nursery() as nursery:
                for group in groups:
                    nursery.start_soon(group.abort)

    async def reset(self) -> None:
        """Take every group that is in FAULT to STANDBY."""
        async with self._commands:
            for group in self._allowing(Trigger.RESET):
                await group.reset()

    async def close(self) -> None:
        """Stop whatever streams, in order; returns when it has ended, within the stop grace."""
        for group in self.groups.values():
            if group.state in allowed(Trigger.STOP):
                group.request_stop()
        for group in self.groups.values():
            await group.wait_idle()

    def as_dict(self) -> dict[str, Any]:
        """State, fault and exchanges of every group."""
        return {name: group.as_dict() for name, group in self.groups.items()}

    def statistics(self) -> dict[str, Any]:
        """The ledger of every exchange, by the exchange's name."""
        return {
            f"{name}[{index}]": ledger.as_dict()
            for name, group in self.groups.items()
            for index, ledger in enumerate(group.ledgers)
        }


@asynccontextmanager
async def open_supervisor(**options: Any) -> AsyncIterator[Supervisor]:
    """A `Supervisor` in a nursery of its own; on leaving, what streams is cut off."""
    async with trio.open_nursery() as nursery:
        yield Supervisor(nursery, **options)
        nursery.cancel_scope.cancel()
