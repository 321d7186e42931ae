"""A database without a server, for tests and trials: ``SDP_CONFIG_BACKEND=memory``.

Databases of one name are one, in every thread and every Trio loop of the process. Nothing is
locked: revisions are a chain, and the first to append the next one has written it.

Leases end by the clock of the machine, not by that of a Trio loop: several loops share them.

Tests may `~MemoryDatabase.cut` it off as an outage does, and `~MemoryDatabase.restore` what they
have kept with `~MemoryDatabase.save`, as an operator does with a snapshot; `~MemoryDatabase.expire`
ends every lease.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import attrs
import trio

from ..runtime.inbox import Inbox
from .database import (
    EXISTS,
    NO_LEASE,
    ConfigDatabase,
    LeaseEndedError,
    Level,
    UnreachableError,
    Versioned,
    View,
    Watch,
    as_bytes,
    at_one_of,
    check_path,
    check_transaction,
)

SHARED = "sdp"
"""The name of the database that the environment asks for."""


class State:
    """All that is stored as of one revision."""

    __slots__ = ("leases", "revision", "successor", "values")

    def __init__(
        self, revision: int, values: Mapping[str, Versioned], leases: Mapping[str, int]
    ) -> None:
        self.revision = revision
        self.values = values
        self.leases = leases  # path → lease, where there is one
        self.successor: dict[str, State] = {}  # "next", once there is one

    def met(self, path: str, expected: int) -> bool:
        """Whether *path* is at the revision that is expected of it."""
        found = self.values.get(path)
        if expected == EXISTS:
            return found is not None
        return expected == (found.mod_revision if found else 0)

    def after(self, changes: Mapping[str, str | bytes | None], lease: int = NO_LEASE) -> State:
        """The state once *changes* are made: itself when they change nothing."""
        revision = self.revision + 1
        values, leases = dict(self.values), dict(self.leases)
        for path, value in changes.items():
            leases.pop(path, None)
            if value is not None:
                values[path] = Versioned(as_bytes(value), revision)
                if lease:
                    leases[path] = lease
            else:
                values.pop(path, None)
        return State(revision, values, leases) if values != self.values else self

    def without(self, ended: Iterable[int]) -> State:
        """The state once these leases have ended."""
        gone = set(ended)
        return self.after({path: None for path, lease in self.leases.items() if lease in gone})

    def view(self, levels: Sequence[Level]) -> View:
        """What stands at *levels*."""
        values = {path: value for path, value in self.values.items() if at_one_of(path, levels)}
        return View(self.revision, values)


@attrs.define
class _Lease:
    seconds: float
    ends: float


class _Store:
    """The chain of revisions, and who is to be woken by a new one."""

    def __init__(self) -> None:
        self.available = True
        self.inboxes: list[Inbox[None]] = []
        self.leases: dict[int, _Lease] = {}
        self.lease_numbers = itertools.count(NO_LEASE + 1)
        self._seen = State(1, {}, {})

    def until_an_end(self) -> float:
        """Seconds until the next lease ends."""
        ends = [lease.ends for lease in self.leases.copy().values()]
        return max(0.0, min(ends, default=math.inf) - time.monotonic())

    def end_leases(self, now: float) -> None:
        ended = {number for number, lease in self.leases.copy().items() if lease.ends <= now}
        for number in ended:
            self.leases.pop(number, None)
        if ended:
            self.append(lambda state: state.without(ended))

    def latest(self) -> State:
        self.end_leases(time.monotonic())
        return self._latest()

    def _latest(self) -> State:
        state = self._seen
        while successor := state.successor.get("next"):
            state = successor
        self._seen = state
        return state

    def append(self, change: Callable[[State], State]) -> State:
        """Make the latest state what *change* makes of it; it may be called again."""
        while True:
            old = self._latest()
            new = change(old)
            # setdefault is atomic: of two threads, the second finds the state of the first.
            if new is old or old.successor.setdefault("next", new) is new:
                self.wake()
                return new

    def wake(self) -> None:
        for inbox in self.inboxes.copy():
            inbox.put(None)


_stores: dict[str, _Store] = {}


class MemoryDatabase(ConfigDatabase):
    """The database called *name*; the first one to be opened makes it."""

    def __init__(self, name: str = SHARED) -> None:
        self.name = name
        self._store = _stores.setdefault(name, _Store())

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def _reach(self, operation: str) -> None:
        await trio.lowlevel.checkpoint()
        if not self._store.available:
            raise UnreachableError(f"memory:{self.name}", operation, "it is cut off")

    async def get(self, path: str) -> Versioned | None:
        await self._reach(f"get {check_path(path)}")
        return self._store.latest().values.get(path)

    async def view(self, levels: Sequence[Level]) -> View:
        await self._reach(f"read {check_path(levels[0].path)}")
        return self._store.latest().view(levels)

    async def transact(
        self,
        changes: Mapping[str, str | bytes | None],
        *,
        expected: Mapping[str, int] = {},
        lease: int = NO_LEASE,
    ) -> int | None:
        check_transaction(changes, expected)
        operation = f"write {next(iter(changes), 'nothing')}"
        await self._reach(operation)
        self._store.end_leases(time.monotonic())
        if lease and lease not in self._store.leases:
            raise LeaseEndedError(f"memory:{self.name}", operation, "the lease has ended")
        met = False

        def change(state: State) -> State:
            nonlocal met
            met = all(state.met(path, revision) for path, revision in expected.items())
            return state.after(changes, lease) if met else state

        state = self._store.append(change)
        return state.revision if met else None

    async def grant_lease(self, seconds: int) -> int:
        await self._reach("grant a lease")
        number = next(self._store.lease_numbers)
        self._store.leases[number] = _Lease(seconds, time.monotonic() + seconds)
        self._store.wake()
        return number

    async def renew_lease(self, lease: int) -> bool:
        if await self.lease_remaining(lease) is None:
            return False
        found = self._store.leases[lease]
        found.ends = time.monotonic() + found.seconds
        return True

    async def revoke_lease(self, lease: int) -> None:
        await self._reach("end the lease")
        self._store.leases.pop(lease, None)
        self._store.append(lambda state: state.without([lease]))

    async def lease_remaining(self, lease: int) -> float | None:
        await self._reach("look at a lease")
        self._store.end_leases(time.monotonic())
        found = self._store.leases.get(lease)
        return None if found is None else found.ends - time.monotonic()

    async def _follow(self, levels: Sequence[Level], watch: Watch[Any]) -> None:
        inbox: Inbox[None] = Inbox(1)
        self._store.inboxes.append(inbox)
        shown: View | None = None
        try:
            while True:
                self._store.end_leases(time.monotonic())
                if not self._store.available:
                    watch.lost("it is cut off")
                    shown = None
                else:
                    view = self._store.latest().view(levels)
                    if shown is None or view.values != shown.values:
                        shown = view
                        watch.offer(view)
                    watch.found()
                with trio.move_on_after(self._store.until_an_end()):
                    await inbox.receive(1)
        finally:
            self._store.inboxes.remove(inbox)
            inbox.close()

    # -- what tests do to it -----------------------------------------------------------------------

    def cut(self) -> None:
        """Make every operation fail and every watch lose its connection, until `mend`."""
        self._store.available = False
        self._store.wake()

    def mend(self) -> None:
        """End what `cut` began."""
        self._store.available = True
        self._store.wake()

    def save(self) -> State:
        """All that is stored now."""
        return self._store.latest()

    def restore(self, saved: State) -> None:
        """Go back to what was saved, with its revision."""
        self._store.append(lambda _state: State(saved.revision, saved.values, saved.leases))

    def expire(self) -> None:
        """End every lease, as when nobody has renewed any for long."""
        self._store.end_leases(math.inf)
