import logging

import httpx
import pytest
import trio

from queue_connector.configdb import Children, Versioned
from queue_connector.configdb.etcd import MAX_DELAY, EtcdDatabase
from queue_connector.model.errors import EndpointError
from queue_connector.testing.checkpoints import cancel_at_every_step

from .fake_etcd import OK, FakeEtcd, Lines, created, kv, refusal, snapshot

A1, A2, B3 = kv("2/p/a", "1", 1), kv("2/p/a", "2", 2), kv("2/p/b", "3", 3)
FIRST = Children(1, {"a": Versioned(b"1", 1)})
SECOND = Children(3, {"a": Versioned(b"1", 1), "b": Versioned(b"3", 3)})


def streaming(*lines, hang=True) -> httpx.Response:
    return httpx.Response(200, stream=Lines(*lines, hang=hang))


def changes(*events) -> dict:
    return {"header": {"revision": "9"}, "events": [{"kv": event} for event in events]}


def tails(*latest_and_count: tuple[int, int]) -> list[httpx.Response]:
    """What the own range and that of the children have."""
    ranges = [
        {**OK, "kvs": [{"mod_revision": str(latest)}], "count": str(count)}
        for latest, count in latest_and_count
    ]
    return [httpx.Response(200, json=each) for each in ranges]


TAILS_OF_FIRST = tails((0, 0), (1, 1))


class Etcd(FakeEtcd):
    """Replies by kind of request, in turn, the last one for ever."""

    def __init__(self, snapshots, streams, probes=(TAILS_OF_FIRST,)) -> None:
        super().__init__(self.choose)
        self.snapshots = list(snapshots)
        self.streams = list(streams)
        self.probes = list(probes)
        self.halves: dict[tuple[bool, bool], httpx.Response] = {}

    async def choose(self, request: httpx.Request):
        probing, children = b"keys_only" in request.content, b"range_end" in request.content
        if request.url.path != "/v3/kv/range":
            return await self.next_of(self.streams)
        if (probing, children) not in self.halves:
            both = await self.next_of(self.probes if probing else self.snapshots)
            self.halves |= {(probing, False): both[0], (probing, True): both[1]}
        return self.halves.pop((probing, children))

    async def next_of(self, replies):
        reply = replies.pop(0) if len(replies) > 1 else replies[0]
        return await reply() if callable(reply) else reply

    def starts(self) -> list[str]:
        asked = [
            line for r in self.requests if r.url.path == "/v3/watch" for line in r.content.split()
        ]
        return [part.decode() for part in asked if part.strip(b'"}').isdigit()]


async def views(etcd: FakeEtcd, count: int, *endpoints: str) -> list[Children]:
    async with EtcdDatabase(etcd.gateway(*endpoints)).watch("/p") as watch:
        return [await watch.__anext__() for _ in range(count)]


@pytest.mark.parametrize(
    "stream",
    [
        streaming(hang=False),
        streaming(*created(1), hang=False),
        streaming(*created(1), httpx.ReadError("reset")),
        streaming(*created(1), {"canceled": True, "compact_revision": "2"}),
        streaming(*created(1), {"canceled": True, "cancel_reason": "permission denied"}),
        streaming(*created(0)),
        streaming(*created(1), '{"error": {"grpc_code": 14, "message": "no leader"}}'),
        streaming(*created(1), '{"error": "stream broken"}'),
        streaming(*created(1), "<html>"),
        streaming(*created(1), "", "[]"),
        streaming(*created(1), changes({"key": "!", "mod_revision": "2"})),
        streaming(*created(1), changes({"key": "Mi9wL2E="})),
        httpx.Response(502, html="<h1>Bad gateway</h1>"),
        refusal(14, "not capable", 503),
        httpx.ConnectError("refused"),
    ],
)
async def test_whatever_ends_a_stream_the_next_view_is_the_whole_truth(stream, autojump_clock):
    etcd = Etcd([snapshot(1, A1), snapshot(3, A1, B3)], [stream, streaming(*created(3))])
    assert await views(etcd, 2) == [FIRST, SECOND]


async def test_a_database_that_went_back_gives_what_it_has(autojump_clock):
    etcd = Etcd(
        [snapshot(3, A1, B3), snapshot(1, A1)], [streaming(*created(1)), streaming(*created(1))]
    )
    assert await views(etcd, 2) == [SECOND, FIRST]


async def test_changes_are_applied_and_what_does_not_belong_is_left_out(autojump_clock):
    etcd = Etcd(
        [snapshot(1, A1, own=[kv("1/p", "own", 1)])],
        [
            streaming(
                *created(1),
                {"header": {"revision": "2"}},  # progress
                0.1,
                changes(A2, kv("2/p/x/y", "deeper", 3), kv("1/p", "", 4)),
                0.1,
                {"events": [{"type": "DELETE", "kv": {"key": A1["key"], "mod_revision": "5"}}]},
                0.1,
                {"events": [{"type": "DELETE", "kv": {"key": "MS9w", "mod_revision": "6"}}]},
            )
        ],
        [tails((4, 1), (3, 2)), tails((4, 1), (3, 1)), tails((0, 0), (3, 1))],
    )
    assert await views(etcd, 4) == [
        Children(1, {"a": Versioned(b"1", 1)}, Versioned(b"own", 1)),
        Children(4, {"a": Versioned(b"2", 2)}, Versioned(b"", 4)),
        Children(5, {}, Versioned(b"", 4)),
        Children(6, {}, None),
    ]
    assert etcd.starts() == ['"2"}}', '"2"}}']


async def test_a_view_waits_for_all_that_its_revision_has_changed(autojump_clock):
    etcd = Etcd(
        [snapshot(1, A1, own=[kv("1/p", "1", 1)])],
        [streaming(*created(1), changes(A2), 1.0, changes(kv("1/p", "2", 2)))],
        [tails((2, 1), (2, 1))],
    )
    began = trio.current_time()
    assert (await views(etcd, 2))[1] == Children(2, {"a": Versioned(b"2", 2)}, Versioned(b"2", 2))
    assert trio.current_time() - began >= 1
    probes = [body for body in etcd.asked("/v3/kv/range") if "keys_only" in body]
    assert [each["revision"] for each in probes] == ["2"] * 4


async def test_a_silent_member_is_noticed_and_the_next_one_asked(autojump_clock):
    told = []
    streams = [streaming(*created(1)) for _ in "ab"]
    etcd = Etcd([snapshot(1, A1)], streams, probes=[trio.sleep_forever])
    database = EtcdDatabase(etcd.gateway("http://a:1", "http://b:1", timeout=3), probe_period=2)
    began = trio.current_time()

    def tell(connected: bool) -> None:
        told.append((round(trio.current_time() - began), connected))

    async with database.watch("/p", on_connected=tell) as watch:
        await trio.sleep(9)
        assert told == [(0, True), (5, False), (5, True)]
        assert watch.connected
    watches = [r.url.host for r in etcd.requests if r.url.path == "/v3/watch"]
    assert watches == ["a", "b"]


async def test_tries_are_spaced_and_an_outage_is_one_warning(autojump_clock, caplog):
    caplog.set_level(logging.INFO, "queue_connector")
    etcd = FakeEtcd(httpx.ConnectError("refused"))
    async with EtcdDatabase(etcd.gateway()).watch("/p") as watch:
        await trio.sleep(60)
        assert watch.problem == "http://etcd:1: read /p failed: refused"
    assert 60 / MAX_DELAY < len(etcd.requests) < 2 * 60 / MAX_DELAY + 10
    assert [record.levelname for record in caplog.records] == ["WARNING"]


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"header": 1},
        {"header": {"revision": "x"}},
        {"kvs": [{"key": "MS9h"}]},
        {"kvs": [{"mod_revision": "1", "value": "%"}]},
        {"kvs": 3, "succeeded": True},
    ],
)
async def test_replies_that_are_not_etcds_are_endpoint_errors(reply):
    database = EtcdDatabase(FakeEtcd(httpx.Response(200, json=reply)).gateway())
    operation = database.get if "kvs" in reply else database.children
    with pytest.raises(EndpointError, match="not how etcd answers"):
        await operation("/a")


def test_a_watch_can_be_cancelled_at_every_step():
    async def scenario() -> None:
        told: list[bool] = []
        closed = trio.Event()

        class Closing(Lines):
            async def aclose(self) -> None:
                closed.set()

        def stream() -> httpx.Response:
            return httpx.Response(200, stream=Closing(*created(1), 1.0, changes(B3)))

        etcd = Etcd(
            [snapshot(1, A1), snapshot(1, A1)], [stream(), stream()], [tails((0, 0), (3, 2))]
        )
        opened = False
        try:
            async with (
                EtcdDatabase(etcd.gateway()) as database,
                database.watch("/p", on_connected=told.append) as watch,
            ):
                opened = True
                while await watch.__anext__() != SECOND:
                    pass
        finally:
            assert told in ([], [True, False], [True, False, True, False])
            if opened and told:
                assert closed.is_set()

    assert cancel_at_every_step(scenario) > 10
