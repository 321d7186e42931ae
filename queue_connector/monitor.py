"""A configuration database drives the groups, and is told how they are.

* read      the direct children of a path are groups by name; a mapping of groups inside a child
            makes groups ``child.name``; a configuration at the path itself is the default group,
            or a mapping of groups. Other values at the path itself, and children named as what is
            written here, are ignored
* judged    a child alone first, then against the others: an attribute belongs to whoever had it
* written   how the groups are, by a `Reporter`
* errors    none: what is wrong with a child is the fault of its groups, an outage changes nothing
            but `Monitor.connected`, and after any surprise the watch begins again, and says so
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Container, Hashable, Iterator, Mapping, Sequence
from typing import Any, TypeVar, TypeVarTuple

import attrs
import trio

from . import config, texts
from .backoff import Backoff
from .bridge import Worker
from .configdb import Children, ConfigDatabase, Versioned, Watch
from .descriptors import DEFAULT_GROUP, Claim, QueueConnectorDescriptor
from .errors import ConfigError, ConfigWarning, Fault, counted, leaves
from .fault import FaultRecord
from .group import Group
from .reading import MAX_GROUP_NAME
from .reporter import FAULT, STATE, Report, Reporter
from .state import aggregate
from .supervisor import Supervisor, Wanted

MAX_PAUSE = 2.0
"""Seconds before what ended by surprise begins again, at most."""

SETTLED = 60.0
"""Seconds for which a surprise is told, and after which the next is the first one again."""

MAX_SURPRISE = 300
"""Characters of a surprise that are told; the log has all of it."""

MAX_WAITING = 20
"""Endpoints of a child that wait and are told in its state, and exchanges that still open."""

MAX_CONDITION = 300
"""Characters of each thing that is told of them."""

_CONDITION = ("exchange", "kind", "name", "waiting_for", "since", "error")
_WATCHING, _TELLING = "watching", "telling the states"

T = TypeVar("T")
Args = TypeVarTuple("Args")

READ_AT_ONCE = 32768
"""Bytes of configurations that are read without a thread: some 30 ms of work."""

NOTICE_PERIOD = 1.0
"""Seconds between two looks at what is wrong with the connection."""

log = logging.getLogger(__name__)


@attrs.frozen
class Child:
    """The configuration at one key, and what it says."""

    value: Versioned
    descriptor: QueueConnectorDescriptor | None = None
    refusal: ConfigError | None = None
    claims: tuple[Claim, ...] = ()
    """What it must have for itself, with paths."""
    warnings: tuple[ConfigWarning, ...] = ()

    @property
    def revision(self) -> int:
        """That of the value."""
        return self.value.mod_revision

    @classmethod
    def read(cls, name: str, value: Versioned) -> Child:
        """Judge a value by itself; whatever happens is the fault of this one."""
        try:
            if not is_name(name):
                message = f"{texts.name(name)} is no name of a group"
                hint = f"use printable characters, at most {MAX_GROUP_NAME}"
                raise ConfigError([Fault("$", message, hint)])
            reading = config.examine(value.value)
            descriptor = reading.configuration()
            claims = tuple(
                claim.below(path)
                for path, exchange in descriptor.placed()
                for claim in exchange.claims()
            )
        except ConfigError as error:
            return cls(value, refusal=error)
        except Exception as error:
            log.critical("a configuration cannot be read", exc_info=error)
            message = f"cannot be read: unexpected {texts.one_line(repr(error), MAX_SURPRISE)}"
            refusal = ConfigError([Fault("$", message, "see the log of the device")])
            return cls(value, refusal=refusal)
        return cls(value, descriptor, None, claims, reading.warnings)

    def groups(self, name: str) -> Mapping[str, Any]:
        """Name of the group → its exchanges, for the child of this name; "" is the path itself."""
        if self.descriptor is None:
            return {}
        if self.descriptor.exchanges and isinstance(self.descriptor.exchanges, dict):
            prefix = f"{name}." if name else ""
            return {prefix + inner: found for inner, found in self.descriptor.exchanges.items()}
        return {name or DEFAULT_GROUP: self.descriptor.exchanges or []}


def is_name(child: str) -> bool:
    """Whether a state can be told below a key of this name; "" is the path itself."""
    return child.isprintable() and len(child) <= MAX_GROUP_NAME


def is_configuration(value: bytes) -> bool:
    """Whether a value at the watched path itself means a configuration, valid or not."""
    try:
        return "exchanges" in config.load(value)
    except ConfigError:
        return False


async def _in_turn(value: Versioned, function: Callable[[*Args], T], *args: *Args) -> T:
    """Call a function that reads *value*, then let others have their turn."""
    if len(value.value) > READ_AT_ONCE:
        return await Worker().run(function, *args)
    result = function(*args)
    await trio.lowlevel.checkpoint()
    return result


class Reader:
    """Views of a path → what is wanted of each group; remembers what it judged and accepted."""

    def __init__(self) -> None:
        self._judged: dict[str, Child] = {}
        self._accepted: dict[str, Child] = {}
        self._own: tuple[Versioned | None, bool] = (None, False)
        self.owners: dict[str, str] = {}
        """Name of each group → that of the child it comes from; "" is the path itself."""
        self._told: dict[str, int] = {}

    async def examine(self, view: Children) -> None:
        """Judge what is new in *view*, and let others have their turn after each child.

        A large one is judged in a thread, where the loop goes on meanwhile.
        """
        values = {name: v for name, v in view.values.items() if name not in (STATE, FAULT)}
        if view.own is not None and view.own != self._own[0]:
            is_one = await _in_turn(view.own, is_configuration, view.own.value)
            self._own = (view.own, is_one)
            if is_one:
                values[""] = view.own
        for name, value in values.items():
            if not self._knows(name, value):
                self._judged[name] = await _in_turn(value, Child.read, name, value)

    def warnings(self) -> Iterator[tuple[str, ConfigWarning]]:
        """Those of the children that were not told yet, with the children's names."""
        told, self._told = self._told, {n: child.revision for n, child in self._judged.items()}
        for name, child in self._judged.items():
            if told.get(name) != child.revision:
                yield from ((name, warning) for warning in child.warnings)

    def _knows(self, name: str, value: Versioned) -> bool:
        # The value, too: a database that was restored counts some revisions again.
        return name in self._judged and self._judged[name].value == value

    def wanted(self, view: Children) -> dict[str, Wanted]:
        """What *view* wants of each group."""
        values = {name: v for name, v in view.values.items() if name not in (STATE, FAULT)}
        if view.own is not None:
            if self._own[0] != view.own:
                self._own = (view.own, is_configuration(view.own.value))
            if self._own[1]:
                values[""] = view.own
        self._judged = {
            name: self._judged[name] if self._knows(name, value) else Child.read(name, value)
            for name, value in values.items()
        }
        self._accepted = {n: child for n, child in self._accepted.items() if n in values}
        found: dict[str, Wanted] = {}
        owners: dict[str, str] = {}
        claimed: dict[Hashable, str] = {}
        for name, child in sorted(self._judged.items(), key=self._seniority):
            refusal = child.refusal or self._conflict(name, child, claimed, found)
            if refusal is None:
                self._accepted[name] = child
            standing = self._accepted.get(name)
            for claim in standing.claims if standing else ():
                claimed[claim.key] = name
            groups = standing.groups(name) if standing else {_stand_in(name, found): []}
            for group, exchanges in groups.items():
                owners[group] = name
                found[group] = (
                    Wanted(child.revision, exchanges)
                    if refusal is None
                    else Wanted(child.revision, refusal=refusal)
                )
        self.owners = owners
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
            for claim in child.claims
            if claimed.get(claim.key, name) != name
        ]
        faults += [
            Fault("$.exchanges", f"there is a group {group!r} already", "choose another name")
            for group in child.groups(name)
            if group in found
        ]
        return ConfigError(faults) if faults else None


def _stand_in(name: str, taken: Container[str]) -> str:
    """The name of the group that has the fault of a child of which nothing stands."""
    group = texts.name(name) or DEFAULT_GROUP
    while group in taken:  # by another child, which is not to suffer for it
        group += " (refused)"
    return group


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
        self._reader = Reader()
        self._reporter = Reporter(database, path, self._told, device=device, on_change=on_change)
        self._watch: Watch | None = None
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


def tell_warnings(reader: Reader, path: str) -> None:
    """Log what is likely not meant in the configurations below a path that were read last."""
    for child, warning in reader.warnings():
        log.warning("%s: %s", f"{path}/{child}".rstrip("/"), warning)


async def read_once(database: ConfigDatabase, path: str) -> QueueConnectorDescriptor:
    """The configuration that stands at *path* now, with its children as groups.

    Raises:
        ConfigError: there is none, or what stands there is not valid.
        EndpointError: the database cannot be read.
    """
    reader = Reader()
    view = await database.children(path)
    await reader.examine(view)
    wanted = reader.wanted(view)
    tell_warnings(reader, path)
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
