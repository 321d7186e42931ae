"""The HTTP server on real sockets, with clients that behave and clients that do not."""

import functools
import logging
import random
import socket

import httpx
import pytest
import trio

from queue_connector.observability import http_server
from queue_connector.observability.http_server import CONNECTIONS, MAX_HEAD, Answer, HttpServer

HOST = "127.0.0.1"
LARGE = 32 * 1024 * 1024
GET = b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n"


async def page(headers):
    await trio.lowlevel.checkpoint()
    return Answer(body=f"hello {headers.get('x-name', 'nobody')}\n".encode())


async def large(_headers):
    await trio.lowlevel.checkpoint()
    return Answer(body=bytes(LARGE))


async def broken(_headers):
    await trio.lowlevel.checkpoint()
    raise ValueError("a mistake in a page")


async def endless(_headers):
    await trio.sleep_forever()


PAGES = {"/page": page, "/large": large, "/broken": broken, "/endless": endless}


async def eventually(condition):
    with trio.fail_after(10):
        while True:  # it tells nobody
            if condition():
                return
            await trio.sleep(0.005)


@pytest.fixture
async def server(nursery):
    running = HttpServer("metrics", HOST, 0, PAGES)
    nursery.start_soon(running.run)
    await eventually(lambda: running.ports)
    return running


@pytest.fixture
async def client(server):
    async with httpx.AsyncClient(
        base_url=f"http://{HOST}:{server.ports[0]}", trust_env=False
    ) as opened:
        yield opened


@pytest.fixture
async def connect():
    opened = []

    async def connect(server):
        opened.append(await trio.open_tcp_stream(HOST, server.ports[0]))
        return opened[-1]

    yield connect
    for stream in opened:
        await stream.aclose()


async def everything(stream):
    """All that comes until the server closes; a connection that is cut off has ended too."""
    received = b""
    with trio.fail_after(10):
        try:
            while data := await stream.receive_some():
                received += data
        except trio.BrokenResourceError:
            pass
    return received


async def test_it_answers_get_and_head_and_says_no_to_the_rest(client):
    answer = await client.get("/page?x=1", headers={"X-Name": "you"})
    assert (answer.status_code, answer.text) == (200, "hello you\n")
    head = await client.head("/page")
    assert head.headers["content-length"] == str(len("hello nobody\n"))
    assert head.content == b""
    missing = await client.get("/other")
    assert missing.status_code == 404
    assert "/page" in missing.text
    posted = await client.post("/page", content=b"x" * 100_000)
    assert posted.status_code == 405
    assert posted.headers["allow"] == "GET, HEAD"


async def test_one_connection_is_good_for_many_requests_pipelined_ones_too(server, connect):
    stream = await connect(server)
    await stream.send_all(GET * 20)
    received = b""
    while received.count(b"hello nobody") < 20:
        received += await stream.receive_some()
    await stream.send_all(GET.replace(b"Host", b"Connection: close\r\nHost"))
    assert b"hello nobody" in await everything(stream)


async def test_those_who_never_stop_asking_are_answered_one_after_the_other(
    server, connect, client
):
    asking = [await connect(server) for _ in range(5)]
    started = trio.current_time()
    for stream in asking:
        await stream.send_all(GET * 20)
    assert (await client.get("/page")).status_code == 200  # it waits for its turn only
    assert trio.current_time() - started < 1
    for stream in asking:
        received = b""
        while received.count(b"hello nobody") < 20:
            received += await stream.receive_some()
    assert trio.current_time() - started >= 100 * http_server.PACE


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01 this is TLS\r\n\r\n", b"400"),
        (b"GET /page HTTP/1.1\r\n\r\n", b"400"),
        (b"GET /page HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", b"400"),
        (b"GET /page HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhalf", b"200"),
        (b"GET /" + b"x" * 2 * MAX_HEAD + b" HTTP/1.1\r\nHost: x\r\n\r\n", b"431"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"405"),
        (b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n", b"405"),
        (
            b"GET /page HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n",
            b"200",
        ),
    ],
)
async def test_a_request_that_is_not_well_formed_is_answered_and_the_connection_closed(
    server, connect, sent, status
):
    stream = await connect(server)
    await stream.send_all(sent)
    await stream.send_eof()
    assert (await everything(stream)).startswith(b"HTTP/1.1 " + status)


async def test_garbage_of_any_kind_leaves_no_connection_and_no_error_behind(
    server, client, monkeypatch, caplog
):
    monkeypatch.setattr(http_server, "PACE", 0.0)
    monkeypatch.setattr(http_server, "LINGER", 0.05)
    chance = random.Random(5)
    body = (
        b"Content-Length: 3\r\n\r\nabc",
        b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    )
    whole = GET + b"".join(GET[:-2] + end for end in body)

    async def send_garbage():
        data = bytearray(whole)
        for _ in range(chance.randint(0, 8)):
            at = chance.randrange(len(data))
            data[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
        stream = await trio.open_tcp_stream(HOST, server.ports[0])
        try:
            with trio.move_on_after(0.1):
                await stream.send_all(data)
                if chance.random() < 0.5:
                    await stream.send_eof()
                if chance.random() < 0.7:
                    await everything(stream)
        except trio.BrokenResourceError:
            pass
        finally:
            await trio.aclose_forcefully(stream)

    for _ in range(20):
        async with trio.open_nursery() as nursery:
            for _ in range(20):
                nursery.start_soon(send_garbage)
    await eventually(lambda: not server._connections)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert (await client.get("/page")).status_code == 200


async def test_a_page_that_fails_is_logged_and_answered_and_costs_no_other(client, caplog):
    answer = await client.get("/broken")
    assert answer.status_code == 500
    assert "a mistake in a page" in caplog.text
    assert (await client.get("/page")).status_code == 200


async def test_a_page_that_takes_too_long_is_given_up(client, monkeypatch):
    monkeypatch.setattr(http_server, "ANSWER_SECONDS", 0.05)
    assert str(await client.get("/endless")) == "<Response [503 Service Unavailable]>"


@pytest.mark.parametrize("sent", [b"", b"GET /page HTTP/1.1\r\nX: "])
async def test_a_client_that_does_not_finish_its_request_is_cut_off(
    server, connect, monkeypatch, sent
):
    monkeypatch.setattr(http_server, "REQUEST_SECONDS", 0.2)
    stream = await connect(server)

    async def trickle():
        while True:
            await stream.send_all(sent)
            await trio.sleep(0.01)

    with trio.fail_after(5):
        if not sent:
            assert await everything(stream) == b""
            return
        with pytest.raises(trio.BrokenResourceError):
            await trickle()


async def test_a_client_that_does_not_read_is_cut_off(server, connect, monkeypatch):
    monkeypatch.setattr(http_server, "ANSWER_SECONDS", 0.2)
    stream = await connect(server)
    await stream.send_all(GET.replace(b"/page", b"/large"))
    await eventually(lambda: server._connections)
    await eventually(lambda: not server._connections)
    assert len(await everything(stream)) < LARGE


async def test_cancelling_it_ends_at_once_whatever_its_clients_do(connect):
    async with trio.open_nursery() as nursery:
        running = HttpServer("metrics", HOST, 0, PAGES)
        nursery.start_soon(running.run)
        await eventually(lambda: running.ports)
        port = running.ports[0]
        idle, stuck, waiting = [await connect(running) for _ in range(3)]
        await stuck.send_all(GET.replace(b"/page", b"/large") * 3)
        await waiting.send_all(GET.replace(b"/page", b"/endless"))
        await eventually(lambda: len(running._connections) == 3)
        assert await stuck.socket.recv(1, socket.MSG_PEEK)  # the rest of it cannot be sent
        started = trio.current_time()
        nursery.cancel_scope.cancel()
    assert trio.current_time() - started < 1
    for stream in (idle, stuck, waiting):
        await everything(stream)
    with socket.socket() as again:  # nothing listens there any more
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind((HOST, port))
        again.listen()


async def test_more_connections_than_it_keeps_cut_off_those_that_ask_for_nothing(
    server, client, connect
):
    assert (await client.get("/page")).status_code == 200
    silent = [await connect(server) for _ in range(CONNECTIONS + 8)]
    await eventually(lambda: len(server._connections) == CONNECTIONS)
    assert (await client.get("/page")).status_code == 200
    assert await everything(silent[0]) == b""
    asking = await connect(server)
    await asking.send_all(GET)
    assert (await asking.receive_some()).startswith(b"HTTP/1.1 200")


async def test_a_port_that_is_taken_is_a_problem_in_words_until_it_is_free(
    nursery, monkeypatch, caplog
):
    monkeypatch.setattr(http_server, "RETRY", 0.02)
    changes = []
    with socket.socket() as other:
        other.bind((HOST, 0))
        other.listen()
        port = other.getsockname()[1]
        on_change = functools.partial(changes.append, None)
        running = HttpServer("metrics", HOST, port, PAGES, on_change)
        nursery.start_soon(running.run)
        await eventually(lambda: running.problem)
        await trio.sleep(0.1)
        assert f"cannot listen at {HOST} port {port}: Address already in use" in running.problem
        assert "set another host or port" in running.problem
        errors = [record for record in caplog.records if record.levelno == logging.ERROR]
        assert len(errors) == len(changes) == 1  # however often it is tried
    await eventually(lambda: running.ports == [port])
    assert running.problem == ""
    assert len(changes) == 2


@pytest.mark.parametrize(
    ("host", "port"), [(HOST, 70_000), (HOST, -1), ("no.such.invalid", 1), ("\0", 1)]
)
async def test_an_absurd_address_is_a_problem_in_words(nursery, host, port):
    running = HttpServer("metrics", host, port, PAGES)
    nursery.start_soon(running.run)
    await eventually(lambda: running.problem)
    assert "cannot listen" in running.problem
