"""The database through SKA's own library, ``ska-sdp-config``, where a site insists on it.

Asked for by ``SDP_CONFIG_BACKEND=ska-sdp-config``; the library reads the other variables itself.
Our own client speaks to the same etcd and is the better one: the library blocks, so each watch
keeps a thread, and its transactions tell no revisions of values, so those here are counted by this
adapter: they grow with what it sees, and mean nothing outside of it. A value that was changed and
changed back between two looks counts as unchanged. It renews leases by itself and does not tell
when one has ended, so a write that fails counts as one under a lease that has ended, and the leases
of others as ones that live.

* used      ``Config(backend="etcd3")``, ``close``, ``txn``, ``watcher(timeout)``, ``lease(ttl)``,
            which is a context manager with an ``ID``; ``watcher.txn``, ``watcher.trigger``;
            ``txn.raw``: ``get``, ``list_keys``, ``create``, ``update``, ``delete``
* note      only ``create`` takes a lease: what stands there is deleted in the same transaction
* note      a watcher wakes for keys that were listed or read with ``get`` in its transaction
* source    ska-sdp-config documentation, "Config", "Design and Best Practices"
"""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Self, TypeVar

import trio

from ..model.errors import EndpointError
from ..runtime.inbox import Inbox
from ..runtime.worker import Worker
from .database import (
    ABSENT,
    EXISTS,
    NO_LEASE,
    ConfigDatabase,
    LeaseEndedError,
    Level,
    Versioned,
    View,
    Watch,
    as_bytes,
    at_one_of,
    check_path,
    check_transaction,
    child_name,
)

MODULE = "ska_sdp_config"

LOOK_PERIOD = 5.0
"""Seconds after which a watcher looks by itself: a bound, should it miss that it is to end."""

RETRY_DELAY = 2.0
"""Seconds before a watch that failed is tried again."""

T = TypeVar("T")
Texts = dict[str, str]
"""Path → value, as the library has it."""


class SdpDatabase(ConfigDatabase):
    """The database that *connect* opens: a function that makes a ``ska_sdp_config.Config``."""

    shared_revisions = False
    renews_leases = False

    def __init__(self, connect: Callable[[], Any], *, secrets: Sequence[str] = ()) -> None:
        self._connect = connect
        self._secrets = tuple(secrets)
        self._worker = Worker()
        self._config: Any = None
        self._revision = 0
        self._known: dict[str, Versioned] = {}
        self._leases: dict[int, Any] = {}  # None for one that has ended

    @classmethod
    def installed(cls, *, secrets: Sequence[str] = ()) -> Self:
        """The one of the installed library, by its environment variables.

        Raises:
            EndpointError: it is not installed.
        """
        try:
            library = importlib.import_module(MODULE)
        except ImportError as error:
            reason = f"{error}; install queue-connector[sdp] from SKA's package index"
            raise EndpointError("ska-sdp-config", "import", reason) from error
        return cls(lambda: library.Config(backend="etcd3"), secrets=secrets)

    async def __aexit__(self, *_exc: object) -> None:
        config, self._config = self._config, None
        if config is not None:
            with trio.CancelScope(shield=True), suppress(EndpointError):
                for lease in list(self._leases):
                    await self.revoke_lease(lease)
                await self._run("close", lambda: config.close())

    async def _run(self, operation: str, function: Callable[[], T]) -> T:
        """Call the library in the thread; whatever it raises is the database's fault."""
        try:
            return await self._worker.run(function)
        except Exception as error:
            raise self._error(operation, error) from None

    def _error(self, operation: str, error: Exception) -> EndpointError:
        reason = f"{type(error).__name__}: {error}"
        for secret in self._secrets:
            reason = reason.replace(secret, "***")
        return EndpointError("ska-sdp-config", operation, reason[:300])

    def _opened(self) -> Any:
        """The library's connection; called in the worker's thread only."""
        if self._config is None:
            self._config = self._connect()
        return self._config

    def _versioned(self, path: str, text: str | None) -> Versioned | None:
        """A value with a revision: that of the last look, unless it is another value now."""
        if text is None:
            if self._known.pop(path, None) is not None:
                self._revision += 1
            return None
        value, known = as_bytes(text), self._known.get(path)
        if known is None or known.value != value:
            self._revision += 1
            known = self._known[path] = Versioned(value, self._revision)
        return known

    def _view(self, levels: Sequence[Level], texts: Texts) -> View:
        gone = [path for path in self._known if path not in texts and at_one_of(path, levels)]
        for path in gone:
            self._versioned(path, None)
        found = ((path, self._versioned(path, text)) for path, text in texts.items())
        values = {path: versioned for path, versioned in found if versioned is not None}
        return View(self._revision, values)

    async def get(self, path: str) -> Versioned | None:
        check_path(path)

        def get() -> str | None:
            text: str | None = _last(txn.raw.get(path) for txn in self._opened().txn())
            return text

        return self._versioned(path, await self._run(f"get {path}", get))

    async def view(self, levels: Sequence[Level]) -> View:
        path = check_path(levels[0].path)

        def read() -> Texts:
            return _last(_texts(levels, txn.raw) for txn in self._opened().txn())

        return self._view(levels, await self._run(f"read {path}", read))

    async def transact(
        self,
        changes: Mapping[str, str | bytes | None],
        *,
        expected: Mapping[str, int] = {},
        lease: int = NO_LEASE,
    ) -> int | None:
        check_transaction(changes, expected)
        operation = f"write {next(iter(changes), 'nothing')}"
        holder = self._leases.get(lease)
        if lease and holder is None:
            raise LeaseEndedError("ska-sdp-config", operation, "the lease has ended")
        texts = {
            path: None if value is None else as_bytes(value).decode()
            for path, value in changes.items()
        }
        known = dict(self._known)

        def transact() -> bool:
            done = False
            for txn in self._opened().txn():
                found = {path: txn.raw.get(path) for path in {*texts, *expected}}
                done = all(
                    _met(found[path], known.get(path), revision)
                    for path, revision in expected.items()
                )
                for path, text in texts.items() if done else ():
                    _write(txn.raw, path, found[path], text, holder)
            return done

        try:
            if not await self._run(operation, transact):
                return None
        except EndpointError as error:
            if not lease:
                raise
            raise LeaseEndedError(error.endpoint, operation, error.reason) from None
        self._revision += 1
        for path, text in texts.items():
            self._known.pop(path, None)
            if text is not None:
                self._known[path] = Versioned(as_bytes(text), self._revision)
        return self._revision

    async def grant_lease(self, seconds: int) -> int:
        def grant() -> Any:
            return self._opened().lease(ttl=seconds).__enter__()

        lease = await self._run("grant a lease", grant)
        number = int(lease.ID)
        self._leases[number] = lease
        return number

    async def renew_lease(self, lease: int) -> bool:
        await trio.lowlevel.checkpoint()
        return self._leases.get(lease) is not None

    async def revoke_lease(self, lease: int) -> None:
        holder, self._leases[lease] = self._leases.get(lease), None
        if holder is not None:
            await self._run("end the lease", lambda: holder.__exit__(None, None, None))
        await trio.lowlevel.checkpoint()

    async def lease_remaining(self, lease: int) -> float | None:
        await trio.lowlevel.checkpoint()
        return None if self._leases.get(lease, lease) is None else math.inf

    async def _follow(self, levels: Sequence[Level], watch: Watch[Any]) -> None:
        while True:
            try:
                await self._follow_once(levels, watch)
            except* Exception as errors:
                watch.lost(str(self._error(f"watch {levels[0].path}", errors.exceptions[0])))
            await trio.sleep(RETRY_DELAY)

    async def _follow_once(self, levels: Sequence[Level], watch: Watch[Any]) -> None:
        inbox: Inbox[Texts] = Inbox(1)
        looking = _Looking(self._connect, levels, inbox.put)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(Worker().run, looking.run)
            try:
                while True:
                    (texts,) = await inbox.receive(1)
                    watch.offer(self._view(levels, texts))
                    watch.found()
            finally:
                looking.end()  # the nursery waits for the thread
                inbox.close()


class _Looking:
    """Looks at levels whenever something changes there, in a thread of its own."""

    def __init__(
        self, connect: Callable[[], Any], levels: Sequence[Level], tell: Callable[[Texts], None]
    ) -> None:
        self._connect = connect
        self._levels = levels
        self._tell = tell
        self._ending = False
        self._watcher: Any = None

    def run(self) -> None:
        config = self._connect()
        try:
            for watcher in config.watcher(timeout=LOOK_PERIOD):
                self._watcher = watcher
                if self._ending:  # looked at after the watcher is known, so `end` is not missed
                    break
                self._tell(_last(_texts(self._levels, txn.raw) for txn in watcher.txn()))
        finally:
            config.close()

    def end(self) -> None:
        """Make `run` return; from any thread."""
        self._ending = True
        if self._watcher is not None:
            self._watcher.trigger()


def _last(tries: Iterable[T]) -> T:
    """What the last try of a transaction read: the library repeats it until it is consistent."""
    *_, last = tries
    return last


def _texts(levels: Sequence[Level], raw: Any) -> Texts:
    paths = [path for level in levels for path in _paths(level.path, level.depth, raw)]
    found = {path: raw.get(path) for path in paths}
    return {path: text for path, text in found.items() if text is not None}


def _paths(path: str, depth: int, raw: Any) -> Iterator[str]:
    """Those of a level that have something at every path above."""
    if not depth:
        yield path
        return
    for key in raw.list_keys(path + "/"):
        if child_name(path, key):
            yield from _paths(key, depth - 1, raw)


def _met(found: str | None, known: Versioned | None, expected: int) -> bool:
    if expected == ABSENT or found is None:
        return expected == ABSENT and found is None
    if expected == EXISTS:
        return True
    return known is not None and (known.mod_revision, known.value) == (expected, as_bytes(found))


def _write(raw: Any, path: str, found: str | None, text: str | None, lease: Any) -> None:
    if found is not None and text is not None and lease is None:
        raw.update(path, text)
        return
    if found is not None:
        raw.delete(path)
    if text is not None:
        raw.create(path, text, lease)
