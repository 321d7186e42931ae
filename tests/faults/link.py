"""A TCP connection that can be hurt: what a client sees of a peer that is no longer what it was.

==============  ================================================================================
``passes``      as if it were not there
``slow``        whatever comes is handed on `Link.delay` seconds later, both ways
``mute``        connections are broken; new ones are taken, and nothing ever comes by them
``half-open``   connections stay and nothing comes by them; new ones are never made
``refusing``    connections are broken, new ones are refused
==============  ================================================================================
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Literal

from tests.services.process import LOOPBACK, free_port

Manner = Literal["passes", "slow", "mute", "half-open", "refusing"]

_CHUNK = 64 * 1024
_FILLERS = 8  # connections that nobody accepts, so that the kernel takes no more


class Link:
    """Listens on *port* and hands everything on to *target*, a loopback port, and back."""

    def __init__(self, target: int, delay: float = 0.7) -> None:
        self.port = free_port()
        self.delay = delay
        self._target = target
        self._manner: Manner = "passes"
        self._flows = threading.Event()
        self._flows.set()
        self._ends: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._fillers: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._listen()

    def become(self, manner: Manner) -> None:
        """Be like this from now on."""
        self._manner = manner
        for filler in self._fillers:
            filler.close()
        self._fillers.clear()
        self._close_listener()
        if manner in ("mute", "half-open"):
            self._flows.clear()
        if manner != "half-open" and manner != "slow":
            self._break_all()
        if manner in ("passes", "slow"):
            self._flows.set()
        if manner == "half-open":
            self._listen(backlog=0, accepting=False)
            self._fill()
        elif manner != "refusing":
            self._listen()

    def close(self) -> None:
        self.become("refusing")
        self._flows.set()
        for thread in self._threads:
            thread.join(10.0)

    def _listen(self, backlog: int = 64, *, accepting: bool = True) -> None:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((LOOPBACK, self.port))
        listener.listen(backlog)
        self._listener = listener
        if accepting:
            self._spawn(self._accept, listener)

    def _spawn(self, function: Callable[..., None], *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _close_listener(self) -> None:
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            self._listener.close()
            self._listener = None

    def _fill(self) -> None:
        for _ in range(_FILLERS):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex((LOOPBACK, self.port))
            self._fillers.append(filler)

    def _break_all(self) -> None:
        for end in list(self._ends):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near, _ = listener.accept()
            except OSError:
                return
            self._spawn(self._mute if self._manner == "mute" else self._pass, near)

    def _mute(self, near: socket.socket) -> None:
        with near, self._known(near), contextlib.suppress(OSError):
            while near.recv(_CHUNK):
                pass

    def _pass(self, near: socket.socket) -> None:
        with (
            near,
            contextlib.suppress(OSError),
            self._connect() as far,
            self._known(near),
            self._known(far),
        ):
            back = self._spawn(self._carry, far, near)
            self._carry(near, far)
            back.join()

    def _connect(self) -> socket.socket:
        far = socket.create_connection((LOOPBACK, self._target), 1.0)
        far.settimeout(None)
        return far

    @contextlib.contextmanager
    def _known(self, end: socket.socket) -> Iterator[None]:
        self._ends.add(end)
        try:
            yield
        finally:
            self._ends.discard(end)

    def _carry(self, one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(_CHUNK):
                if self._manner == "slow":
                    time.sleep(self.delay)
                self._flows.wait()
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
