"""etcd's gateway as a transport of httpx: for what the real one cannot be made to do."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import httpx
import trio

from queue_connector.configdb.gateway import Gateway

Reply = httpx.Response | Exception
OK: dict[str, Any] = {"header": {"revision": "1"}}


def coded(text: str) -> str:
    return b64encode(text.encode()).decode()


def kv(key: str, value: str, revision: int) -> dict[str, str]:
    return {"key": coded(key), "value": coded(value), "mod_revision": str(revision)}


def snapshot(revision: int, *children: dict[str, str], own: Sequence[Any] = ()) -> list[Any]:
    """What is read of the own range and of that of the children, at one revision."""
    header = {"header": {"revision": str(revision)}}
    ranges = [{**header, "kvs": list(kvs)} if kvs else header for kvs in (own, children)]
    return [httpx.Response(200, json=each) for each in ranges]


def refusal(code: int, message: str, status: int = 400) -> httpx.Response:
    return httpx.Response(status, json={"error": message, "message": message, "code": code})


class Lines(httpx.AsyncByteStream):
    """A stream of lines: objects, or text as it is; a float waits; then it ends, or hangs."""

    def __init__(self, *lines: Any, hang: bool = True) -> None:
        self.lines = lines
        self.hang = hang

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for line in self.lines:
            if isinstance(line, float):
                await trio.sleep(line)
            elif isinstance(line, Exception):
                raise line
            else:
                text = line if isinstance(line, str) else json.dumps({"result": line})
                yield f"{text}\n".encode()
        if self.hang:
            await trio.sleep_forever()


def created(revision: int) -> list[dict[str, Any]]:
    return [{"header": {"revision": str(revision)}, "created": True}] * 2


class FakeEtcd:
    """Gives replies in turn, the last one for ever; remembers what was asked."""

    def __init__(self, *replies: Reply | Callable[[httpx.Request], Any]) -> None:
        self.replies = list(replies)
        self.requests: list[httpx.Request] = []
        self.tokens = 0

    def gateway(self, *endpoints: str, **options: Any) -> Gateway:
        transport = httpx.MockTransport(self.answer)
        return Gateway(endpoints or ("http://etcd:1",), transport=transport, **options)

    def asked(self, path: str) -> list[dict[str, Any]]:
        return [json.loads(r.content) for r in self.requests if r.url.path == path]

    async def answer(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        await trio.lowlevel.checkpoint()
        if request.url.path == "/v3/auth/authenticate":
            self.tokens += 1
            return httpx.Response(200, json={"token": f"t0ken.{self.tokens}"})
        reply = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
        if callable(reply):
            reply = await reply(request)
        if isinstance(reply, Exception):
            raise reply
        return reply
