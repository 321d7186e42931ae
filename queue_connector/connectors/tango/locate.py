"""Where a device's server is, and whether it lives: asked without Tango, and without a thread.

A call of Tango to a peer that does not answer holds a thread for three to nine seconds. So a server
is asked first, on a connection of its own, for one of its objects; whatever it replies is a sign
of life, and so is the connection itself: it lasts as long as the process that made it.

* wire      GIOP 1.0: ``LocateRequest`` with the device's name as the key, ``LocateReply``
* units     seconds
* errors    `EndpointError` when it cannot be reached, is silent, or closed the connection
* source    OMG CORBA 3.3 part 2, "GIOP Message Formats" and "Interoperable Object References";
            Tango Controls RFC 16 (resource locators)
"""

from __future__ import annotations

import re
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import attrs
import trio

from ...model.errors import EndpointError

PATIENCE = 1.5
"""Seconds that a server has for a connection, and for a sign of life; what replies is its ORB, and
no device of its, however busy that is."""

_GIOP = b"GIOP"
_LOCATE_REQUEST, _LOCATE_REPLY = 3, 4
_NAME = re.compile(
    r"(?:tango:)?(?://)?(?:(?P<host>[^/:]+):(?P<port>\d+)/)?"
    r"(?P<device>[^/#]+/[^/#]+/[^/#]+)(?:#dbase=(?P<dbase>yes|no))?",
    re.IGNORECASE,
)


@attrs.frozen
class Address:
    """Where a process listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@attrs.frozen
class DeviceName:
    """A device's name, taken apart.

    ``at`` is the address in it: of the device's server, or with ``database`` of the database that
    knows it. None: of the database that the process uses.
    """

    device: str
    at: Address | None
    database: bool

    @classmethod
    def parse(cls, name: str) -> DeviceName:
        """What a well-formed name says."""
        found = _NAME.fullmatch(name)
        if found is None:
            raise EndpointError(name, "name", "it is not the name of a Tango device")
        at = Address(found["host"], int(found["port"])) if found["host"] else None
        return cls(found["device"].lower(), at, (found["dbase"] or "yes").lower() == "yes")


def address_of_ior(ior: str) -> Address:
    """The address in the first internet profile of a stringified object reference."""
    try:
        data = bytes.fromhex(ior.removeprefix("IOR:"))
        reader = _Encapsulation(data)
        reader.octets()  # the type
        for _ in range(reader.number()):
            tag, profile = reader.number(), reader.octets()
            if tag == 0:
                inner = _Encapsulation(profile)
                inner.skip(2)  # the version
                return Address(inner.octets().rstrip(b"\0").decode(), inner.number(2))
    except (ValueError, struct.error):
        pass
    raise EndpointError(ior[:40], "object reference", "it has no internet address")


class _Encapsulation:
    """Reads what CORBA has marshalled, aligned and in its own byte order."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 1
        self._order = "<" if data[:1] == b"\1" else ">"

    def skip(self, count: int) -> None:
        self._at += count

    def number(self, size: int = 4) -> int:
        self._at += -self._at % size
        code = {2: "H", 4: "I"}[size]
        (value,) = struct.unpack_from(f"{self._order}{code}", self._data, self._at)
        self._at += size
        return int(value)

    def octets(self) -> bytes:
        length = self.number()
        self._at += length
        return self._data[self._at - length : self._at]


def locate_request(number: int, key: str) -> bytes:
    """The message that asks a server whether it has an object."""
    name = key.encode("latin-1", "replace")
    body = struct.pack("<II", number, len(name)) + name
    return struct.pack("<4s4BI", _GIOP, 1, 0, 1, _LOCATE_REQUEST, len(body)) + body


class Link:
    """The connection to a server; it tells when the process at the other end has gone."""

    def __init__(self, stream: trio.SocketStream, address: Address, key: str) -> None:
        self.address = address
        self._stream = stream
        self._key = key
        self._number = 0
        self._answered = trio.Event()
        self._asking = trio.Lock()

    async def ask(self, patience: float = PATIENCE) -> None:
        """Return once there is a sign of life; `watch` has to run.

        Raises:
            EndpointError: there is none.
        """
        async with self._asking:
            self._answered = trio.Event()
            with trio.move_on_after(patience):
                await self._send()
                await self._answered.wait()
                return
        raise self._silent(patience)

    async def watch(self) -> None:
        """Read what comes, until the server has gone.

        Raises:
            EndpointError: always.
        """
        while await self._read():
            self._answered.set()
        raise EndpointError(str(self.address), "device server", "it closed the connection")

    async def greet(self, patience: float = PATIENCE) -> None:
        """Ask for the first time, before anything else is read.

        Raises:
            EndpointError: there is no answer, or it comes from something that is no such server.
        """
        reply = b""
        with trio.move_on_after(patience) as scope:
            await self._send()
            while len(reply) < 8:
                piece = await self._read()
                reply += piece
                if not piece:
                    break
        if scope.cancelled_caught:
            raise self._silent(patience)
        if reply[:4] != _GIOP or reply[7:8] != bytes([_LOCATE_REPLY]):
            found = f"it answers {reply[:8]!r}" if reply else "it closed the connection"
            raise EndpointError(str(self.address), "device server", found)

    def _silent(self, patience: float) -> EndpointError:
        reason = f"it accepts connections and gave no answer within {patience:g} s"
        return EndpointError(str(self.address), "device server", reason)

    async def _send(self) -> None:
        self._number += 1
        try:
            await self._stream.send_all(locate_request(self._number, self._key))
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            reason = f"it closed the connection: {error.__cause__ or error}"
            raise EndpointError(str(self.address), "device server", reason) from None

    async def _read(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some(4096))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return b""


@asynccontextmanager
async def link(address: Address, key: str, patience: float = PATIENCE) -> AsyncIterator[Link]:
    """A connection to a server that has just answered.

    Raises:
        EndpointError: it cannot be reached, or does not answer.
    """
    try:
        with trio.fail_after(patience):
            stream = await trio.open_tcp_stream(address.host, address.port)
    except trio.TooSlowError:
        reason = f"there is no connection after {patience:g} s"
        raise EndpointError(str(address), "device server", reason) from None
    except (OSError, UnicodeError, OverflowError) as error:  # a name that is none, a port beyond
        cause = next(iter(getattr(error.__cause__, "exceptions", ())), error)
        raise EndpointError(str(address), "device server", str(cause)) from None
    try:
        opened = Link(stream, address, key)
        await opened.greet(patience)
        yield opened
    finally:
        stream.socket.close()


async def reach(address: Address, key: str, patience: float = PATIENCE) -> None:
    """Return if the server answers.

    Raises:
        EndpointError: it cannot be reached, or does not answer.
    """
    async with link(address, key, patience):
        pass
