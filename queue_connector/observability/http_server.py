"""A small HTTP/1.1 server on Trio, for the pages that a device shows to whoever watches it.

It reads nothing but ``GET`` and ``HEAD``, and has nothing that can be changed over it. Whatever a
client does, it costs a bounded amount, and a cancelled server is gone at the next checkpoint.

* errors    none: a port that cannot be had is a ``problem`` in words, and is tried again; a page
            that fails is answered with 500 and logged
* source    RFC 9112; h11's manual, "Writing a server"
"""

from __future__ import annotations

import logging
import math
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from email.utils import formatdate
from http import HTTPStatus

import attrs
import h11
import trio

from ..model.errors import leaves

CONNECTIONS = 32
"""Connections at once; one more cuts off the one that has asked for nothing for the longest."""

REQUEST_SECONDS = 60.0
"""Seconds from one answer to the end of the next request's head."""

ANSWER_SECONDS = 10.0
"""Seconds in which a page must be made, and in which a client must have taken it."""

PACE = 0.01
"""Seconds between two answers, whoever asks: a client that never stops asking gets no more CPU."""

MAX_HEAD = 16 * 1024
"""Bytes that the head of a request may have."""

RETRY = 5.0
"""Seconds until a port that could not be had is tried again."""

MAX_PORT = 65535

LINGER = 1.0
"""Seconds for which a client that is being closed may still read what it was answered."""

_READ = 4096

_log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class Answer:
    """What a page says."""

    body: bytes = b""
    content_type: str = "text/plain; charset=utf-8"
    status: int = 200
    headers: Sequence[tuple[str, str]] = ()
    chunks: AsyncGenerator[bytes, None] | None = None
    """What is sent in place of the body, as it comes, until the client has gone."""


Page = Callable[[Mapping[str, str]], Awaitable[Answer]]
"""Makes an answer, given the headers of the request by their names in lower case."""


class HttpServer:
    """Serves *pages*, by path, at one address; `run` it in a task of its own.

    *what* names it in the log. *on_change* is called when ``problem`` has changed.
    """

    def __init__(
        self,
        what: str,
        host: str,
        port: int,
        pages: Mapping[str, Page],
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        self.problem = ""
        """Why it is not listening and what to do, in words; empty while it is."""
        self.ports: list[int] = []
        """The ports that it listens at."""
        self._what = what
        self._host = host
        self._port = port
        self._pages = pages
        self._on_change = on_change
        self._connections: dict[trio.CancelScope, None] = {}
        self._next_turn = -math.inf

    async def run(self) -> None:
        """Listen and answer until cancelled."""
        if not 0 <= self._port <= MAX_PORT:  # the network would take what is left of it
            self._tell(f"a port is a number up to {MAX_PORT}", "use Init")
            return
        while True:
            try:
                listeners = await trio.open_tcp_listeners(self._port, host=self._host)
            except (OSError, ValueError) as error:  # the latter: what can be no host's name
                self._tell(getattr(error, "strerror", None) or str(error))
            else:
                self.ports = [int(one.socket.getsockname()[1]) for one in listeners]
                self._tell("")
                _log.info("%s: listening at %s port %s", self._what, self._host, self.ports[0])
                try:
                    await trio.serve_listeners(self._connection, listeners)
                except* OSError as errors:  # the network went away under it
                    self._tell("; ".join(str(error) for error in leaves(errors)))
                finally:
                    self.ports = []
            await trio.sleep(RETRY)

    def _tell(self, reason: str, then: str = f"use Init; trying again every {RETRY:g} s") -> None:
        problem = reason and (
            f"{self._what}: cannot listen at {self._host} port {self._port}: {reason}; free the "
            f"port, or set another host or port and {then}"
        )
        if problem != self.problem:
            if problem:
                _log.error("%s", problem)
            self.problem = problem
            self._on_change()

    # -- connections -------------------------------------------------------------------------------

    async def _connection(self, stream: trio.SocketStream) -> None:
        if len(self._connections) >= CONNECTIONS:
            quietest = next(iter(self._connections))
            del self._connections[quietest]
            quietest.cancel()
        with trio.CancelScope() as scope:
            self._connections[scope] = None
            try:
                await self._converse(stream, scope)
            except (trio.BrokenResourceError, trio.TooSlowError):
                _log.debug("%s: a client went away, or did not read or write", self._what)
            except Exception:  # one connection must not take the others down, nor the device
                _log.exception("%s: a connection failed", self._what)
            finally:
                self._connections.pop(scope, None)

    async def _converse(self, stream: trio.SocketStream, scope: trio.CancelScope) -> None:
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        while True:
            try:
                with trio.fail_after(REQUEST_SECONDS):
                    request = await _head(stream, connection)
                    if request is None:
                        return
            except h11.RemoteProtocolError as error:
                await self._turn()
                answer = Answer(body=f"{error}\n".encode(), status=error.error_status_hint)
                await _send(stream, connection, answer)
                break
            await self._turn()
            if scope in self._connections:
                self._connections[scope] = self._connections.pop(scope)  # the latest to ask
            await _send(stream, connection, await self._answer(request), request.method)
            if connection.states != {h11.CLIENT: h11.DONE, h11.SERVER: h11.DONE}:
                break  # it sends a body, which nobody wants, or it wants to end
            connection.start_next_cycle()
        # What it still sends would else make the network throw the answer away.
        await stream.send_eof()
        with trio.move_on_after(LINGER):
            while await stream.receive_some(_READ):
                pass

    async def _turn(self) -> None:
        turn = max(trio.current_time(), self._next_turn)
        self._next_turn = turn + PACE
        await trio.sleep_until(turn)

    async def _answer(self, request: h11.Request) -> Answer:
        path = request.target.decode("ascii").partition("?")[0]
        if request.method not in (b"GET", b"HEAD"):
            return Answer(body=b"only GET and HEAD are answered\n", status=405)
        page = self._pages.get(path)
        if page is None:
            known = ", ".join(self._pages)
            return Answer(body=f"nothing is here; there is {known}\n".encode(), status=404)
        headers = {name.decode("ascii"): value.decode("latin-1") for name, value in request.headers}
        try:
            with trio.fail_after(ANSWER_SECONDS):
                return await page(headers)
        except trio.TooSlowError:
            return Answer(body=b"this takes too long now; try again\n", status=503)
        except Exception:
            _log.exception("%s: %s failed", self._what, path)
            return Answer(body=b"this failed; see the log of the device\n", status=500)


async def _head(stream: trio.SocketStream, connection: h11.Connection) -> h11.Request | None:
    """The next request without its body; None when the client has closed."""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Request):
            connection.next_event()  # the end of the request, unless a body comes
            return event
        if isinstance(event, h11.ConnectionClosed):
            return None
        connection.receive_data(await stream.receive_some(_READ))


async def _send(
    stream: trio.SocketStream, connection: h11.Connection, answer: Answer, method: bytes = b"GET"
) -> None:
    headers = [
        ("date", formatdate(usegmt=True)),
        ("content-type", answer.content_type),
        ("cache-control", "no-store"),
        *answer.headers,
    ]
    if answer.chunks is None:
        headers.append(("content-length", str(len(answer.body))))
    if answer.status == 405:
        headers.append(("allow", "GET, HEAD"))
    if connection.their_state is not h11.DONE:
        headers.append(("connection", "close"))
    head = h11.Response(
        status_code=answer.status, headers=headers, reason=HTTPStatus(answer.status).phrase
    )
    if method == b"HEAD":
        await _write(stream, connection, head, h11.EndOfMessage())
    elif answer.chunks is None:
        await _write(stream, connection, head, h11.Data(data=answer.body), h11.EndOfMessage())
    else:
        await _write(stream, connection, head)
        async with aclosing(answer.chunks) as chunks:
            async for chunk in chunks:
                await _write(stream, connection, h11.Data(data=chunk))
        await _write(stream, connection, h11.EndOfMessage())


async def _write(stream: trio.SocketStream, connection: h11.Connection, *events: h11.Event) -> None:
    data = b"".join(connection.send(event) or b"" for event in events)
    with trio.fail_after(ANSWER_SECONDS):
        await stream.send_all(data)
