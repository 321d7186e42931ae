"""A configuration database drives the groups, and is told how they are.

* read      the direct children of a path are groups by name; a mapping of groups inside a child
            makes groups ``child.name``; a configuration at the path itself is the default group,
            or a mapping of groups. Other values at the path itself, and children named as what is
            written here, are ignored
* judged    a child alone first, then against the others: an attribute belongs to whoever had it
* written   below each child ``state`` and ``fault``, by a task of its own with retries; they go
            with the child. Nothing else is ever written
* errors    none: what is wrong with a value is the fault of its groups, and an outage changes
            nothing but `Monitor.connected`
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Hashable, Iterator, Mapping
from typing import Any

import attrs
import trio

from . import config
from .backoff import Backoff
from .configdb import EXISTS, Children, ConfigDatabase, Versioned, Watch
from .descriptors import DEFAULT_GROUP, Claim, QueueConnectorDescriptor
from .errors import ConfigError, EndpointError, Fault
from .group import FaultRecord, Group
from .state import aggregate
from .supervisor import Supervisor, Wanted
from .timescale import utc_now

STATE, FAULT = "state", "fault"
"""The names of the keys that are written below each child, and so no names of groups."""

MAX_PAUSE = 2.0
"""Seconds between two tries to write, at most."""

NOTICE_PERIOD = 1.0
"""Seconds between two looks at what is wrong with the connection."""

log = logging.getLogger(__name__)


@attrs.frozen
class Child:
    """The configuration at one key, and what it says."""

    revision: int
    descriptor: QueueConnectorDescriptor | None = None
    refusal: ConfigError | None = None

    @classmethod
    def read(cls, value: Versioned) -> Child:
        """Judge a value by itself."""
        try:
            return cls(value.mod_revision, config.parse(value.value))
        except ConfigError as error:
            return cls(value.mod_revision, refusal=error)

    def groups(self, name: str) -> Mapping[str, Any]:
        """Name of the group → its exchanges, for the child of this name; "" is the path itself."""
        if self.descriptor is None:
            return {}
        if self.descriptor.exchanges and isinstance(self.descriptor.exchanges, dict):
            prefix = f"{name}." if name else ""
            return {prefix + inner: found for inner, found in self.descriptor.exchanges.items()}
        return {name or DEFAULT_GROUP: self.descriptor.exchanges or []}

    def claims(self) -> Iterator[Claim]:
        """What it must have for itself, with paths."""
        if self.descriptor is not None:
            for path, exchange in self.descriptor.placed():
                yield from (claim.below(path) for claim in exchange.claims())


def is_configuration(value: bytes) -> bool:
    """Whether a value at the watched path itself means a configuration, valid or not."""
    try:
        return "exchanges" in config.load(value)
    except ConfigError:
        return False


class Reader:
    """Views of a path → what is wanted of each group; remembers what it judged and accepted."""

    def __init__(self) -> None:
        self._judged: dict[str, Child] = {}
        self._accepted: dict[str, Child] = {}
        self.owners: dict[str, str] = {}
        """Name of each group → that of the child it comes from; "" is the path itself."""

    def wanted(self, view: Children) -> dict[str, Wanted]:
        """What *view* wants of each group."""
        values = {name: v for name, v in view.values.items() if name not in (STATE, FAULT)}
        if view.own is not None and is_configuration(view.own.value):
            values[""] = view.own
        self._judged = {
            name: known
            if (known := self._judged.get(name)) and known.revision == value.mod_revision
            else Child.read(value)
            for name, value in values.items()
        }
        self._accepted = {n: child for n, child in self._accepted.items() if n in values}
        found: dict[str, Wanted] = {}
        self.owners = {}
        claimed: dict[Hashable, str] = {}
        for name, child in sorted(self._judged.items(), key=self._seniority):
            refusal = child.refusal or self._conflict(name, child, claimed, found)
            if refusal is None:
                self._accepted[name] = child
            standing = self._accepted.get(name)
            for claim in standing.claims() if standing else ():
                claimed[claim.key] = name
            groups = standing.groups(name) if standing else {name or DEFAULT_GROUP: []}
            for group, exchanges in groups.items():
                self.owners[group] = name
                found[group] = (
                    Wanted(child.revision, exchanges)
                    if refusal is None
                    else Wanted(child.revision, refusal=refusal)
                )
        return found

    def _seniority(self, item: tuple[str, Child]) -> tuple[bool, int, str]:
        """What was accepted as it stands comes before what is new, older before younger."""
        name, child = item
        return (self._accepted.get(name) is not child, child.revision, name)

    def _conflict(
        self, name: str, child: Child, claimed: Mapping[Hashable, str], found: Mapping[str, Wanted]
    ) -> ConfigError | None:
        faults = [
            claim.conflict(f"by {claimed[claim.key]!r}")
            for claim in child.claims()
            if claimed.get(claim.key, name) != name
        ]
        faults += [
            Fault("$.exchanges", f"there is a group {group!r} already", "choose another name")
            for group in child.groups(name)
            if group in found
        ]
        return ConfigError(faults) if faults else None


class Monitor:
    """Watches one path of a database for one supervisor."""

    def __init__(
        self,
        database: ConfigDatabase,
        path: str,
        supervisor: Supervisor,
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.path = path
        self._on_change = on_change
        self._database = database
        self._supervisor = supervisor
        self._reader = Reader()
        self._watch: Watch | None = None
        self._children: set[str] = set()
        self._written: dict[str, dict[str, Any]] = {}
        self._changed = trio.Event()
        self._up_to_date = trio.Event()

    @property
    def connected(self) -> bool:
        """Whether changes of the configuration are seen as they happen."""
        return self._watch is not None and self._watch.connected

    @property
    def problem(self) -> str:
        """Why not, for people; empty while they are."""
        return self._watch.problem if self._watch is not None else "not watching yet"

    async def run(self) -> None:
        """Follow the path until cancelled."""
        async with (
            self._database as database,
            database.watch(self.path, on_connected=self._connected) as self._watch,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(self._report)
            nursery.start_soon(self._notice)
            async for view in self._watch:
                self._supervisor.follow(self._reader.wanted(view))
                self._children = set(self._reader.owners.values())
                self.group_changed()

    def group_changed(self) -> None:
        """Some group is in another state, or in another way not as it was reported."""
        self._changed.set()
        self._up_to_date = trio.Event()

    async def reported(self) -> None:
        """Wait until the database has been told how the groups are now."""
        await self._up_to_date.wait()

    def _connected(self, connected: bool) -> None:
        if connected:  # it may have lost what was written to it
            self._written = {child: {} for child in self._written}
            self.group_changed()
        self._on_change()

    async def _notice(self) -> None:
        """Pass on why there is no connection, also when there never was one."""
        noticed = ""
        while True:
            if self.problem != noticed:
                noticed = self.problem
                self._on_change()
            await trio.sleep(NOTICE_PERIOD)

    async def _report(self) -> None:
        backoff = Backoff(MAX_PAUSE / 64, MAX_PAUSE)
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            try:
                for child in {*self._children, *self._written}:
                    await self._report_child(child)
                backoff.reset()
                if not self._changed.is_set():
                    self._up_to_date.set()
            except EndpointError as error:
                log.debug("the state is not written, it will be tried again: %s", error)
                self._changed.set()
                await trio.sleep(backoff.next())

    async def _report_child(self, child: str) -> None:
        path = f"{self.path}/{child}" if child else self.path
        if child not in self._children:
            await self._database.transact({f"{path}/{STATE}": None, f"{path}/{FAULT}": None})
            del self._written[child]
            return
        report = self._told(child)
        before = self._written.get(child, {})
        if report is None or report == before:
            return
        state = {**report[STATE], "last_updated": utc_now()}
        fault = report[FAULT]
        done = await self._database.transact(
            {
                f"{path}/{STATE}": json.dumps(state),
                f"{path}/{FAULT}": None if fault is None else json.dumps(fault),
            },
            expected={path: EXISTS},
        )
        if done is not None:
            self._written[child] = report

    def _told(self, child: str) -> dict[str, Any] | None:
        """What is to be written for the groups of a child; none before there are any."""
        groups = [group for name, group in self._groups() if self._reader.owners.get(name) == child]
        if not groups:
            return None
        revision = max(group.revision for group in groups)
        faults = [group.fault for group in groups if group.fault is not None]
        state = aggregate(group.state for group in groups)
        return {
            STATE: {"state": state.value, "revision": revision},
            FAULT: _fault_record(faults[0], revision) if faults else None,
        }

    def _groups(self) -> Iterator[tuple[str, Group]]:
        yield from self._supervisor.groups.items()


def _fault_record(fault: FaultRecord, revision: int) -> dict[str, Any]:
    return {**attrs.asdict(fault), "revision": fault.revision or revision}


async def read_once(database: ConfigDatabase, path: str) -> QueueConnectorDescriptor:
    """The configuration that stands at *path* now, with its children as groups.

    Raises:
        ConfigError: there is none, or what stands there is not valid.
        EndpointError: the database cannot be read.
    """
    reader = Reader()
    wanted = reader.wanted(await database.children(path))
    faults = [
        fault.below(f"{path}/{reader.owners[group]}".rstrip("/") + " $")
        for group, found in wanted.items()
        if found.refusal is not None
        for fault in found.refusal.faults
    ]
    if not wanted:
        faults = [Fault(path, "no configuration stands there", "write one, or name another path")]
    if faults:
        raise ConfigError(faults)
    return QueueConnectorDescriptor(
        exchanges={group: list(found.exchanges) for group, found in wanted.items()}
    )
