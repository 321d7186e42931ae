"""Sources that share a consumer: what they cost, and that none of them disturbs another."""

from __future__ import annotations

import gc
import threading

import pytest
import trio

from queue_connector.connectors.kafka import subscription
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.exchanges import Buffer
from queue_connector.model.ledger import Batch
from queue_connector.model.services import Services
from queue_connector.model.shared import Shared
from queue_connector.testing.endpoints import Keeper, Recorded, exchange
from tests.support.kafka_topics import librdkafka_threads, make_source, produce
from tests.support.waiting import until

LIMIT = 20.0  # s for anything that must come
BYTES = DataSpec("bytes")


def sources(broker, topics, shared, **options):
    return [
        make_source(broker, name, services=Services(shared=shared), **options) for name in topics
    ]


async def offsets(source, count):
    """Of the first *count* messages, all acknowledged."""
    found = []
    with trio.fail_after(LIMIT):
        while len(found) < count:
            batch = await source.receive_batch()
            found += [message.offset() for message in batch.raw]
            source.acknowledge(batch)
    return found


@pytest.mark.parametrize("number", [1, 100])
async def test_the_threads_of_any_number_of_sources_are_those_of_one(broker, topic, number):
    names = [f"{topic}-{index}" for index in range(number)]
    for name in names:
        produce(broker, name, [b"0"])
    before = threading.active_count()
    many = sources(broker, names, Shared())
    async with trio.open_nursery() as nursery:
        for source in many:
            nursery.start_soon(source.start)
    assert len(librdkafka_threads()) <= 10
    assert threading.active_count() - before <= 2
    for index, name in enumerate(names):
        produce(broker, name, [b"%d" % index])
    with trio.fail_after(LIMIT):
        assert [await source.receive() for source in many] == list(range(number))
    for source in many:
        await source.stop()
    assert librdkafka_threads() == []


async def test_two_sources_of_one_topic_read_it_each_at_its_own_pace(broker, topic, monkeypatch):
    monkeypatch.setattr(subscription, "MAX_WAITING", 100)
    produce(broker, topic, [b"7"] * 3000)
    shared = Shared()
    slow, fast = sources(broker, [topic, topic], shared, start="earliest")
    async with slow, fast:
        assert await offsets(fast, 3000) == list(range(3000))
        assert slow._subscription.waiting <= 100 + 1000
        assert await offsets(slow, 3000) == list(range(3000))


@pytest.mark.parametrize("full", ["messages", "bytes"])
async def test_a_source_that_is_full_stops_nobody_else_and_misses_nothing(
    broker, topic, monkeypatch, full
):
    monkeypatch.setattr(subscription, "MAX_WAITING", 100 if full == "messages" else 10**9)
    monkeypatch.setattr(subscription, "MAX_WAITING_BYTES", 10**9 if full == "messages" else 10_000)
    shared = Shared()
    for name in (topic, f"{topic}-2"):
        produce(broker, name, [b"1"])
    stuck, other = sources(broker, [topic, f"{topic}-2"], shared, spec=BYTES, encoding=None)
    async with stuck, other:
        produce(broker, topic, [b"%0100d" % number for number in range(5000)])
        await until(lambda: stuck._subscription.full)
        for number in range(1, 20):
            produce(broker, f"{topic}-2", [b"%0100d" % number])
            assert await offsets(other, 1) == [number]
        assert stuck._subscription.waiting <= 100 + 1000
        assert await offsets(stuck, 5000) == list(range(1, 5001))


def _batches():
    gc.collect()
    return [each for each in gc.get_objects() if isinstance(each, Batch)]


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "latest"])
@pytest.mark.parametrize("period", [1e6, 0.01], ids=["stuck", "slow"])
async def test_what_is_dropped_behind_a_sink_that_does_not_keep_up_is_not_kept(
    broker, topic, policy, period
):
    produce(broker, topic, [b"0"])
    before = _batches()  # of other tests; held, so that none of them makes room for another
    others = set(map(id, before))
    source = make_source(broker, topic, group_id=topic)
    sink = Keeper(Recorded(), period=period)
    running = exchange([source], [sink], buffer=Buffer(policy=policy, size=10))
    async with running, trio.open_nursery() as nursery:
        nursery.start_soon(running.run)
        for _ in range(50):
            received = running.ledger.received
            produce(broker, topic, [b"1"] * 200)
            await until(lambda before=received: running.ledger.received >= before + 200)
        kept = [len(each.values) for each in _batches() if id(each) not in others]
        assert sum(kept) < 2000
        assert len(kept) < 200
        assert source._subscription.kept_runs <= 20
        nursery.cancel_scope.cancel()
    assert running.ledger.balanced


async def test_a_source_says_what_it_waits_for_and_how_far_it_is(broker, topic):
    services = Services()
    condition = services.condition
    async with make_source(broker, topic, services=services) as source:
        assert condition.waiting_for == f"Kafka topic {topic} to be made"
        produce(broker, topic, [b"0", b"1", b"2"])
        await until(lambda: condition.connected, lambda: condition.as_dict())
        await until(lambda: condition.as_dict()["queued"] == 3)
        await until(lambda: condition.as_dict()["end_offset"] == 3)
        assert condition.as_dict()["lag"] == 3
        await offsets(source, 3)
        assert condition.as_dict()["lag"] == condition.as_dict()["queued"] == 0
    assert not condition.connected
    assert condition.waiting_for == ""


async def test_a_broker_that_goes_away_is_waited_for_and_said(own_broker, monkeypatch):
    monkeypatch.setattr("queue_connector.connectors.kafka.reader.LOOK_INTERVAL", 0.5)
    monkeypatch.setattr("queue_connector.connectors.kafka.cluster.LOOK_INTERVAL", 0.5)
    servers, process = own_broker
    services = Services()
    condition = services.condition
    produce(servers, "t", [b"0"])
    async with make_source(servers, "t", services=services) as source:
        assert condition.connected
        process.suspend()
        await until(lambda: condition.waiting_for == f"Kafka at {servers}")
        assert "Timed out" in condition.error
        process.resume()
        await until(lambda: condition.connected)
        produce(servers, "t", [b"1"])
        assert await offsets(source, 1) == [1]


async def test_one_dead_broker_does_not_hold_up_a_source_of_another(broker, topic):
    produce(broker, topic, [b"0"])
    shared = Shared()
    (dead,) = sources("127.0.0.1:1", [topic], shared)
    (well,) = sources(broker, [topic], shared)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(dead.start)
        with trio.fail_after(3):
            async with well:
                produce(broker, topic, [b"1"])
                assert await offsets(well, 1) == [1]
        assert dead._services.condition.waiting_for == "Kafka at 127.0.0.1:1"
        nursery.cancel_scope.cancel()
    await dead.stop()


async def test_two_connectors_with_one_group_both_say_so(broker, topic, monkeypatch, caplog):
    for room in ("bookmark", "committing"):
        monkeypatch.setattr(f"queue_connector.connectors.kafka.{room}.REPEAT", 0.5)
    produce(broker, topic, [b"0"])
    first, second = Services(), Services()
    async with (
        make_source(broker, topic, services=first, group_id=topic),
        make_source(broker, topic, services=second, group_id=topic),
    ):
        for services in (first, second):
            await until(lambda s=services: s.account.upstream["position committed by another"])
    told = [text for text in caplog.messages if "was committed by another" in text]
    assert len(told) == 2
    assert "give each connector a group_id of its own" in told[0]
