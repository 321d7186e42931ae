"""The database as it is deployed: etcd, by its JSON gateway.

* snapshot  the ranges of all levels, read in one transaction at revision R
* watch     the same ranges in one stream from R + 1. The server tells what one revision changed in
            several ranges one after the other, at once: a view is held back until that is over
* resume    whenever a stream ends (server gone, revisions compacted, database restored) a new
            snapshot is taken, so there is nothing that can be missed or go back unnoticed
* silence   the member that streams is probed, since a frozen one looks like one without changes,
            and so does a stream that was cut on its way: what it must have told is compared
* leases    of whole seconds, two at least, as the server has them
* source    etcd documentation, "etcd API", "gRPC gateway", "Lease"
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
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
from .keys import key_of, path_of, range_of

PROBE_PERIOD = 2.0
"""Default seconds from one probe of the member that streams to the next."""

SETTLING = 0.005
"""Seconds for which a view is held back, for what else its revision has changed."""

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
            operation, "/v3/kv/range", {"key": _coded(key_of(path))}, repeatable=True
        )
        with understanding(self._gateway.endpoint, operation):
            return _versioned(reply["kvs"][0]) if reply.get("kvs") else None

    async def view(self, levels: Sequence[Level]) -> View:
        view, _ = await self._snapshot(levels)
        return view

    async def _snapshot(self, levels: Sequence[Level]) -> tuple[View, set[bytes]]:
        """The view, and all keys in its ranges: not each of them means a path."""
        operation = f"read {check_path(levels[0].path)}"
        keys: set[bytes] = set()
        body = {"success": [{"request_range": keys} for keys in _ranges(levels)]}
        reply = await self._gateway.call(operation, "/v3/kv/txn", body, repeatable=True)
        with understanding(self._gateway.endpoint, operation):
            found = [
                {"kv": kv}
                for each, _ in zip(reply["responses"], levels, strict=True)
                for kv in each["response_range"].get("kvs", [])
            ]
            return _after(View(int(reply["header"]["revision"])), found, keys), keys

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
        stream = _Stream(levels, watch, *await self._snapshot(levels))
        endpoint = self._gateway.endpoint
        operation = f"watch {levels[0].path}"

        def failed(reason: str) -> UnreachableError:
            return UnreachableError(endpoint, operation, self._gateway.shown(reason))

        def receive(result: Json) -> None:
            if reason := stream.receive(result):
                raise failed(reason)

        async def compare() -> None:
            """Fails when *endpoint* does not answer, or has what the stream does not tell."""
            while True:
                await trio.sleep(self._probe_period)
                if stream.has_missed(*await self._probe(endpoint, levels)):
                    raise failed("the stream tells nothing of what has changed")

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(compare)
                nursery.start_soon(stream.offer_views)
                requests = stream.requests()
                await self._gateway.stream(endpoint, operation, "/v3/watch", requests, receive)
        finally:
            stream.offer_view()

    async def _probe(self, endpoint: str, levels: Sequence[Level]) -> tuple[int, int]:
        """The latest revision among the keys of a view as *endpoint* has them, and their number."""
        operation, latest, count = "probe", 0, 0
        for keys in _ranges(levels):
            newest = {"limit": "1", "sort_order": "DESCEND", "sort_target": "MOD"}
            body = {**keys, **newest, "keys_only": True}
            reply = await self._gateway.call(
                operation, "/v3/kv/range", body, repeatable=True, endpoint=endpoint
            )
            with understanding(endpoint, operation):
                count += int(reply.get("count", 0))
                for kv in reply.get("kvs", []):
                    latest = max(latest, int(kv["mod_revision"]))
        return latest, count


class _Stream:
    """What a stream of changes has told so far, from a snapshot on."""

    def __init__(
        self, levels: Sequence[Level], watch: Watch[Any], view: View, keys: set[bytes]
    ) -> None:
        self._ranges = _ranges(levels)
        self._watch = watch
        self._view = view
        self._keys = keys
        self._pending = len(self._ranges)
        self._missed = 0
        self._changed = trio.Event()
        watch.offer(view)

    async def offer_views(self) -> None:
        """Offer each view once the events of its revision are there, until cancelled."""
        while True:
            await self._changed.wait()
            await trio.sleep(SETTLING)
            self.offer_view()

    def offer_view(self) -> None:
        """Offer the view as it is, unless that was done."""
        if self._changed.is_set():
            self._changed = trio.Event()
            self._watch.offer(self._view)

    def requests(self) -> list[Json]:
        start = str(self._view.revision + 1)
        return [{"create_request": {**keys, "start_revision": start}} for keys in self._ranges]

    def receive(self, result: Json) -> str:
        """Take in one result; why the stream is of no more use, or an empty text."""
        if result.get("canceled"):
            return _cancellation(result)
        if result.get("created"):
            if int(result["header"]["revision"]) < self._view.revision:
                return "the member is behind, or the database was restored"
            self._pending -= 1
            if not self._pending:
                self._watch.found()
        if events := result.get("events"):
            self._view = _after(self._view, events, self._keys)
            self._changed.set()
        return ""

    def has_missed(self, latest: int, count: int) -> bool:
        """Whether it has told nothing since a comparison found that there was something to tell.

        Compared are the latest revision among the keys, and their number.
        """
        revision = self._view.revision
        if self._missed == revision:
            return True
        self._missed = revision if latest > revision or count != len(self._keys) else 0
        return False


def _coded(data: bytes) -> str:
    return b64encode(data).decode()


def _decoded(text: str) -> bytes:
    return b64decode(text, validate=True)  # without it, what is no base64 is skipped silently


def _ranges(levels: Sequence[Level]) -> list[Json]:
    """The keys of each level."""
    found = []
    for level in levels:
        first, end = range_of(level)
        found.append({"key": _coded(first)} | ({"range_end": _coded(end)} if end else {}))
    return found


def _versioned(kv: Json) -> Versioned:
    return Versioned(_decoded(kv.get("value", "")), int(kv["mod_revision"]))


def _after(view: View, events: Sequence[Json], keys: set[bytes]) -> View:
    """The view once *events* have happened; *keys* become those that there are then."""
    revision, values = view.revision, dict(view.values)
    for event in events:
        kv = event["kv"]
        key = _decoded(kv["key"])
        revision = max(revision, int(kv["mod_revision"]))
        value = None if event.get("type") == "DELETE" else _versioned(kv)
        (keys.discard if value is None else keys.add)(key)
        path = path_of(key)
        if path is not None and value is not None:
            values[path] = value
        elif path is not None:
            values.pop(path, None)
    return View(revision, values)


def _cancellation(result: Json) -> str:
    if int(result.get("compact_revision", 0)):
        return "what was to be seen next has been compacted"
    return str(result.get("cancel_reason", "")) or "the server cancelled it"


def _expectation(path: str, revision: int) -> Json:
    key = _coded(key_of(path))
    if revision == EXISTS:
        return {"key": key, "target": "VERSION", "result": "GREATER", "version": str(ABSENT)}
    return {"key": key, "target": "MOD", "result": "EQUAL", "mod_revision": str(revision)}


def _change(path: str, value: str | bytes | None, lease: int) -> Json:
    key = _coded(key_of(path))
    if value is None:
        return {"request_delete_range": {"key": key}}
    return {"request_put": {"key": key, "value": _coded(as_bytes(value)), "lease": str(lease)}}
