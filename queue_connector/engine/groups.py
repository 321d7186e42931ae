"""The groups of one device, and which of them holds an attribute that another one wants."""

from __future__ import annotations

import logging
from collections import UserDict
from collections.abc import Callable, Set as AbstractSet

import trio

from ..model.errors import EndpointError
from ..model.services import AttributeHost
from ..model.shared import Shared
from .group import Group
from .permission import Permission
from .session import Resources

CLAIM_GRACES = 3
"""Stop graces after which an attribute that another group should release is given up."""


class Groups(UserDict[str, Group]):
    """By name."""

    def __init__(
        self,
        nursery: trio.Nursery,
        attributes: AttributeHost | None,
        on_change: Callable[[], None],
        log: logging.Logger,
        stop_grace: float,
    ) -> None:
        super().__init__()
        self._nursery = nursery
        self._on_change = on_change
        self.permission = Permission()
        self._resources = Resources(attributes, Shared(), log, stop_grace, self.permission)
        self._released = trio.Event()

    def add(self, name: str) -> Group:
        """A new one, without configuration."""
        group = Group(
            name,
            nursery=self._nursery,
            resources=self._resources,
            on_change=self.changed,
            claim=self._claim,
        )
        self[name] = group
        return group

    def changed(self) -> None:
        """Something of a group is not as it was."""
        self._released.set()
        self._released = trio.Event()
        self._on_change()

    async def _claim(self, group: Group, names: AbstractSet[str]) -> None:
        """Wait until no other group holds attributes of these names."""
        with trio.move_on_after(CLAIM_GRACES * self._resources.stop_grace):
            while holders := self._holders(group, names):
                await self._released.wait()
            return
        raise EndpointError(
            f"group {group.name}",
            "attributes",
            f"{', '.join(sorted(names))}: still held by {', '.join(holders)}, which is not ending",
        )

    def _holders(self, group: Group, names: AbstractSet[str]) -> list[str]:
        return [o.name for o in self.values() if o is not group and o.held & names]
