"""The wanted configuration becomes running groups: validate → compare → apply.

The supervisor is what a device commands. A command reaches every group that its state table
allows it for; a device command that no group allows is refused with the device's state.

What a configuration database wants, `Supervisor.follow`, is applied to each group by a task of its
own, so that no group waits for another; while one is being changed, all that is wanted of it next
collapses into the last.
"""

from __future__ import annotations

import logging
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
    Set as AbstractSet,
)
from contextlib import asynccontextmanager
from typing import Any

import attrs
import trio

from ..model import texts
from ..model.convert import unstructure
from ..model.errors import (
    ClosedError,
    ConfigError,
    EndpointError,
    QueueConnectorError,
    StateError,
)
from ..model.exchanges import ExchangeDescriptor, QueueConnectorDescriptor
from ..model.services import AttributeHost
from ..model.shared import Shared
from . import overview
from .group import Group
from .plan import same
from .state import Health, State, Trigger, aggregate, allowed

STOP_GRACE = 10.0
"""Default seconds in which an orderly stop delivers what is in flight."""

CLAIM_GRACES = 3
"""Stop graces after which an attribute that another group should release is given up."""


def _as_tuple(exchanges: Iterable[ExchangeDescriptor]) -> tuple[ExchangeDescriptor, ...]:
    return tuple(exchanges)


@attrs.frozen
class Wanted:
    """What a configuration database wants of one group, as of a revision of it.

    With a ``refusal`` what stands there is not valid: what streams goes on.
    """

    revision: int
    exchanges: tuple[ExchangeDescriptor, ...] = attrs.field(default=(), converter=_as_tuple)
    refusal: ConfigError | None = attrs.field(default=None, eq=lambda error: error and error.faults)
    notes: tuple[str, ...] = ()
    """What is not among the exchanges, and why, a line each."""


@attrs.define(eq=False)
class _Follower:
    """The task that makes one group what is wanted of it."""

    wanted: Wanted | None = None
    applied: Wanted | None = None
    changed: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


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
        self._shared = Shared()
        self._commands = trio.Lock()
        self._followed: dict[str, _Follower] = {}
        self._released = trio.Event()
        self._turn = trio.Lock()
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
            group = self.groups.get(name) or self._add(name)
            async with group.changing:
                if self.groups.get(name) is not group:  # removed while this waited
                    continue
                if not same(group.exchanges, exchanges) or not exchanges:
                    await group.configure(exchanges)
                return

    # -- following a configuration database --------------------------------------------------------

    def follow(self, wanted: Mapping[str, Wanted]) -> None:
        """Make the groups those *wanted*, and stream them; returns at once.

        Groups that are not among them are stopped in order and removed.
        """
        if self._closed:
            return
        owners = self._attributes.owners() if self._attributes is not None else ()
        for name in {*self.groups, *self._followed, *owners, *wanted}:
            new = wanted.get(name)
            follower = self._followed.get(name)
            if follower is None:
                follower = self._followed[name] = _Follower()
                self._nursery.start_soon(self._follow, name, follower)
            if new is None or new != follower.wanted:
                follower.wanted = new
                follower.changed.set()

    async def _follow(self, name: str, follower: _Follower) -> None:
        with follower.scope:
            while name in self._followed:
                await follower.changed.wait()
                follower.changed = trio.Event()
                async with self._turn:  # of a thousand groups, one at each turn of the loop
                    await trio.lowlevel.checkpoint()
                try:
                    await self._apply(name, follower)
                except Exception as error:  # of this group, whatever it is: the others go on
                    self._surprised(name, follower, error)
                self._changed()

    async def _apply(self, name: str, follower: _Follower) -> None:
        wanted = follower.wanted
        group = self.groups.get(name)
        if wanted is None:
            if group is not None:
                async with group.changing:
                    if self.groups.get(name) is group:
                        await group.reconfigure(())
                        del self.groups[name]
            elif self._attributes is not None:  # left over from before an Init
                await self._attributes.define(name, ())
            if follower.wanted is None:
                del self._followed[name]
            return
        if group is None:
            group = self._add(name)
        elif wanted == follower.applied:
            return
        async with group.changing:
            if self.groups.get(name) is not group:  # a command has removed it meanwhile
                follower.changed.set()
                return
            follower.applied = wanted
            group.notes = wanted.notes
            if wanted.refusal is not None:
                group.refuse(wanted.refusal, wanted.revision)
            elif not same(group.exchanges, wanted.exchanges) or group.state is State.FAULT:
                await group.reconfigure(wanted.exchanges)
            else:
                group.mend()
            group.revision = wanted.revision  # not before: the state that is told is that of it

    def _surprised(self, name: str, follower: _Follower, error: Exception) -> None:
        """What is wanted could not be applied; the next change of anything tries again."""
        told = texts.name(name)
        self._log.critical("group %s: what is wanted of it is not applied", told, exc_info=error)
        follower.applied = None
        if group := self.groups.get(name):
            reason = texts.one_line(repr(error), overview.MAX_FAULT_LINE)
            group.refuse(EndpointError(f"group {told}", "change", f"unexpected {reason}"))

    async def _claim(self, group: Group, names: AbstractSet[str]) -> None:
        """Wait until no other group holds attributes of these names."""
        with trio.move_on_after(CLAIM_GRACES * self._stop_grace):
            while holders := self._holders(group, names):
                await self._released.wait()
            return
        raise EndpointError(
            f"group {group.name}",
            "attributes",
            f"{', '.join(sorted(names))}: still held by {', '.join(holders)}, which is not ending",
        )

    def _holders(self, group: Group, names: AbstractSet[str]) -> list[str]:
        return [o.name for o in self.groups.values() if o is not group and o.held & names]

    def _changed(self) -> None:
        self._released.set()
        self._released = trio.Event()
        self._on_change()

    # -- commands ----------------------------------------------------------------------------------

    def refuse(self, name: str, error: QueueConnectorError) -> None:
        """A configuration for a group that is not running cannot be taken on: FAULT."""
        group = self.groups.get(name) or self._add(name)
        group.refuse(error)

    def _add(self, name: str) -> Group:
        group = Group(
            name,
            nursery=self._nursery,
            attributes=self._attributes,
            on_change=self._changed,
            log=self._log,
            stop_grace=self._stop_grace,
            claim=self._claim,
            shared=self._shared,
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
        for follower in self._followed.values():
            follower.scope.cancel()
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
