"""The database as it is deployed: etcd, by its JSON gateway.

* snapshot  both ranges of a view, the path and its children, read in one transaction at revision R
* watch     both ranges in one stream from R + 1; a revision never comes in parts
* resume    whenever a stream ends (server gone, revisions compacted, database restored) a new
            snapshot is taken, so there is nothing that can be missed or go back unnoticed
* silence   the member that streams is probed, since a frozen one looks like one without changes
* leases    of whole seconds, two at least, as the server has them
* source    etcd documentation, "etcd API", "gRPC gateway", "Lease"
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence

import trio

from ..backoff import Backoff
from ..errors import EndpointError, leaves
from .database import (
    ABSENT,
    EXISTS,
    NO_LEASE,
    Children,
    ConfigDatabase,
    LeaseEndedError,
    Versioned,
    Watch,
    as_bytes,
    check_path,
    check_transaction,
)
from .gateway import Gateway, Json, UnreachableError, understanding
from .keys import child_of, key_of, range_of_children

PROBE_PERIOD = 2.0
"""Default seconds from one probe of the member that streams to the next."""

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

    async def children(self, path: str) -> Children:
        operation = f"read {check_path(path)}"
        body = {"success": [{"request_range": keys} for keys in _ranges(path)]}
        reply = await self._gateway.call(operation, "/v3/kv/txn", body, repeatable=True)
        with understanding(self._gateway.endpoint, operation):
            own, below = (each["response_range"].get("kvs", []) for each in reply["responses"])
            view = Children(int(reply["header"]["revision"]))
            return _after(path, view, [{"kv": kv} for kv in (*own, *below)])

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

    async def _follow(self, path: str, watch: Watch) -> None:
        backoff = Backoff(FIRST_DELAY, MAX_DELAY)
        while True:
            began = trio.current_time()
            try:
                await self._follow_once(path, watch)
            except* EndpointError as errors:
                for error in leaves(errors):
                    assert isinstance(error, EndpointError)
                    self._gateway.avoid(error.endpoint)
                    watch.lost(str(error))
            if trio.current_time() - began > MAX_DELAY:
                backoff.reset()
            await trio.sleep(backoff.next())

    async def _follow_once(self, path: str, watch: Watch) -> None:
        """A snapshot, then what changes, until something goes wrong."""
        view = await self.children(path)
        watch.offer(view)
        endpoint = self._gateway.endpoint
        operation = f"watch {path}"
        creating = [
            {"create_request": {**keys, "start_revision": str(view.revision + 1)}}
            for keys in _ranges(path)
        ]
        pending = len(creating)

        def receive(result: Json) -> None:
            nonlocal view, pending
            if result.get("canceled"):
                reason = self._gateway.shown(_cancellation(result))
                raise UnreachableError(endpoint, operation, reason)
            if result.get("created"):
                if int(result["header"]["revision"]) < view.revision:
                    reason = "the member is behind, or the database was restored"
                    raise UnreachableError(endpoint, operation, reason)
                pending -= 1
                if not pending:
                    watch.found()
            if events := result.get("events"):
                view = _after(path, view, events)
                watch.offer(view)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._probe, endpoint, path)
            await self._gateway.stream(endpoint, operation, "/v3/watch", creating, receive)

    async def _probe(self, endpoint: str, path: str) -> None:
        """Ask *endpoint* again and again; fails when no answer comes in time."""
        body = {"key": _coded(key_of(path)), "count_only": True}
        while True:
            await trio.sleep(self._probe_period)
            await self._gateway.call(
                "probe", "/v3/kv/range", body, repeatable=True, endpoint=endpoint
            )


def _coded(data: bytes) -> str:
    return b64encode(data).decode()


def _decoded(text: str) -> bytes:
    return b64decode(text, validate=True)  # without it, what is no base64 is skipped silently


def _ranges(path: str) -> tuple[Json, Json]:
    """The key of a path, and those of its children."""
    first, end = range_of_children(path)
    return {"key": _coded(key_of(path))}, {"key": _coded(first), "range_end": _coded(end)}


def _versioned(kv: Json) -> Versioned:
    return Versioned(_decoded(kv.get("value", "")), int(kv["mod_revision"]))


def _after(path: str, view: Children, events: Sequence[Json]) -> Children:
    """The view once *events* have happened."""
    revision, values, own = view.revision, dict(view.values), view.own
    for event in events:
        kv = event["kv"]
        key = _decoded(kv["key"])
        revision = max(revision, int(kv["mod_revision"]))
        value = None if event.get("type") == "DELETE" else _versioned(kv)
        name = child_of(path, key)
        if key == key_of(path):
            own = value
        elif name is not None and value is not None:
            values[name] = value
        elif name is not None:
            values.pop(name, None)
    return Children(revision, values, own)


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
