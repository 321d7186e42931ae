"""What stands in ranges of etcd's keys, and how it is asked for: a range for each level of paths.

* source    etcd documentation, "etcd API", "gRPC gateway"
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence

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


def range_request(level: Level, revision: int, **options: object) -> Json:
    """Read the range of a level as it was at a revision, or with 0 as it is."""
    return {**_range(*range_of(level)), "revision": str(revision), **options}


def contents_read(replies: Sequence[Json], revision: int, levels: Sequence[Level]) -> Contents:
    """What stood in the ranges at the revision, each in the order of the latest changes."""
    contents = Contents(levels, revision)
    for found in replies:
        contents.change([{"kv": kv} for kv in found.get("kvs", [])])
    return contents


def tails_read(replies: Sequence[Json]) -> Tails:
    """What was read of the latest key of each range, if there is one."""
    return [
        (
            int(found["kvs"][0]["mod_revision"]) if found.get("kvs") else 0,
            int(found.get("count", 0)),
        )
        for found in replies
    ]


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
