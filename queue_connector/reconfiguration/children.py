"""What stands below a path of a configuration database → what is wanted of each group.

* read      the direct children of a path are groups by name; a mapping of groups inside a child
            makes groups ``child.name``; a configuration at the path itself is the default group,
            or a mapping of groups. Other values at the path itself, and children named as what is
            written there, are ignored
* judged    a child alone first, then against the others: an attribute belongs to whoever had it
* errors    none: what is wrong with a child, whatever it is, is the fault of its groups
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Container, Hashable, Iterator, Mapping
from typing import Any, TypeVar, TypeVarTuple

import attrs
import trio

from ..configdb import Children, ConfigDatabase, Versioned
from ..configuration import document
from ..configuration.reading import MAX_GROUP_NAME
from ..engine.following import Wanted
from ..model import texts
from ..model.errors import ConfigError, ConfigWarning, Fault
from ..model.exchanges import DEFAULT_GROUP, QueueConnectorDescriptor
from ..model.services import Claim
from ..runtime.worker import Worker
from .reporter import FAULT, STATE

READ_AT_ONCE = 32768
"""Bytes of configurations that are read without a thread: some 30 ms of work."""

MAX_SURPRISE = 300
"""Characters of an unexpected error that are told; the log has all of it."""

T = TypeVar("T")
Args = TypeVarTuple("Args")

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
    def read(cls, name: str, value: Versioned, device: str = "") -> Child:
        """Judge a value by itself; whatever happens is the fault of this one."""
        try:
            if not is_name(name):
                message = f"{texts.name(name)} is no name of a group"
                hint = f"use printable characters, at most {MAX_GROUP_NAME}"
                raise ConfigError([Fault("$", message, hint)])
            reading = document.examine(value.value, device)
            descriptor = reading.configuration()
            claims = tuple(
                claim.below(path)
                for path, exchange in descriptor.placed()
                for claim in exchange.claims()
            )
        except ConfigError as error:
            return cls(value, refusal=error)
        except Exception as error:
            return cls(value, refusal=unreadable("a configuration", error))
        return cls(value, descriptor, None, claims, reading.warnings)

    def groups(self, name: str) -> Mapping[str, Any]:
        """Name of the group → its exchanges, for the child of this name; "" is the path itself."""
        if self.descriptor is None:
            return {}
        if self.descriptor.exchanges and isinstance(self.descriptor.exchanges, dict):
            prefix = f"{name}." if name else ""
            return {prefix + inner: found for inner, found in self.descriptor.exchanges.items()}
        return {name or DEFAULT_GROUP: self.descriptor.exchanges or []}


def unreadable(what: str, error: Exception) -> ConfigError:
    """That something could not be read for a reason that nobody has thought of; it is logged."""
    log.critical("%s cannot be read", what, exc_info=error)
    message = f"cannot be read: unexpected {texts.one_line(repr(error), MAX_SURPRISE)}"
    return ConfigError([Fault("$", message, "see the log of the device")])


def is_name(child: str) -> bool:
    """Whether a state can be told below a key of this name; "" is the path itself."""
    return child.isprintable() and len(child) <= MAX_GROUP_NAME


def is_configuration(value: bytes) -> bool:
    """Whether a value at the watched path itself means a configuration, valid or not."""
    try:
        return "exchanges" in document.load(value)
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

    def __init__(self, device: str = "") -> None:
        self._device = device
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
        if view.own is not None and view.own != self._own[0]:
            self._own = (view.own, await _in_turn(view.own, is_configuration, view.own.value))
        for name, value in self._values(view).items():
            if not self._knows(name, value):
                self._judged[name] = await _in_turn(value, Child.read, name, value, self._device)

    def warnings(self) -> Iterator[tuple[str, ConfigWarning]]:
        """Those of the children that were not told yet, with the children's names."""
        told, self._told = self._told, {n: child.revision for n, child in self._judged.items()}
        for name, child in self._judged.items():
            if told.get(name) != child.revision:
                yield from ((name, warning) for warning in child.warnings)

    def _values(self, view: Children) -> dict[str, Versioned]:
        """The value of each child; "" is the path itself, where that is a configuration."""
        values = {name: v for name, v in view.values.items() if name not in (STATE, FAULT)}
        if view.own is not None:
            if self._own[0] != view.own:
                self._own = (view.own, is_configuration(view.own.value))
            if self._own[1]:
                values[""] = view.own
        return values

    def _knows(self, name: str, value: Versioned) -> bool:
        # The value, too: a database that was restored counts some revisions again.
        return name in self._judged and self._judged[name].value == value

    def wanted(self, view: Children) -> dict[str, Wanted]:
        """What *view* wants of each group."""
        values = self._values(view)
        self._judged = {
            name: self._judged[name]
            if self._knows(name, value)
            else Child.read(name, value, self._device)
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
                found[group] = Wanted(child.revision, () if refusal else exchanges, refusal)
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
