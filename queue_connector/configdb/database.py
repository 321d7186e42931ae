"""What the connector needs of a configuration database, whichever one it is.

* paths     ``/component/lmc-queueconnector-01/owner``: a leading slash, none at the end
* values    bytes as they are stored; whoever reads them judges them
* revision  a number that grows with every change; each value has the one of its last change
* watch     whole views of a path's direct children: one at once, then one after every change.
            While the reader is busy, views collapse into the last. After an outage, whatever
            happened meanwhile, the next view is again the whole truth
* lease     what is written under one goes when nobody has renewed it for so many seconds
* errors    `EndpointError` from what talks to the database, never from a watch, which tries on;
            `ConfigError` for what is not a path; `ValueError` for a transaction that is too large
"""

from __future__ import annotations

import abc
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Self

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

log = logging.getLogger(__name__)


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


class Watch(AsyncIterator[Children]):
    """The views of one path; iterating waits for the next one and never ends.

    A cancelled wait loses nothing. One task may iterate.
    """

    def __init__(self, path: str, on_connected: Callable[[bool], None]) -> None:
        self.path = path
        self.problem = "not connected yet"
        """Why it is not connected, for people; empty while it is."""
        self._connected = False
        self._warned = False
        self._on_connected = on_connected
        self._view: Children | None = None
        self._arrived = trio.Event()

    @property
    def connected(self) -> bool:
        """Whether changes are seen as they happen."""
        return self._connected

    async def __anext__(self) -> Children:
        await trio.lowlevel.checkpoint()
        while self._view is None:
            self._arrived = trio.Event()
            await self._arrived.wait()
        view, self._view = self._view, None
        return view

    # What follows is for the database.

    def offer(self, view: Children) -> None:
        """This is the state now; one that was not yet taken is forgotten."""
        self._view = view
        self._arrived.set()

    def found(self) -> None:
        """Changes are seen from now on."""
        if not self._connected:
            log.info("%s: watching", self.path)
        self.problem = ""
        self._warned = False
        self._tell(True)

    def lost(self, problem: str) -> None:
        """Changes are not seen any more; an outage is a warning once, then details."""
        if problem != self.problem:
            level = logging.DEBUG if self._warned else logging.WARNING
            log.log(level, "%s: not watching: %s", self.path, problem)
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

    async def __aenter__(self) -> Self:
        await trio.lowlevel.checkpoint()
        return self

    async def __aexit__(self, *_exc: object) -> None:
        await trio.lowlevel.checkpoint()

    @abc.abstractmethod
    async def get(self, path: str) -> Versioned | None:
        """The value at *path*."""

    @abc.abstractmethod
    async def children(self, path: str) -> Children:
        """Everything directly below *path*, and the value at *path*, as of one revision."""

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
    async def _follow(self, path: str, watch: Watch) -> None:
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
    ) -> AsyncIterator[Watch]:
        """Follow *path* and its direct children; *on_connected* is told of every change of that.

        The context holds a nursery: what its body raises comes out in an exception group.
        """
        watch = Watch(check_path(path), on_connected)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._follow, path, watch)
                yield watch
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
