"""The database as it is deployed: etcd, by its JSON gateway.

* snapshot  the ranges of all levels, each read as it was at revision R
* watch     the same ranges in one stream from R + 1. The server tells what one revision changed in
            several ranges one after the other: a view is given when what it has of each range is
            what the member says there was at its revision, by the latest change and the number
* resume    whenever a stream ends (server gone, revisions compacted, database restored) a new
            snapshot is taken, so there is nothing that can be missed or go back unnoticed
* silence   the member that streams is probed, since a frozen one looks like one without changes,
            and so does a stream that was cut on its way: what it must have told is compared
* leases    of whole seconds, two at least, as the server has them
* source    etcd documentation, "etcd API", "gRPC gateway", "Lease"
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any

import trio

from ..model.errors import EndpointError, leaves
from ..runtime.backoff import Backoff
from .database import (
    ABSENT,
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
    check_path,
    check_transaction,
)
from .gateway import Gateway, Json, understanding
from .keys import key_of
from .ranges import Contents, Tails, coded, contents_read, range_request, tails_read, versioned

PROBE_PERIOD = 2.0
"""Default seconds from one probe of the member that streams to the next."""

SETTLING, MAX_SETTLING = 3, 1.0
"""From a change to a view of it, so many times as long as the member took to confirm the last, and
at most so many seconds: many changes, or a busy member, have it asked less often."""

FIRST_DELAY = 0.05
"""Seconds before the first try to watch again."""

_LEASE_NOT_FOUND = "requested lease not found"  # etcd's words

MAX_DELAY = 2.0
"""Seconds before each further try, at most; a watch that lasted longer starts from the first."""


class EtcdDatabase(ConfigDatabase):
    """An etcd cluster behind a `Gateway`."""

    def __init__(self, gateway: Gateway, *, probe_period: float = PROBE_PERIOD) -> None:
        self._gateway = gateway
        self._probe_period = probe_period

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._gateway!r})"

    async def __aexit__(self, *_exc: object) -> None:
        await self._gateway.aclose()

    async def get(self, path: str) -> Versioned | None:
        operation = f"get {check_path(path)}"
        reply = await self._gateway.call(
            operation, "/v3/kv/range", {"key": coded(key_of(path))}, repeatable=True
        )
        with understanding(self._gateway.endpoint, operation):
            return versioned(reply["kvs"][0]) if reply.get("kvs") else None

    async def view(self, levels: Sequence[Level]) -> View:
        return (await self._snapshot(levels)).view()

    async def _snapshot(self, levels: Sequence[Level]) -> Contents:
        operation = f"read {check_path(levels[0].path)}"
        replies, revision = await self._ranges(
            operation, levels, sort_order="ASCEND", sort_target="MOD"
        )
        with understanding(self._gateway.endpoint, operation):
            return contents_read(replies, revision, levels)

    async def _ranges(
        self,
        operation: str,
        levels: Sequence[Level],
        revision: int = 0,
        endpoint: str = "",
        **options: object,
    ) -> tuple[list[Json], int]:
        """What stands in the range of each level at one revision, and which.

        It is not asked in one transaction: etcd before 3.5.5 dies of one that only reads, when the
        client gives it up (etcd issue 14110).
        """
        replies: dict[Level, Json] = {}
        failures: list[EndpointError] = []

        async def read(level: Level) -> None:
            body = range_request(level, revision, **options)
            try:
                replies[level] = await self._gateway.call(
                    operation, "/v3/kv/range", body, repeatable=True, endpoint=endpoint
                )
            except EndpointError as error:
                failures.append(error)

        async def read_all(some: Sequence[Level]) -> None:
            async with trio.open_nursery() as nursery:
                for level in some:
                    nursery.start_soon(read, level)
            if failures:
                raise failures[0]

        if not revision:
            await read_all(levels[:1])
            with understanding(endpoint or self._gateway.endpoint, operation):
                revision = int(replies[levels[0]]["header"]["revision"])
        await read_all([level for level in levels if level not in replies])
        return [replies[level] for level in levels], revision

    async def transact(
        self,
        changes: Mapping[str, str | bytes | None],
        *,
        expected: Mapping[str, int] = {},
        lease: int = NO_LEASE,
    ) -> int | None:
        check_transaction(changes, expected)
        operation = f"write {next(iter(changes), 'nothing')}"
        body = {
            "compare": [_expectation(path, revision) for path, revision in expected.items()],
            "success": [_change(path, value, lease) for path, value in changes.items()],
        }
        try:
            reply = await self._gateway.call(operation, "/v3/kv/txn", body, repeatable=False)
        except EndpointError as error:
            if _LEASE_NOT_FOUND in error.reason:
                raise LeaseEndedError(error.endpoint, operation, error.reason) from None
            raise
        with understanding(self._gateway.endpoint, operation):
            return int(reply["header"]["revision"]) if reply.get("succeeded") else None

    async def grant_lease(self, seconds: int) -> int:
        operation, body = "grant a lease", {"TTL": str(seconds)}
        reply = await self._gateway.call(operation, "/v3/lease/grant", body, repeatable=True)
        with understanding(self._gateway.endpoint, operation):
            return int(reply["ID"])

    async def renew_lease(self, lease: int) -> bool:
        operation, body = "renew the lease", {"ID": str(lease)}
        reply = await self._gateway.call(operation, "/v3/lease/keepalive", body, repeatable=True)
        with understanding(self._gateway.endpoint, operation):
            return int(reply["result"].get("TTL", 0)) > 0

    async def revoke_lease(self, lease: int) -> None:
        body = {"ID": str(lease)}
        try:
            await self._gateway.call("end the lease", "/v3/lease/revoke", body, repeatable=True)
        except EndpointError as error:
            if _LEASE_NOT_FOUND not in error.reason:
                raise

    async def lease_remaining(self, lease: int) -> float | None:
        operation, body = "look at a lease", {"ID": str(lease)}
        reply = await self._gateway.call(operation, "/v3/lease/timetolive", body, repeatable=True)
        with understanding(self._gateway.endpoint, operation):
            remaining = int(reply.get("TTL", 0))
        return float(remaining) if remaining >= 0 else None

    async def _follow(self, levels: Sequence[Level], watch: Watch[Any]) -> None:
        backoff = Backoff(FIRST_DELAY, MAX_DELAY)
        while True:
            began = trio.current_time()
            try:
                await self._follow_once(levels, watch)
            except* EndpointError as errors:
                for error in leaves(errors):
                    assert isinstance(error, EndpointError)
                    self._gateway.avoid(error.endpoint)
                    watch.lost(str(error))
            if trio.current_time() - began > MAX_DELAY:
                backoff.reset()
            await trio.sleep(backoff.next())

    async def _follow_once(self, levels: Sequence[Level], watch: Watch[Any]) -> None:
        """A snapshot, then what changes, until something goes wrong."""
        contents = await self._snapshot(levels)
        watch.offer(contents.view())
        endpoint = self._gateway.endpoint
        operation = f"watch {levels[0].path}"

        def failed(reason: str) -> UnreachableError:
            return UnreachableError(endpoint, operation, self._gateway.shown(reason))

        stream = _Stream(contents, watch, len(levels), failed)
        tails = partial(self._tails, endpoint, levels)
        requests = contents.watches()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stream.compare, tails, self._probe_period)
            nursery.start_soon(stream.offer, tails)
            await self._gateway.stream(endpoint, operation, "/v3/watch", requests, stream.receive)

    async def _tails(self, endpoint: str, levels: Sequence[Level], revision: int = 0) -> Tails:
        """The tails by *endpoint*, at *revision* or now."""
        operation = "probe"
        options = {"limit": "1", "sort_order": "DESCEND", "sort_target": "MOD", "keys_only": True}
        replies, _ = await self._ranges(operation, levels, revision, endpoint, **options)
        with understanding(endpoint, operation):
            return tails_read(replies)


class _Stream:
    """A stream of changes, until one of its methods raises what *failed* makes of a reason."""

    def __init__(
        self,
        contents: Contents,
        watch: Watch[Any],
        ranges: int,
        failed: Callable[[str], UnreachableError],
    ) -> None:
        self._contents = contents
        self._watch = watch
        self._ranges = self._pending = ranges
        self._failed = failed
        self._changed = trio.Event()

    def receive(self, result: Json) -> None:
        """Take in one result."""
        if result.get("canceled"):
            raise self._failed(_cancellation(result))
        if result.get("created"):
            if int(result["header"]["revision"]) < self._contents.revision:
                raise self._failed("the member is behind, or the database was restored")
            self._pending -= 1
            if not self._pending:
                self._watch.found()
        if events := result.get("events"):
            self._contents.change(events)
            self._changed.set()

    async def offer(self, tails: Callable[[int], Awaitable[Tails]]) -> None:
        """Offer each view that is whole: by *tails*, the member has the same at its revision."""
        asking = 0.0
        while True:
            await self._changed.wait()
            await trio.sleep(min(SETTLING * asking, MAX_SETTLING))
            self._changed = trio.Event()
            view, known, began = self._contents.view(), self._contents.tails(), trio.current_time()
            if self._ranges == 1 or known == await tails(view.revision):
                self._watch.offer(view)
            asking = trio.current_time() - began

    async def compare(self, tails: Callable[[], Awaitable[Tails]], period: float) -> None:
        """Fail when *tails* get no answer, or are others and the stream tells nothing."""
        missed = 0
        while True:
            await trio.sleep(period)
            if await tails() == self._contents.tails():
                missed = 0
            elif missed == self._contents.revision:
                raise self._failed("the stream tells nothing of what has changed")
            else:
                missed = self._contents.revision


def _cancellation(result: Json) -> str:
    if int(result.get("compact_revision", 0)):
        return "what was to be seen next has been compacted"
    return str(result.get("cancel_reason", "")) or "the server cancelled it"


def _expectation(path: str, revision: int) -> Json:
    key = coded(key_of(path))
    if revision == EXISTS:
        return {"key": key, "target": "VERSION", "result": "GREATER", "version": str(ABSENT)}
    return {"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}


def _change(path: str, value: str | bytes | None, lease: int) -> Json:
    key = coded(key_of(path))
    if value is None:
        return {"request_delete_range": {"key": key}}
    return {"request_put": {"key": key, "value": coded(as_bytes(value)), "lease": str(lease)}}
