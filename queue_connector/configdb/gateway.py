"""etcd's JSON gateway over HTTP: requests, streams, endpoints, tokens.

* wire      POST of JSON; a stream is one JSON object per line; int64 as strings, zeros left out
* endpoints one is used until it fails, then the next; what was surely not sent, or may be sent
            twice, is sent to the next at once
* password  exchanged for a token, which is renewed when the server does not accept it any more.
            Neither appears in a log line, a repr or an error
* time      every request has *timeout* seconds; a stream, once open, has none: see to it
* errors    `EndpointError`; as `UnreachableError` when another endpoint, or a later try, may do
* source    etcd documentation, "gRPC gateway", "Authentication"; gRPC status codes
"""

from __future__ import annotations

import json
import logging
import math
import ssl
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, NoReturn

import attrs
import httpx
import trio

from ..model.errors import EndpointError, leaves
from .database import UnreachableError

TIMEOUT = 5.0
"""Default seconds that a request may take."""

CLOSE_GRACE = 2.0
"""Seconds that connections have to be closed."""

_SHOWN = 200  # characters of what a server says that an error repeats
_UNAUTHENTICATED = 16
_UNAVAILABLE = 14
_STALE = ("invalid auth token", "revision of auth store is old", "user name is empty")
_MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)

Json = dict[str, Any]


@attrs.frozen
class Credentials:
    """Who we are."""

    username: str
    password: str = attrs.field(repr=False)


class _StaleTokenError(EndpointError):
    """The server wants a new token."""


class Gateway:
    """A client of one cluster, by the URLs of its members."""

    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        credentials: Credentials | None = None,
        tls: ssl.SSLContext | None = None,
        timeout: float = TIMEOUT,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._endpoints = deque(endpoints)
        self._credentials = credentials
        self._timeout = timeout
        self._token: str | None = None
        self._authenticating = trio.Lock()
        self._http = httpx.AsyncClient(
            verify=tls or ssl.create_default_context(),
            timeout=None,  # Trio's deadlines bound whole requests
            trust_env=False,
            transport=transport,
        )
        logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every request otherwise

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(sorted(self._endpoints))})"

    @property
    def endpoint(self) -> str:
        """The member that is used now."""
        return self._endpoints[0]

    def avoid(self, endpoint: str) -> None:
        """Use the next member if this one is used now."""
        if endpoint == self.endpoint:
            self._endpoints.rotate(-1)

    async def aclose(self) -> None:
        """Close every connection."""
        with trio.move_on_after(CLOSE_GRACE, shield=True):
            await self._http.aclose()

    # -- requests ----------------------------------------------------------------------------------

    async def call(
        self, operation: str, path: str, body: Json, *, repeatable: bool, endpoint: str = ""
    ) -> Json:
        """Send one request and give back the reply.

        Args:
            operation: what it is, for errors.
            path: of the gateway, e.g. ``/v3/kv/range``.
            body: the request.
            repeatable: whether doing it twice is like doing it once.
            endpoint: ask this one and no other.
        """
        if endpoint:
            return await self._ask(endpoint, operation, path, body)
        for left in reversed(range(len(self._endpoints))):
            used = self.endpoint
            try:
                return await self._ask(used, operation, path, body)
            except UnreachableError as error:
                self.avoid(used)
                if not left or not (repeatable or error.unsent):
                    raise
        raise AssertionError

    async def _ask(self, endpoint: str, operation: str, path: str, body: Json) -> Json:
        try:
            return await self._ask_once(endpoint, operation, path, body)
        except _StaleTokenError:  # what was asked has not been done
            return await self._ask_once(endpoint, operation, path, body)

    async def _ask_once(self, endpoint: str, operation: str, path: str, body: Json) -> Json:
        token = await self._authorize(endpoint)
        reply = await self._post(endpoint, operation, path, body, token)
        if reply.status_code != httpx.codes.OK:
            self._refused(endpoint, operation, reply, token)
        with understanding(endpoint, operation):
            return _object(reply.content)

    def _request(self, url: str, bodies: Sequence[Json], token: str) -> httpx.Request:
        data = "\n".join(map(json.dumps, bodies)).encode()
        headers = {"Content-Type": "application/json"}
        if token:
            headers["Authorization"] = token
        request = self._http.build_request("POST", url, content=data, headers=headers)
        request.stream = _Body(data)
        return request

    async def _post(
        self, endpoint: str, operation: str, path: str, body: Json, token: str
    ) -> httpx.Response:
        with self._reaching(endpoint, operation), trio.fail_after(self._timeout):
            return await self._http.send(self._request(endpoint + path, [body], token))

    async def stream(
        self,
        endpoint: str,
        operation: str,
        path: str,
        requests: Sequence[Json],
        receive: Callable[[Json], None],
    ) -> NoReturn:
        """Send requests in one stream and give each result to *receive*, until either side ends it.

        Raises:
            EndpointError: what *receive* raised.
            UnreachableError: the stream cannot be had, or the server has closed it.
        """
        token = await self._authorize(endpoint)
        failure: EndpointError | None = None
        with self._reaching(endpoint, operation), trio.CancelScope() as reading:
            reading.deadline = trio.current_time() + self._timeout
            reply = await self._http.send(
                self._request(endpoint + path, requests, token), stream=True
            )
            async with aclosing(reply):
                if reply.status_code != httpx.codes.OK:
                    await reply.aread()
                    self._refused(endpoint, operation, reply, token)
                reading.deadline = math.inf
                async for line in reply.aiter_lines():
                    if failure is not None or not line.strip():
                        continue
                    try:
                        with understanding(endpoint, operation):
                            receive(self._result(endpoint, operation, line))
                    except EndpointError as error:
                        failure = error
                        # Leaving the loop would leave httpx's generators half way; a cancelled
                        # read ends them in order.
                        reading.cancel()
                reason = "the server closed the stream"
                raise failure or UnreachableError(endpoint, operation, reason)
        reason = f"no answer within {self._timeout:g} s"
        raise failure or UnreachableError(endpoint, operation, reason)

    def _result(self, endpoint: str, operation: str, line: str) -> Json:
        message = _object(line)
        if isinstance(result := message.get("result"), dict):
            return result
        said = str(dict(message["error"]).get("message", message["error"]))
        raise UnreachableError(endpoint, operation, self.shown(said))

    # -- tokens ------------------------------------------------------------------------------------

    async def _authorize(self, endpoint: str) -> str:
        """The token; empty without credentials, or when the server asks for none."""
        if self._credentials is None:
            return ""
        async with self._authenticating:
            if self._token is None:
                self._token = await self._authenticate(endpoint, self._credentials)
            return self._token

    async def _authenticate(self, endpoint: str, credentials: Credentials) -> str:
        operation = "authenticate"
        body = {"name": credentials.username, "password": credentials.password}
        reply = await self._post(endpoint, operation, "/v3/auth/authenticate", body, "")
        if reply.status_code != httpx.codes.OK:
            if "authentication is not enabled" in reply.text:
                return ""  # as etcd's own clients do
            self._refused(endpoint, operation, reply, "")
        with understanding(endpoint, operation):
            token = _object(reply.content)["token"]
        if not (isinstance(token, str) and token.isascii() and token.isprintable()):
            raise EndpointError(endpoint, operation, "the reply has no usable token")
        return token

    # -- errors ------------------------------------------------------------------------------------

    def _refused(
        self, endpoint: str, operation: str, reply: httpx.Response, token: str
    ) -> NoReturn:
        """Raise what a reply other than 200 means."""
        code, said = _explanation(reply)
        reason = self.shown(said) or "without a reason"
        reason = f"{reason} (code {code})" if code else f"HTTP {reply.status_code}: {reason}"
        stale = (
            reply.status_code == httpx.codes.UNAUTHORIZED
            or code == _UNAUTHENTICATED
            or any(words in said for words in _STALE)
        )
        if stale and self._credentials is not None:
            if self._token == token:
                self._token = None
            raise _StaleTokenError(endpoint, operation, reason)
        if code == _UNAVAILABLE or reply.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise UnreachableError(endpoint, operation, reason)
        raise EndpointError(endpoint, operation, reason)

    @contextmanager
    def _reaching(self, endpoint: str, operation: str) -> Iterator[None]:
        """Say what went wrong between us and the server."""
        try:
            yield
        except trio.TooSlowError:
            reason = f"no answer within {self._timeout:g} s"
            raise UnreachableError(endpoint, operation, reason) from None
        except (httpx.HTTPError, OSError, UnicodeError) as error:
            unsent = isinstance(error, httpx.ConnectError)
            reason = self.shown(_root_cause(error))
            raise UnreachableError(endpoint, operation, reason, unsent) from None

    def shown(self, text: str) -> str:
        """A text of the server or of a library, short, on one line and without our secrets."""
        password = self._credentials.password if self._credentials else None
        for secret in (self._token, password):
            text = text.replace(secret, "***") if secret else text
        return " ".join(text[: 4 * _SHOWN].split())[:_SHOWN]


@contextmanager
def understanding(endpoint: str, operation: str) -> Iterator[None]:
    """Take apart what a server said; whatever does not fit is its fault."""
    try:
        yield
    except _MALFORMED as error:
        reason = f"this is not how etcd answers ({type(error).__name__}); is it an etcd server?"
        raise UnreachableError(endpoint, operation, reason) from None


class _Body(httpx.AsyncByteStream):
    """What a request sends; httpx's own is a generator, which a lost connection leaves half way."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._left = [data]

    def __aiter__(self) -> AsyncIterator[bytes]:
        self._left = [self._data]
        return self

    async def __anext__(self) -> bytes:
        if not self._left:
            raise StopAsyncIteration
        return self._left.pop()


def _object(text: str | bytes) -> Json:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def _explanation(reply: httpx.Response) -> tuple[int, str]:
    """The gRPC code and the message of an error; code 0 and the text when it is not etcd's."""
    try:
        error = _object(reply.content)
        return int(error["code"]), str(error.get("message") or error.get("error") or "")
    except _MALFORMED:
        return 0, reply.text


def _root_cause(error: BaseException) -> str:
    """The first error of a chain that says something: the others only carried it."""
    said = ""
    seen: BaseException | None = error
    while seen is not None:
        # A group says no more than how many are in it: one attempt for each address.
        said = "; ".join(dict.fromkeys(str(one) for one in leaves(seen) if str(one))) or said
        seen = seen.__cause__ or seen.__context__
    return said or type(error).__name__
