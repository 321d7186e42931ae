"""What the connector needs of a configuration database, whichever one it is.

* paths     ``/component/lmc-queueconnector-01/owner``: a leading slash, none at the end
* values    bytes as they are stored; whoever reads them judges them
* revision  a number that grows with every change; each value has the one of its last change
* level     the paths that are so many names below a path: what is read and followed together
* watch     whole views of some levels: one at once, then one after every change, never of a part
            of a revision. While the reader is busy, views collapse into the last. After an
            outage, whatever happened meanwhile, the next view is again the whole truth
* lease     what is written under one goes when nobody has renewed it for so many seconds
* errors    `EndpointError` from what talks to the database, never from a watch, which tries on;
            `ConfigError` for what is not a path; `ValueError` for a transaction that is too large
"""

from __future__ import annotations

import abc
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Generic, Self, TypeVar

import attrs
import trio

from ..model.errors import ConfigError, EndpointError, Fault

MAX_OPERATIONS = 128
"""What a transaction may change, and what it may expect: the default limit of etcd servers."""

ABSENT = 0
"""Expected of a path: nothing is there."""

EXISTS = -1
"""Expected of a path: something is there, whatever it is."""

NO_LEASE = 0
"""What is written stays until it is deleted."""

V = TypeVar("V")

log = logging.getLogger(__name__)


@attrs.define(eq=False, slots=False)
class UnreachableError(EndpointError):
    """No answer, or one that says to ask another member; *unsent* when surely nothing was done."""

    unsent: bool = False


class LeaseEndedError(EndpointError):
    """Nothing was written: the lease that it was to be written under has ended."""


@attrs.frozen
class Versioned:
    """A value, and the revision at which it was written."""

    value: bytes
    mod_revision: int


@attrs.frozen
class Children:
    """Everything directly below a path, by name, and the value at the path itself."""

    revision: int
    values: Mapping[str, Versioned] = attrs.field(factory=dict)
    own: Versioned | None = None


@attrs.frozen
class Level:
    """The paths that are *depth* names below *path*; 0: the path itself."""

    path: str
    depth: int = 1


@attrs.frozen
class View:
    """What stands at the paths of some levels, by path, as of one revision."""

    revision: int
    values: Mapping[str, Versioned] = attrs.field(factory=dict)

    def children(self, path: str) -> Children:
        """What of it is at *path* and directly below."""
        named = ((child_name(path, found), value) for found, value in self.values.items())
        below = {name: value for name, value in named if name is not None}
        return Children(self.revision, below, self.values.get(path))


def at_one_of(path: str, levels: Sequence[Level]) -> bool:
    """Whether *path* is at one of these levels."""
    return any(
        path == level.path
        if not level.depth
        else path.startswith(level.path + "/") and path[len(level.path) :].count("/") == level.depth
        for level in levels
    )


def with_children(path: str) -> tuple[Level, Level]:
    """The path itself, and its direct children."""
    return Level(path, 0), Level(path)


def check_path(path: str) -> str:
    """Give *path* back when it is one.

    Raises:
        ConfigError: it is not.
    """
    complaint = ""
    if not path.startswith("/"):
        complaint = "a path begins with /"
    elif path.endswith("/") or "//" in path:
        complaint = "a path has a name after every /"
    elif not path.isprintable():  # nor is half a surrogate pair, which has no UTF-8
        complaint = "a path has printable characters only"
    if complaint:
        raise ConfigError([Fault(f"{path!r:.200}", complaint, "e.g. /component/name/owner")])
    return path


def child_name(path: str, key: str) -> str | None:
    """The last member of *key* if that is directly below *path*."""
    name = key.removeprefix(path + "/")
    return name if name and name != key and "/" not in name else None


class Watch(AsyncIterator[V], Generic[V]):
    """The views of some levels; iterating waits for the next one and never ends.

    A cancelled wait loses nothing. One task may iterate.
    """

    def __init__(
        self, name: str, shape: Callable[[View], V], on_connected: Callable[[bool], None]
    ) -> None:
        """*name* says in the log what is watched; *shape* makes of a view what is given."""
        self._name = name
        self._shape = shape
        self.problem = "not connected yet"
        """Why it is not connected, for people; empty while it is."""
        self._connected = False
        self._warned = False
        self._on_connected = on_connected
        self._view: View | None = None
        self._arrived = trio.Event()

    @property
    def connected(self) -> bool:
        """Whether changes are seen as they happen."""
        return self._connected

    async def __anext__(self) -> V:
        await trio.lowlevel.checkpoint()
        while self._view is None:
            self._arrived = trio.Event()
            await self._arrived.wait()
        view, self._view = self._view, None
        return self._shape(view)

    # What follows is for the database.

    def offer(self, view: View) -> None:
        """This is the state now; one that was not yet taken is forgotten."""
        self._view = view
        self._arrived.set()

    def found(self) -> None:
        """Changes are seen from now on."""
        if not self._connected:
            log.info("%s: watching", self._name)
        self.problem = ""
        self._warned = False
        self._tell(True)

    def lost(self, problem: str) -> None:
        """Changes are not seen any more; an outage is a warning once, then details."""
        if problem != self.problem:
            level = logging.DEBUG if self._warned else logging.WARNING
            log.log(level, "%s: not watching: %s", self._name, problem)
        self._warned = True
        self.ended(problem)

    def ended(self, problem: str) -> None:
        """The same without a word in the log: it was meant to end."""
        self.problem = problem
        self._tell(False)

    def _tell(self, connected: bool) -> None:
        if connected is not self._connected:
            self._connected = connected
            self._on_connected(connected)


class ConfigDatabase(abc.ABC):
    """A key-value database with revisions. ``async with`` opens and closes it."""

    shared_revisions = True
    """Whether a revision means the same to every client of the database."""

    renews_leases = True
    """Whether `renew_lease` asks the server; else nobody knows how long a lease lasts."""

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await trio.lowlevel.checkpoint()

    @abc.abstractmethod
    async def get(self, path: str) -> Versioned | None:
        """The value at *path*."""

    @abc.abstractmethod
    async def view(self, levels: Sequence[Level]) -> View:
        """Everything that stands at these levels, as of one revision."""

    async def children(self, path: str) -> Children:
        """Everything directly below *path*, and the value at *path*, as of one revision."""
        return (await self.view(with_children(path))).children(path)

    @abc.abstractmethod
    async def transact(
        self,
        changes: Mapping[str, str | bytes | None],
        *,
        expected: Mapping[str, int] = {},
        lease: int = NO_LEASE,
    ) -> int | None:
        """Write values, delete where the value is None: all of it or nothing.

        Args:
            changes: path → value; deleting what is not there is no error.
            expected: path → the ``mod_revision`` that it must have, `ABSENT` or `EXISTS`.
            lease: what is written goes when this ends; a later write may give it another, or none.

        Returns:
            The revision after it, which is the ``mod_revision`` of what was written; None when
            an expectation was not met, and nothing was done.

        Raises:
            LeaseEndedError: the lease has ended; nothing was done.
            EndpointError: refused, or no answer came: then it may have been done or not.
        """

    @abc.abstractmethod
    async def grant_lease(self, seconds: int) -> int:
        """A new lease that ends when it has not been renewed for so long."""

    @abc.abstractmethod
    async def renew_lease(self, lease: int) -> bool:
        """Begin its time anew; false when it has ended already."""

    @abc.abstractmethod
    async def revoke_lease(self, lease: int) -> None:
        """End it now, and with it what was written under it; one that has ended is no error."""

    @abc.abstractmethod
    async def lease_remaining(self, lease: int) -> float | None:
        """Seconds until it ends unless it is renewed; None when it has ended."""

    @abc.abstractmethod
    async def _follow(self, levels: Sequence[Level], watch: Watch[Any]) -> None:
        """Offer views to *watch* and tell it whether it is connected, until cancelled."""

    async def put(self, path: str, value: str | bytes) -> int:
        """Write *value* whatever was there; returns its ``mod_revision``."""
        revision = await self.transact({path: value})
        assert revision is not None
        return revision

    async def delete(self, path: str) -> bool:
        """Delete the value at *path*; whether there was one."""
        return await self.transact({path: None}, expected={path: EXISTS}) is not None

    async def compare_and_swap(
        self, path: str, value: str | bytes | None, mod_revision: int
    ) -> int | None:
        """Write *value* (None deletes) if *path* is still at *mod_revision*, which may be `ABSENT`.

        Returns:
            The new revision; None when someone else was faster, and nothing was done.
        """
        return await self.transact({path: value}, expected={path: mod_revision})

    @asynccontextmanager
    async def watch(
        self, path: str, *, on_connected: Callable[[bool], None] = lambda connected: None
    ) -> AsyncIterator[Watch[Children]]:
        """Follow *path* and its direct children, see `watch_levels`."""
        watch = Watch(path, lambda view: view.children(path), on_connected)
        async with self._watched(with_children(path), watch):
            yield watch

    @asynccontextmanager
    async def watch_levels(
        self,
        name: str,
        levels: Sequence[Level],
        *,
        on_connected: Callable[[bool], None] = lambda connected: None,
    ) -> AsyncIterator[Watch[View]]:
        """Follow levels together; *on_connected* is told of every change of being connected.

        The context holds a nursery: what its body raises comes out in an exception group.
        """
        watch = Watch(name, lambda view: view, on_connected)
        async with self._watched(levels, watch):
            yield watch

    @asynccontextmanager
    async def _watched(self, levels: Sequence[Level], watch: Watch[Any]) -> AsyncIterator[None]:
        for level in levels:
            check_path(level.path)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow, levels, watch)
                yield
                nursery.cancel_scope.cancel()
        finally:
            watch.ended("stopped")


def check_transaction(changes: Mapping[str, object], expected: Mapping[str, int]) -> None:
    """Raise what `ConfigDatabase.transact` says it raises before anything is sent."""
    for path in (*changes, *expected):
        check_path(path)
    if max(len(changes), len(expected)) > MAX_OPERATIONS:
        raise ValueError(
            f"a transaction has at most {MAX_OPERATIONS} changes and as many expectations; "
            f"found {len(changes)} and {len(expected)}"
        )


def as_bytes(value: str | bytes) -> bytes:
    """A value as it is stored."""
    return value.encode() if isinstance(value, str) else value
