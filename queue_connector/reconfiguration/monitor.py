"""A configuration database drives the groups, and is told how they are.

* read      what stands below one path, by a `~queue_connector.reconfiguration.children.Reader`
* written   how the groups are, by a `~queue_connector.reconfiguration.reporter.Reporter`
* errors    none: an outage changes nothing but `Monitor.connected`, and after any surprise the
            watch begins again, and says so
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import attrs
import trio

from ..configdb import Children, ConfigDatabase, Watch
from ..engine.fault import FaultRecord
from ..engine.group import Group
from ..engine.state import aggregate
from ..engine.supervisor import Supervisor
from ..model import texts
from ..model.errors import counted, leaves
from ..runtime.backoff import Backoff
from .children import MAX_SURPRISE, Reader, is_name, tell_warnings
from .reporter import FAULT, STATE, Report, Reporter

MAX_PAUSE = 2.0
"""Seconds before what ended by surprise begins again, at most."""

SETTLED = 60.0
"""Seconds for which a surprise is told, and after which the next is the first one again."""

MAX_WAITING = 20
"""Endpoints of a child that wait and are told in its state, and exchanges that still open."""

MAX_CONDITION = 300
"""Characters of each thing that is told of them."""

_CONDITION = ("exchange", "kind", "name", "waiting_for", "since", "error")
_WATCHING, _TELLING = "watching", "telling the states"

NOTICE_PERIOD = 1.0
"""Seconds between two looks at what is wrong with the connection."""

log = logging.getLogger(__name__)


class Monitor:
    """Watches one path of a database for one supervisor, and goes on whatever happens to it."""

    def __init__(
        self,
        database: ConfigDatabase,
        path: str,
        supervisor: Supervisor,
        on_change: Callable[[], None] = lambda: None,
        *,
        device: str = "",
    ) -> None:
        self.path = path
        self._on_change = on_change
        self._database = database
        self._supervisor = supervisor
        self._reader = Reader(device)
        self._reporter = Reporter(database, path, self._told, device=device, on_change=on_change)
        self._watch: Watch[Children] | None = None
        self._groups: dict[str, list[str]] = {}
        self._surprises: dict[str, tuple[float, str]] = {}

    @property
    def connected(self) -> bool:
        """Whether changes of the configuration are seen as they happen."""
        return self._watch is not None and self._watch.connected

    @property
    def problems(self) -> list[str]:
        """What is wrong between the database and us, for people, a line each."""
        lines = []
        if not self.connected:
            problem = self._watch.problem if self._watch is not None else "not watching yet"
            lines.append(f"{self.path}: not watched: {problem}")
        recent = trio.current_time() - SETTLED
        lines += [told for when, told in self._surprises.values() if when > recent]
        return [*lines, *self._reporter.problems]

    async def run(self) -> None:
        """Follow the path until cancelled."""
        async with self._database, trio.open_nursery() as nursery:
            nursery.start_soon(self._persist, _WATCHING, self._follow)
            nursery.start_soon(self._persist, _TELLING, self._reporter.run)
            nursery.start_soon(self._notice)

    async def _persist(self, what: str, function: Callable[[], Awaitable[None]]) -> None:
        """Call a function again when something happens that nobody has thought of."""
        backoff = Backoff(MAX_PAUSE / 64, MAX_PAUSE)
        while True:
            began = trio.current_time()
            try:
                await function()
            except* Exception as errors:
                error = next(leaves(errors))
                log.critical("%s: %s is begun again after", self.path, what, exc_info=error)
                told = texts.one_line(f"{type(error).__name__}: {error}", MAX_SURPRISE)
                told = f"{self.path}: {what} was begun again after {told}"
                self._surprises[what] = (trio.current_time(), told)
            if trio.current_time() - began > SETTLED:
                backoff.reset()
            await trio.sleep(backoff.next())

    async def _follow(self) -> None:
        async with self._database.watch(self.path, on_connected=self._connection) as self._watch:
            async for view in self._watch:
                await self._reader.examine(view)
                wanted = self._reader.wanted(view)
                tell_warnings(self._reader, self.path)
                self._supervisor.follow(wanted)
                self._groups = {}
                for group, child in self._reader.owners.items():
                    self._groups.setdefault(child, []).append(group)
                self._reporter.follow([child for child in self._groups if is_name(child)])

    def group_changed(self) -> None:
        """Some group is in another state, or in another way not as it was reported."""
        self._reporter.changed()

    async def reported(self) -> None:
        """Wait until the database has been told how the groups are now."""
        await self._reporter.reported()

    def _connection(self, connected: bool) -> None:
        self._reporter.connection(connected)
        self._on_change()

    async def _notice(self) -> None:
        """Pass on why there is no connection, also when there never was one."""
        noticed: list[str] = []
        while True:
            if self.problems != noticed:
                noticed = self.problems
                self._on_change()
            await trio.sleep(NOTICE_PERIOD)

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
