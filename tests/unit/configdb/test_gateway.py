import logging

import httpx
import pytest
import trio

from queue_connector.configdb.gateway import Credentials, Gateway, UnreachableError
from queue_connector.model.errors import EndpointError

from .fake_etcd import OK, FakeEtcd, refusal

WELL = httpx.Response(200, json=OK)
ME = Credentials("me", "s3cret")


async def read(gateway: Gateway):
    return await gateway.call("get /a", "/v3/kv/range", {}, repeatable=True)


async def write(gateway: Gateway):
    return await gateway.call("write /a", "/v3/kv/txn", {}, repeatable=False)


async def silence(_request: httpx.Request) -> None:
    await trio.sleep_forever()


@pytest.mark.parametrize(
    ("reply", "words"),
    [
        (httpx.Response(502, html="<h1>Bad\n gateway</h1>"), "HTTP 502: <h1>Bad gateway</h1>"),
        (httpx.Response(404, text=""), "HTTP 404: without a reason"),
        (httpx.Response(200, html="<h1>log in</h1>"), "this is not how etcd answers"),
        (httpx.Response(200, json=["a list"]), "this is not how etcd answers"),
        (httpx.Response(200, text="[" * 100_000), "this is not how etcd answers"),
        (httpx.Response(400, json={"code": None}), "HTTP 400"),
        (httpx.Response(302, headers={"location": "http://elsewhere"}), "HTTP 302"),
        (refusal(7, "etcdserver: permission denied", 403), "permission denied (code 7)"),
        (refusal(14, "etcdserver: no leader", 503), "no leader (code 14)"),
        (httpx.ConnectError("refused"), "refused"),
        (httpx.ReadError(""), "ReadError"),
        (UnicodeError("label too long"), "label too long"),
    ],
)
async def test_whatever_goes_wrong_is_an_endpoint_error(reply, words):
    with pytest.raises(EndpointError) as raised:
        await read(FakeEtcd(reply).gateway())
    assert str(raised.value).startswith("http://etcd:1: get /a failed: ")
    assert words in str(raised.value)
    assert len(str(raised.value)) < 300


async def test_a_request_has_its_time(autojump_clock):
    began = trio.current_time()
    with pytest.raises(UnreachableError, match="no answer within 5 s"):
        await read(FakeEtcd(silence).gateway())
    assert trio.current_time() - began == 5


async def test_the_next_member_is_asked_when_one_fails():
    etcd = FakeEtcd(httpx.ReadError("gone"), WELL)
    gateway = etcd.gateway("http://a:1", "http://b:1", "http://c:1")
    assert await read(gateway) == OK
    assert await read(gateway) == OK
    assert [request.url.host for request in etcd.requests] == ["a", "b", "b"]


async def test_when_all_members_fail_the_last_error_is_told():
    etcd = FakeEtcd(httpx.ConnectError("first"), httpx.ConnectError("second"))
    with pytest.raises(UnreachableError, match="http://b:1: get /a failed: second"):
        await read(etcd.gateway("http://a:1", "http://b:1"))
    assert len(etcd.requests) == 2


async def test_a_write_that_may_have_been_done_is_not_sent_again():
    etcd = FakeEtcd(httpx.ReadError("gone"), WELL)
    gateway = etcd.gateway("http://a:1", "http://b:1")
    with pytest.raises(UnreachableError, match="gone"):
        await write(gateway)
    assert gateway.endpoint == "http://b:1"
    assert len(etcd.requests) == 1


async def test_a_write_that_was_not_sent_goes_to_the_next_member():
    etcd = FakeEtcd(httpx.ConnectError("refused"), WELL)
    assert await write(etcd.gateway("http://a:1", "http://b:1")) == OK


async def test_a_refusal_is_final():
    etcd = FakeEtcd(refusal(7, "permission denied"), WELL)
    with pytest.raises(EndpointError, match="permission denied"):
        await read(etcd.gateway("http://a:1", "http://b:1"))


@pytest.mark.parametrize(
    "reply",
    [
        httpx.Response(401, html="<h1>Unauthorized</h1>"),
        refusal(16, "etcdserver: invalid auth token", 401),
        refusal(3, "etcdserver: revision of auth store is old"),
        refusal(3, "etcdserver: user name is empty"),
    ],
)
async def test_a_token_is_fetched_once_and_renewed_when_it_is_refused(reply):
    etcd = FakeEtcd(WELL, WELL, reply, WELL)
    gateway = etcd.gateway(credentials=ME)
    for _ in range(3):
        assert await write(gateway) == OK
    assert [
        request.headers["authorization"]
        for request in etcd.requests
        if request.url.path != "/v3/auth/authenticate"
    ] == ["t0ken.1", "t0ken.1", "t0ken.1", "t0ken.2"]
    assert etcd.asked("/v3/auth/authenticate") == [{"name": "me", "password": "s3cret"}] * 2


async def test_a_new_token_that_is_refused_too_is_an_error():
    etcd = FakeEtcd(refusal(16, "invalid auth token"))
    with pytest.raises(EndpointError, match="invalid auth token"):
        await read(etcd.gateway(credentials=ME))
    assert etcd.tokens == 2


async def test_tasks_that_lose_the_token_together_fetch_one():
    async def answer(request: httpx.Request) -> httpx.Response:
        valid = request.headers["authorization"] not in expired
        return WELL if valid else refusal(16, "invalid auth token")

    expired: list[str] = []
    etcd = FakeEtcd(answer)
    gateway = etcd.gateway(credentials=ME)
    await read(gateway)
    expired.append("t0ken.1")
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            nursery.start_soon(read, gateway)
    assert etcd.tokens == 2


async def test_without_credentials_a_401_is_an_error():
    with pytest.raises(EndpointError, match="user name is empty"):
        await read(FakeEtcd(refusal(3, "etcdserver: user name is empty")).gateway())


def speaking(reply: httpx.Response) -> Gateway:
    """A gateway with credentials to a server that says this to everything."""
    return Gateway(
        ["http://etcd:1"], credentials=ME, transport=httpx.MockTransport(lambda _request: reply)
    )


@pytest.mark.parametrize("token", [None, 1, "a\r\nb", "ü"])
async def test_a_token_that_is_none_is_refused(token):
    with pytest.raises(EndpointError, match="authenticate failed: the reply has no usable token"):
        await read(speaking(httpx.Response(200, json={"token": token})))


async def test_a_server_that_asks_for_no_password_gets_none():
    def answer(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v3/auth/authenticate":
            return refusal(9, "etcdserver: authentication is not enabled")
        assert "authorization" not in request.headers
        return WELL

    transport = httpx.MockTransport(answer)
    assert await read(Gateway(["http://e:1"], credentials=ME, transport=transport)) == OK


async def test_secrets_show_nowhere(caplog):
    caplog.set_level(logging.DEBUG)
    texts = [repr(ME), repr(speaking(WELL))]
    for reply in (
        httpx.Response(500, text="your password is s3cret"),
        refusal(3, "authentication failed for me with s3cret"),
    ):
        with pytest.raises(EndpointError) as raised:
            await read(speaking(reply))
        texts += [str(raised.value), repr(raised.value)]
        assert "***" in texts[-1]
    echo = FakeEtcd(refusal(3, "who is t0ken.1 with s3cret?"))
    with pytest.raises(EndpointError, match=r"who is \*\*\* with \*\*\*\?") as raised:
        await read(echo.gateway(credentials=ME))
    texts += [repr(raised.value), caplog.text]
    assert not [text for text in texts if "s3cret" in text or "t0ken" in text]


async def test_no_log_line_for_every_request(caplog):
    caplog.set_level(logging.INFO)
    await read(FakeEtcd(WELL).gateway())
    assert caplog.text == ""
