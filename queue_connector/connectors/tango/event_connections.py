"""The connections by which subscribers get their events: which stand still, and cutting one off.

ZeroMQ queues what a subscriber does not take, a thousand events of whatever size, and tells nobody.
The kernel knows: the connection's send queue is full, and what was in it is still there a while
later. So the connections are found among the process's own files, and looked at from outside.

* slow      its send queue was full at two looks, and less than what was in it has gone in between
* cut       both its connections are shut, that for events and that for heartbeats: Tango drops what
            waits for it, and its client, which misses the heartbeat, connects and subscribes anew
            within some twenty seconds of waking. With the first alone it would be silent for good:
            Tango's clients do not connect again while heartbeats come.
* pairs     a client makes the two at once, and nothing else says which belong together: ports and
            inodes are not in order. Those of its host that came in the same second cannot be told
            apart; they lose their heartbeats too, and subscribe anew without missing a value
* where     Linux; elsewhere nothing is ever found
* source    Linux manual, tcp(7), ``SIOCOUTQ``, ``TCP_INFO``; proc(5); ZeroMQ manual, ``ZMQ_SNDHWM``
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import os
import select
import socket
import stat
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator

import attrs

_BYTES_ACKED = struct.Struct("=120xQ")
"""Where ``struct tcp_info`` has the bytes that the peer's kernel has taken."""

_LAST_DATA_RECEIVED = struct.Struct("=52xI")
"""Where it has the milliseconds since the peer has sent anything."""

_INTERNET = (socket.AF_INET, socket.AF_INET6)

APART = 0.2
"""Seconds that two looks must be apart for a subscriber to be judged by them."""

_TOGETHER = 0.1
"""Seconds between a client's two connections, at most, which take some milliseconds."""


@attrs.frozen
class Ports:
    """Where a Tango server's clients connect to, for events and for heartbeats."""

    events: int
    heartbeats: int


@attrs.define
class _Connection:
    """What is known of one connection for events."""

    peer: tuple[str, int]
    made: tuple[float, float]
    """When at the earliest and at the latest, on the monotonic clock."""
    full: bool = False
    queued: int = 0
    taken: int = 0
    since: float | None = None
    """When it was first seen to stand; None when it does not."""


@attrs.frozen
class Slow:
    """A subscriber that does not take its events."""

    peer: str
    since: float
    """On the monotonic clock."""


class EventConnections:
    """Those of this process, which has the ports that *ports* tells once there are any."""

    def __init__(self, ports: Callable[[], Ports | None]) -> None:
        self.cut = 0
        """How many subscribers were cut off."""
        self._find = ports
        self._ports: Ports | None = None
        self._looked = time.monotonic() - APART
        self._known: dict[tuple[int, int], _Connection | None] = {}  # by file and its inode

    def slow(self) -> list[Slow]:
        """The subscribers that stood at the last look, the longest first."""
        found = [
            Slow(_named(connection.peer), connection.since)
            for connection in self._known.values()
            if connection is not None and connection.since is not None
        ]
        return sorted(found, key=lambda slow: slow.since)

    def look(self) -> None:
        """See what every subscriber has taken since the last look; takes well under 1 ms."""
        self._ports = self._ports or self._find()
        if self._ports is None:
            return
        looked, self._looked = self._looked, time.monotonic()
        before, self._known = self._known, {}
        for key in _sockets():
            self._known[key] = known = before.get(key)
            if known is None and key in before:
                continue  # it is no subscriber's
            with _opened(key) as connection:
                if connection is not None and _port(connection) == self._ports.events:
                    # It says what it subscribes to as soon as it is there.
                    known = known or _Connection(
                        connection.getpeername()[:2], made=(looked, _last_said(connection))
                    )
                    self._known[key] = known
                    _look_at(connection, known)

    def cut_slowest(self) -> str | None:
        """Cut off the subscriber that has taken least since the last look; its address.

        None where that was just now, or where nobody's send queue was full then and is.
        """
        if time.monotonic() < self._looked + APART:
            return None
        before = {
            key: (known.taken, known.full)
            for key, known in self._known.items()
            if known is not None
        }
        self.look()
        progress = {
            key: known.taken - before[key][0]
            for key, known in self._known.items()
            if known is not None and known.full and before.get(key, (0, False))[1]
        }
        if not progress:
            return None
        slowest = min(progress, key=progress.__getitem__)
        return self._cut(slowest)

    def _cut(self, key: tuple[int, int]) -> str:
        known = self._known.pop(key)
        assert known is not None
        assert self._ports is not None
        earliest, latest = known.made
        with _opened(key) as connection:
            _shut(connection)
        for other in _sockets():
            with _opened(other) as connection:
                if (
                    connection is not None
                    and _port(connection) == self._ports.heartbeats
                    and connection.getpeername()[0] == known.peer[0]
                    and earliest - _TOGETHER <= _last_said(connection) <= latest + _TOGETHER
                ):
                    _shut(connection)
        self.cut += 1
        return _named(known.peer)


def _shut(connection: socket.socket | None) -> None:
    if connection is not None:
        with contextlib.suppress(OSError):  # its peer was faster
            connection.shutdown(socket.SHUT_RDWR)


def _last_said(connection: socket.socket) -> float:
    """When the peer last sent anything, on the monotonic clock: for heartbeats, at the start."""
    info = _tcp_info(connection, _LAST_DATA_RECEIVED)
    return time.monotonic() - info / 1000


def _tcp_info(connection: socket.socket, field: struct.Struct) -> int:
    """A field of the kernel's ``struct tcp_info``; 0 where it is too old to have it."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, field.size)
    return int(field.unpack(info)[0]) if len(info) == field.size else 0


def _look_at(connection: socket.socket, known: _Connection) -> None:
    poll = select.poll()
    poll.register(connection, select.POLLOUT)
    full = not poll.poll(0)
    queued = array.array("i", [0])
    fcntl.ioctl(connection, termios.TIOCOUTQ, queued)
    taken = _tcp_info(connection, _BYTES_ACKED)
    if not (full and known.full and taken - known.taken < known.queued):
        known.since = None
    elif known.since is None:
        known.since = time.monotonic()
    known.full, known.queued, known.taken = full, queued[0], taken


def _sockets() -> Iterator[tuple[int, int]]:
    """File and inode of each socket of the process."""
    if sys.platform != "linux":
        return
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):  # closed in between
            found = os.fstat(int(name))
            if stat.S_ISSOCK(found.st_mode):
                yield int(name), found.st_ino


@contextlib.contextmanager
def _opened(key: tuple[int, int]) -> Iterator[socket.socket | None]:
    """A connection over TCP by a file of its own, which nobody else closes; None for other files.

    It is not kept: a connection is closed only when no file has it.
    """
    try:
        file = os.dup(key[0])
    except OSError:
        yield None
        return
    if os.fstat(file).st_ino != key[1]:  # closed in between, and the number used again
        os.close(file)
        yield None
        return
    with socket.socket(fileno=file) as connection:
        yield connection if _connected(connection) else None


def _connected(connection: socket.socket) -> bool:
    if connection.type != socket.SOCK_STREAM:
        return False
    try:
        return connection.family in _INTERNET and bool(connection.getpeername())
    except OSError:
        return False


def _port(connection: socket.socket) -> int:
    return int(connection.getsockname()[1])


def _named(peer: tuple[str, int]) -> str:
    host, port = peer
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
