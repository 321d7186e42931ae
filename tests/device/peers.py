"""Peers that are no good: they listen where a device server should, each in its own bad way."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

DEVICE = "test/peer/01"


class Peer:
    """A listening socket whose connections are dealt with by *behave*; none if it is None."""

    def __init__(self, behave: str) -> None:
        self._behave = behave
        self._connections: list[socket.socket] = []
        self._listener = socket.socket()
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen(200)
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def device_name(self) -> str:
        return f"tango://127.0.0.1:{self.port}/{DEVICE}#dbase=no"

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := connection.recv(4096):
                if self._behave == "half-open":
                    connection.close()
                elif self._behave == "locates only" and data[7] == 3:
                    connection.sendall(b"GIOP\1\0\1\4\x08\0\0\0" + data[12:16] + b"\1\0\0\0")
                elif self._behave == "slow":
                    time.sleep(5)
                    connection.sendall(b"GIOP\1\0\1\4\x08\0\0\0" + data[12:16] + b"\1\0\0\0")

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        for each in (self._listener, *self._connections):
            each.close()


@contextlib.contextmanager
def peers(behave: str, count: int) -> Iterator[list[Peer]]:
    """Several of one kind."""
    made = [Peer(behave) for _ in range(count)]
    try:
        yield made
    finally:
        for peer in made:
            peer.close()
