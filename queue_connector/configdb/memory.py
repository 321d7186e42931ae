"""A database without a server, for tests and trials: ``SDP_CONFIG_BACKEND=memory``.

Databases of one name are one, in every thread and every Trio loop of the process. Nothing is
locked: revisions are a chain, and the first to append the next one has written it.

Tests may `~MemoryDatabase.cut` it off as an outage does, and `~MemoryDatabase.restore` what they
have kept with `~MemoryDatabase.save`, as an operator does with a snapshot.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio

from ..bridge import Inbox
from ..errors import EndpointError
from .database import (
    EXISTS,
    Children,
    ConfigDatabase,
    Versioned,
    Watch,
    as_bytes,
    check_path,
    check_transaction,
    child_name,
)

SHARED = "sdp"
"""The name of the database that the environment asks for."""


class State:
    """All that is stored as of one revision."""

    __slots__ = ("revision", "successor", "values")

    def __init__(self, revision: int, values: Mapping[str, Versioned]) -> None:
        self.revision = revision
        self.values = values
        self.successor: dict[str, State] = {}  # "next", once there is one

    def met(self, path: str, expected: int) -> bool:
        """Whether *path* is at the revision that is expected of it."""
        found = self.values.get(path)
        if expected == EXISTS:
            return found is not None
        return expected == (found.mod_revision if found else 0)

    def after(self, changes: Mapping[str, str | bytes | None]) -> State:
        """The state once *changes* are made: itself when they change nothing."""
        revision = self.revision + 1
        values = dict(self.values)
        for path, value in changes.items():
            if value is not None:
                values[path] = Versioned(as_bytes(value), revision)
            else:
                values.pop(path, None)
        return State(revision, values) if values != self.values else self

    def children(self, path: str) -> Children:
        """The view of *path*."""
        named = ((child_name(path, key), value) for key, value in self.values.items())
        values = {name: value for name, value in named if name is not None}
        return Children(self.revision, values, self.values.get(path))


class _Store:
    """The chain of revisions, and who is to be woken by a new one."""

    def __init__(self) -> None:
        self.available = True
        self.inboxes: list[Inbox[None]] = []
        self._seen = State(1, {})

    def latest(self) -> State:
        state = self._seen
        while successor := state.successor.get("next"):
            state = successor
        self._seen = state
        return state

    def append(self, change: Callable[[State], State]) -> State:
        """Make the latest state what *change* makes of it; it may be called again."""
        while True:
            old = self.latest()
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
            raise EndpointError(f"memory:{self.name}", operation, "it is cut off")

    async def get(self, path: str) -> Versioned | None:
        await self._reach(f"get {check_path(path)}")
        return self._store.latest().values.get(path)

    async def children(self, path: str) -> Children:
        await self._reach(f"read {check_path(path)}")
        return self._store.latest().children(path)

    async def transact(
        self,
        changes: Mapping[str, str | bytes | None],
        *,
        expected: Mapping[str, int] = {},
    ) -> int | None:
        check_transaction(changes, expected)
        await self._reach(f"write {next(iter(changes), 'nothing')}")
        met = False

        def change(state: State) -> State:
            nonlocal met
            met = all(state.met(path, revision) for path, revision in expected.items())
            return state.after(changes) if met else state

        state = self._store.append(change)
        return state.revision if met else None

    async def _follow(self, path: str, watch: Watch) -> None:
        inbox: Inbox[None] = Inbox(1)
        self._store.inboxes.append(inbox)
        shown: Children | None = None
        try:
            while True:
                if not self._store.available:
                    watch.lost("it is cut off")
                    shown = None
                else:
                    view = self._store.latest().children(path)
                    if shown is None or (view.values, view.own) != (shown.values, shown.own):
                        shown = view
                        watch.offer(view)
                    watch.found()
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
        self._store.append(lambda _state: State(saved.revision, saved.values))
