"""A stand-in for ``ska_sdp_config``, with what its documentation says of the parts we use.

`Library` is the module: ``library.Config(backend="etcd3")``. Transactions read as of one moment and
are repeated when what they read has changed; a watcher wakes for keys listed or read with ``get``.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator


class Library:
    """The module, and the database behind it. *failure* is raised by whatever comes next."""

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.changed = threading.Condition()
        self.opened: list[Config] = []
        self.failure: Exception | None = None
        self.leases: dict[int, set[str]] = {}

    def Config(self, backend: str) -> Config:
        assert backend == "etcd3"
        self.fail()
        self.opened.append(Config(self))
        return self.opened[-1]

    def fail(self) -> None:
        failure, self.failure = self.failure, None
        if failure is not None:
            raise failure


class Config:
    def __init__(self, library: Library) -> None:
        self.library = library
        self.closed = False

    def txn(self, max_retries: int = 64) -> Iterator[Transaction]:
        assert not self.closed
        self.library.fail()
        for _ in range(max_retries):
            txn = Transaction(self.library)
            yield txn
            if txn.raw.commit():
                return
        raise RuntimeError("too many retries")

    def watcher(self, timeout: float | None = None) -> Iterator[Watcher]:
        return iter(Watcher(self, timeout))

    def lease(self, ttl: int = 10) -> Lease:
        self.library.fail()
        return Lease(self.library)

    def close(self) -> None:
        self.closed = True


class Lease:
    """Kept alive by the library from the moment it is entered."""

    def __init__(self, library: Library) -> None:
        self.library = library
        self.ID = 7000 + len(library.leases)

    def __enter__(self) -> Lease:
        self.library.leases[self.ID] = set()
        return self

    def __exit__(self, *_exc: object) -> None:
        with self.library.changed:
            for path in self.library.leases[self.ID]:
                self.library.values.pop(path, None)
            self.library.leases[self.ID] = set()
            self.library.changed.notify_all()


class Transaction:
    def __init__(self, library: Library) -> None:
        self.raw = Raw(library)


class Raw:
    """Reads are remembered and writes delayed until `commit`."""

    def __init__(self, library: Library) -> None:
        self.library = library
        with library.changed:
            self.snapshot = dict(library.values)
        self.gets: dict[str, str | None] = {}
        self.lists: dict[str, list[str]] = {}
        self.updates: dict[str, str | None] = {}
        self.leased: dict[str, Lease | None] = {}

    def get(self, path: str) -> str | None:
        return self.updates.get(path, self.gets.setdefault(path, self.snapshot.get(path)))

    def list_keys(self, path: str, recurse: int = 0) -> list[str]:
        assert recurse == 0
        return self.lists.setdefault(path, listed(self.snapshot, path))

    def create(self, path: str, value: str, lease: Lease | None = None) -> None:
        assert self.get(path) is None
        self.updates[path] = value
        self.leased[path] = lease

    def update(self, path: str, value: str) -> None:
        assert self.get(path) is not None
        self.updates[path] = value

    def delete(self, path: str, must_exist: bool = True) -> None:
        assert self.get(path) is not None or not must_exist
        self.updates[path] = None

    def stands(self) -> bool:
        """Whether everything that was read is still so."""
        values = self.library.values
        return all(values.get(path) == value for path, value in self.gets.items()) and all(
            listed(values, path) == keys for path, keys in self.lists.items()
        )

    def commit(self) -> bool:
        with self.library.changed:
            if not self.stands():
                return False
            for path, value in self.updates.items():
                if value is None:
                    del self.library.values[path]
                else:
                    self.library.values[path] = value
                for lease in self.library.leases.values():
                    lease.discard(path)
                if holder := self.leased.get(path):
                    self.library.leases[holder.ID].add(path)
            self.library.changed.notify_all()
            return True


class Watcher:
    def __init__(self, config: Config, timeout: float | None) -> None:
        self.config = config
        self.timeout = timeout
        self.read: list[Raw] = []
        self.triggered = False

    def txn(self) -> Iterator[Transaction]:
        last = None
        for last in self.config.txn():
            yield last
        assert last is not None
        self.read.append(last.raw)

    def __iter__(self) -> Iterator[Watcher]:
        changed = self.config.library.changed
        while True:
            yield self
            deadline = time.monotonic() + (self.timeout or 1e6)
            with changed:
                while all(raw.stands() for raw in self.read) and not self.triggered:
                    if not changed.wait(deadline - time.monotonic()):
                        break
            self.read, self.triggered = [], False

    def trigger(self) -> None:
        with self.config.library.changed:
            self.triggered = True
            self.config.library.changed.notify_all()


def listed(values: dict[str, str], path: str) -> list[str]:
    depth = path.count("/")
    return sorted(key for key in values if key.startswith(path) and key.count("/") == depth)
