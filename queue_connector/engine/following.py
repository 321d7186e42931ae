"""What a configuration database wants is applied to each group by a task of its own.

No group waits for another; while one is being changed, all that is wanted of it next collapses into
the last.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping

import attrs
import trio

from ..model import texts
from ..model.errors import ConfigError, EndpointError
from ..model.exchanges import ExchangeDescriptor
from ..model.services import AttributeHost
from .group import Group
from .groups import Groups
from .overview import MAX_FAULT_LINE
from .plan import same
from .state import State


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
    going_on: bool = False
    """Whether what has stopped is to stream again."""
    changed: trio.Event = attrs.field(factory=trio.Event)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)


class Following:
    """Of all groups of a device."""

    def __init__(
        self,
        nursery: trio.Nursery,
        groups: Groups,
        attributes: AttributeHost | None,
        log: logging.Logger,
    ) -> None:
        self._nursery = nursery
        self._groups = groups
        self._attributes = attributes
        self._log = log
        self._followed: dict[str, _Follower] = {}
        self._turn = trio.Lock()

    def end(self) -> None:
        """Apply nothing any more."""
        for follower in self._followed.values():
            follower.scope.cancel()

    def follow(self, wanted: Mapping[str, Wanted]) -> None:
        """Make the groups those *wanted*, and stream them; returns at once.

        Groups that are not among them are stopped in order and removed.
        """
        owners = self._attributes.owners() if self._attributes is not None else ()
        for name in {*self._groups, *self._followed, *owners, *wanted}:
            new = wanted.get(name)
            follower = self._followed.get(name)
            if follower is None:
                follower = self._followed[name] = _Follower()
                self._nursery.start_soon(self._follow, name, follower)
            if new is None or new != follower.wanted:
                follower.wanted = new
                follower.changed.set()

    def go_on(self) -> None:
        """Stream what is wanted, where that has stopped; returns at once."""
        for follower in self._followed.values():
            follower.going_on = True
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
                self._groups.changed()

    async def _apply(self, name: str, follower: _Follower) -> None:
        wanted = follower.wanted
        group = self._groups.get(name)
        if wanted is None:
            if group is not None:
                async with group.changing:
                    if self._groups.get(name) is group:
                        await group.reconfigure(())
                        del self._groups[name]
            elif self._attributes is not None:  # left over from before an Init
                await self._attributes.define(name, ())
            if follower.wanted is None:
                del self._followed[name]
            return
        if group is None:
            group = self._groups.add(name)
            follower.applied = None
        elif wanted == follower.applied and not follower.going_on:
            return
        async with group.changing:
            if self._groups.get(name) is not group:  # a command has removed it meanwhile
                follower.changed.set()
                return
            if wanted != follower.applied:
                follower.applied = wanted
                await self._make(group, wanted)
            if follower.going_on:
                follower.going_on = False
                await group.wait_idle()
                if group.state is State.OFF and not self._groups.permission.refusal:
                    group.start()

    async def _make(self, group: Group, wanted: Wanted) -> None:
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
        if group := self._groups.get(name):
            reason = texts.one_line(repr(error), MAX_FAULT_LINE)
            group.refuse(EndpointError(f"group {told}", "change", f"unexpected {reason}"))
