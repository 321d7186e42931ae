"""A slow line: a TCP proxy on loopback that holds every byte back for a while, both ways."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
import time
from collections.abc import Iterator

from tests.services.process import LOOPBACK


@contextlib.contextmanager
def slow_line(port: int, target: int, delay: float) -> Iterator[None]:
    """Everything that goes through *port* arrives at *target* after *delay* seconds, and back."""
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.create_server((LOOPBACK, port)))
        arguments = (server, target, delay, stack)
        threading.Thread(target=_accept, args=arguments, daemon=True).start()
        yield


def _accept(server: socket.socket, target: int, delay: float, stack: contextlib.ExitStack) -> None:
    while True:
        try:
            client = stack.enter_context(server.accept()[0])
            peer = stack.enter_context(socket.create_connection((LOOPBACK, target)))
        except OSError:
            return
        for source, sink in ((client, peer), (peer, client)):
            waiting: queue.SimpleQueue[tuple[float, bytes]] = queue.SimpleQueue()
            for work, end in ((_read, source), (_write, sink)):
                threading.Thread(target=work, args=(end, waiting, delay), daemon=True).start()


def _read(source: socket.socket, waiting: queue.SimpleQueue[tuple[float, bytes]], _: float) -> None:
    data = b"-"
    while data:
        try:
            data = source.recv(65536)
        except OSError:
            data = b""
        waiting.put((time.monotonic(), data))


def _write(
    sink: socket.socket, waiting: queue.SimpleQueue[tuple[float, bytes]], delay: float
) -> None:
    while True:
        at, data = waiting.get()
        time.sleep(max(0.0, at + delay - time.monotonic()))
        with contextlib.suppress(OSError):
            if not data:
                sink.shutdown(socket.SHUT_WR)
                return
            sink.sendall(data)
