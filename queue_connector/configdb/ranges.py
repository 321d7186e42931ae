"""What stands in ranges of etcd's keys, and how it is asked for: a range for each level of paths.

* source    etcd documentation, "etcd API", "gRPC gateway"
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence

from .database import Level, Versioned, View
from .gateway import Json
from .keys import path_of, range_of

Tails = list[tuple[int, int]]
"""Of each range, the latest revision among its keys, and their number."""


class Contents:
    """What is known of the ranges of some levels."""

    def __init__(self, levels: Sequence[Level], revision: int) -> None:
        self.revision = revision
        """Of the latest change that is known."""
        self._values: dict[str, Versioned] = {}
        self._ranges = [range_of(level) for level in levels]
        # All keys, since not each of them means a path, in the order of their latest changes.
        self._revisions: list[dict[bytes, int]] = [{} for _ in levels]

    def change(self, events: Sequence[Json]) -> None:
        """Have *events* happen, in this order."""
        for event in events:
            kv = event["kv"]
            key, revision = _decoded(kv["key"]), int(kv["mod_revision"])
            path, revisions = path_of(key), self._revisions[self._range_with(key)]
            revisions.pop(key, None)
            if event.get("type") == "DELETE":
                self._values.pop(path or "", None)
            else:
                revisions[key] = revision
                if path is not None:
                    self._values[path] = versioned(kv)
            self.revision = max(self.revision, revision)

    def _range_with(self, key: bytes) -> int:
        """The range that *key* is in; raises ValueError for one that was not asked for."""
        holds = (first <= key < end if end else key == first for first, end in self._ranges)
        return [*holds].index(True)

    def view(self) -> View:
        return View(self.revision, dict(self._values))

    def tails(self) -> Tails:
        """Of each range, the latest revision among its keys and their number.

        What lacks a change has others: each put that has not been replaced is later than
        what is known, and without one there are fewer keys.
        """
        return [(next(reversed(each.values()), 0), len(each)) for each in self._revisions]

    def watches(self) -> list[Json]:
        """The requests to be told of what comes next."""
        start = {"start_revision": str(self.revision + 1)}
        return [{"create_request": {**_range(*each), **start}} for each in self._ranges]


def reading(levels: Sequence[Level], **options: object) -> Json:
    """A transaction that reads the range of each level."""
    return {
        "success": [{"request_range": {**_range(*range_of(level)), **options}} for level in levels]
    }


def contents_read(reply: Json, levels: Sequence[Level]) -> Contents:
    """What a transaction has read, in the order of the latest changes."""
    contents = Contents(levels, int(reply["header"]["revision"]))
    for found in _ranges_read(reply, levels):
        contents.change([{"kv": kv} for kv in found.get("kvs", [])])
    return contents


def tails_read(reply: Json, levels: Sequence[Level]) -> Tails:
    """What a transaction has read of the latest key of each range, if there is one."""
    return [
        (
            int(found["kvs"][0]["mod_revision"]) if found.get("kvs") else 0,
            int(found.get("count", 0)),
        )
        for found in _ranges_read(reply, levels)
    ]


def _ranges_read(reply: Json, levels: Sequence[Level]) -> Iterator[Json]:
    return (each["response_range"] for each, _ in zip(reply["responses"], levels, strict=True))


def _range(first: bytes, end: bytes) -> Json:
    return {"key": coded(first)} | ({"range_end": coded(end)} if end else {})


def coded(data: bytes) -> str:
    """Bytes as the gateway has them."""
    return b64encode(data).decode()


def _decoded(text: str) -> bytes:
    return b64decode(text, validate=True)  # without it, what is no base64 is skipped silently


def versioned(kv: Json) -> Versioned:
    """The value of a key."""
    return Versioned(_decoded(kv.get("value", "")), int(kv["mod_revision"]))
