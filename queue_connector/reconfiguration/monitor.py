"""A configuration database drives the groups, and is told how they are.

* read      what stands below one path, by a `~queue_connector.reconfiguration.children.Reader`
* written   how the groups are, by a `~queue_connector.reconfiguration.reporter.Reporter`
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs

from ..configdb import ConfigDatabase
from ..engine.fault import FaultRecord
from ..engine.group import Group
from ..engine.state import aggregate
from ..engine.supervisor import Supervisor
from ..model import texts
from ..model.errors import counted
from .children import Reader, is_name, tell_warnings
from .following import Following
from .holding import Terms
from .reporter import FAULT, STATE, Report, Reporter

MAX_WAITING = 20
"""Endpoints of a child that wait and are told in its state, and exchanges that still open."""

MAX_CONDITION = 300
"""Characters of each thing that is told of them."""

_CONDITION = ("exchange", "kind", "name", "waiting_for", "since", "error")


class Monitor(Following):
    """Watches one path of a database for one supervisor."""

    _reporting: Reporter

    def __init__(
        self,
        database: ConfigDatabase,
        path: str,
        supervisor: Supervisor,
        on_change: Callable[[], None] = lambda: None,
        *,
        device: str = "",
        standby: bool = False,
        terms: Terms | None = None,
    ) -> None:
        """*standby* has it wait where another connector holds the path, and say that it does.

        Raises:
            ConfigError: it is no path, or nobody can stand by with this database.
        """
        super().__init__(
            database,
            path,
            path,
            supervisor,
            on_change,
            device=device,
            standby=standby,
            terms=terms,
        )
        self._reader = Reader(device)
        self._reporting = Reporter(database, path, self._told, device=device, on_change=on_change)
        self._groups: dict[str, list[str]] = {}

    async def _follow(self) -> None:
        async with self._database.watch(self._name, on_connected=self._connection) as self._watch:
            async for view in self._watch:
                await self._reader.examine(view)
                await self._holding.decided()
                wanted = self._reader.wanted(view)
                tell_warnings(self._reader, self._name)
                self._supervisor.follow(wanted)
                self._groups = {}
                for group, child in self._reader.owners.items():
                    self._groups.setdefault(child, []).append(group)
                self._reporting.follow([child for child in self._groups if is_name(child)])

    def _connection(self, connected: bool) -> None:
        self._reporting.connection(connected)
        self._on_change()

    def _told(self, child: str) -> Report | None:
        """What is to be written for the groups of a child; none before all of them are there."""
        names = self._groups.get(child, ())
        groups = [group for name in names if (group := self._supervisor.groups.get(name))]
        if len(groups) < len(names):
            return None
        revision = min(group.revision for group in groups)
        faults = [group.fault for group in groups if group.fault is not None]
        state = aggregate(group.state for group in groups)
        return {
            STATE: {"state": state.value, "revision": revision, **_condition_record(groups)},
            FAULT: _fault_record(faults, revision) if faults else None,
        }


def _condition_record(groups: Sequence[Group]) -> dict[str, Any]:
    """Whether all goes on, and what does not; without numbers, which change all the time."""
    waiting = [
        {key: texts.shortened(each[key], MAX_CONDITION) for key in _CONDITION}
        for group in groups
        for stream in group.streams
        for each in stream.endpoints()
        if each["waiting_for"]
    ]
    opening = [stream.name.text for group in groups for stream in group.streams if stream.opening]
    return {
        "degraded": any(group.degraded for group in groups),
        "opening": [texts.shortened(name, MAX_CONDITION) for name in opening[:MAX_WAITING]],
        "waiting": waiting[:MAX_WAITING],
        "waiting_left_out": max(0, len(waiting) - MAX_WAITING),
    }


def _fault_record(faults: Sequence[FaultRecord], revision: int) -> dict[str, Any]:
    """The first of them, with how many more there are."""
    record = {**attrs.asdict(faults[0]), "revision": faults[0].revision or revision}
    if len(faults) > 1:
        record["message"] += f"\nand {counted(len(faults) - 1, 'more group')} with a fault"
    return record
