"""Many sinks of one cluster: one client, one window each, and none holds up the others."""

from __future__ import annotations

import logging
import time

import psutil
import pytest
import trio
from confluent_kafka import Producer

from queue_connector.connectors.kafka import outgoing, writer
from queue_connector.connectors.kafka.dead_letter import DeadLetterPolicyDescriptor
from queue_connector.connectors.kafka.dead_letters import DeadLetterPolicy
from queue_connector.connectors.kafka.producer import KafkaProducer
from queue_connector.engine.window import ALL_BYTES, UNDER_WAY
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.delivery import Delivery
from queue_connector.model.errors import EndpointError
from queue_connector.model.services import Services
from queue_connector.model.shared import Shared
from queue_connector.testing.endpoints import Numbers, Recorded, exchange
from tests.services.process import freeze
from tests.support.kafka_topics import librdkafka_threads, make_sink, read_all
from tests.support.waiting import until

LIMIT = 15.0  # s for anything that must come
NOBODY = "127.0.0.1:1"


@pytest.fixture
def shared():
    return Shared()


def with_shared(shared):
    return Services(shared=shared, log=logging.getLogger("sinks"))


async def over(*deliveries):
    with trio.fail_after(LIMIT):
        await until(lambda: all(delivery.over for delivery in deliveries))


async def start_all(sinks):
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            for sink in sinks:
                nursery.start_soon(sink.start)


async def stop_all(sinks):
    with trio.fail_after(LIMIT):
        async with trio.open_nursery() as nursery:
            for sink in sinks:
                nursery.start_soon(sink.stop)


async def test_sinks_and_dead_letters_of_a_cluster_share_one_client(broker, topic, shared):
    before = len(librdkafka_threads())
    services = with_shared(shared)
    first = make_sink(broker, f"{topic}-0", services=services)
    async with first:
        one = len(librdkafka_threads()) - before
        sinks = [make_sink(broker, f"{topic}-{n}", services=services) for n in range(1, 20)]
        await start_all(sinks)
        letters = DeadLetterPolicyDescriptor(
            servers=broker, topic=f"{topic}-dead", message_max_bytes=1000
        )
        async with DeadLetterPolicy(letters, services):
            assert len(librdkafka_threads()) - before <= one
            deliveries = [Delivery(range(10)) for _ in sinks]
            for sink, delivery in zip(sinks, deliveries, strict=True):
                await sink.begin(delivery)
            await over(*deliveries)
        await stop_all(sinks)
        await first.awrite(1)
    assert librdkafka_threads() == []
    for number in range(1, 20):
        assert read_all(broker, f"{topic}-{number}")[0] == [b"%d" % n for n in range(10)]


async def test_a_login_of_its_own_has_a_client_of_its_own(broker, topic, shared):
    services = with_shared(shared)
    async with make_sink(broker, topic, services=services):
        one = len(librdkafka_threads())
        async with make_sink(broker, topic, services=services, options={"client.id": "other"}):
            assert len(librdkafka_threads()) > one


async def test_deliveries_are_under_way_until_the_window_is_full(own_broker, shared, monkeypatch):
    monkeypatch.setattr(outgoing, "MOST", 250)
    servers, process = own_broker
    services = with_shared(shared)
    async with make_sink(servers, "t", services=services) as sink:
        await sink.awrite(-1)
        freeze(process.pid)
        deliveries = [Delivery(range(n, n + 100)) for n in range(0, 500, 100)]
        with trio.move_on_after(0.3):
            for delivery in deliveries:
                await sink.begin(delivery)
        assert services.condition.as_dict()["under_way"] == 250
        assert not any(any(delivery.accepted) for delivery in deliveries)
        process.resume()
        await over(*deliveries[:2])
        await sink.awrite(250)
    assert [int(payload) for payload in read_all(servers, "t")[0]] == list(range(-1, 251))


async def test_the_window_is_bounded_by_bytes_too(own_broker, shared, monkeypatch):
    monkeypatch.setattr(outgoing, "MOST_BYTES", 10_000)
    servers, process = own_broker
    services = with_shared(shared)
    options = {"encoding": "utf-8", "services": services}
    async with make_sink(servers, "t", DataSpec("str"), **options) as sink:
        await sink.awrite("-")
        freeze(process.pid)
        with trio.move_on_after(0.3):
            await sink.begin(Delivery(["x" * 3000] * 10))
        assert services.condition.as_dict()["under_way"] == 4
        process.resume()


async def test_a_burst_of_reports_wakes_trio_a_few_times(broker, topic, shared, monkeypatch):
    woken = 0
    answer = KafkaProducer._answer

    def counted(self):
        nonlocal woken
        woken += 1
        answer(self)

    monkeypatch.setattr(KafkaProducer, "_answer", counted)
    async with make_sink(broker, topic, services=with_shared(shared)) as sink:
        woken = 0
        deliveries = [Delivery(range(1000)) for _ in range(9)]
        for delivery in deliveries:
            await sink.begin(delivery)
        await over(*deliveries)
        assert woken <= 40, woken  # 9,000 messages in 9 rounds


async def test_one_that_is_cut_off_leaves_the_others_alone(own_broker, shared, caplog):
    servers, process = own_broker
    services = with_shared(shared)
    stays, goes = (make_sink(servers, topic, services=services) for topic in ("stays", "goes"))
    async with stays:
        await goes.start()
        await goes.awrite(0)
        await stays.awrite(0)
        freeze(process.pid)
        kept, lost = Delivery(range(1, 101)), Delivery(range(1, 101))
        await stays.begin(kept)
        await goes.begin(lost)
        began = trio.current_time()
        await goes.stop()
        assert trio.current_time() - began < writer.FLUSH_GRACE + 0.5
        assert isinstance(lost.failure, EndpointError)
        assert "up to 100 messages did not arrive" in caplog.text
        assert not kept.over
        process.resume()
        await over(kept)
        assert all(kept.accepted)
    assert [int(payload) for payload in read_all(servers, "stays")[0]] == list(range(101))
    arrived = [int(payload) for payload in read_all(servers, "goes")[0]]
    assert arrived == list(range(len(arrived)))  # in order and once, whatever of it has arrived


async def test_what_was_cut_off_is_taken_back_when_nobody_else_has_anything_under_way(
    own_broker, shared
):
    servers, process = own_broker
    services = with_shared(shared)
    stays, goes = (make_sink(servers, topic, services=services) for topic in ("stays", "goes"))
    async with stays:
        await stays.awrite(0)
        await goes.start()
        await goes.awrite(0)
        freeze(process.pid)
        await goes.begin(Delivery(range(1, 101)))
        await trio.sleep(0.1)
        await goes.begin(Delivery(range(101, 20_000)[:9000]))  # behind what is on the wire
        await goes.stop()
        await trio.sleep(0.3)
        process.resume()
        await stays.awrite(1)
    arrived = [int(payload) for payload in read_all(servers, "goes")[0]]
    assert len(arrived) <= 101 + 5 * 1000
    assert arrived == list(range(len(arrived)))


async def test_a_message_of_one_sink_that_is_refused_is_no_fault_of_another_one(
    broker, topic, shared, monkeypatch
):
    """Both write to one topic, so that their messages go in the same batches."""
    services = with_shared(shared)
    monkeypatch.setattr("queue_connector.connectors.kafka.sharing.LARGE", 10_000)
    options = {"encoding": "utf-8", "services": services, "message_max_bytes": 9_000}
    first, second = (make_sink(broker, topic, DataSpec("str"), **options) for _ in range(2))
    async with first, second:
        monkeypatch.setattr(first, "_limit", 10**9)
        good = [Delivery([f"{n}-{m}" for m in range(50)]) for n in range(10)]
        bad = Delivery(["small", "x" * 50_000, "small too"])
        await second.begin(good[0])
        await first.begin(bad)
        for delivery in good[1:]:
            await second.begin(delivery)
        await over(bad, *good)
    assert list(bad.refused) == [1]
    assert all(all(delivery.accepted) for delivery in good)
    arrived = [payload.decode() for payload in read_all(broker, topic)[0]]
    mine = [text for text in arrived if not text.startswith("small")]
    assert mine == [f"{n}-{m}" for n in range(10) for m in range(50)]


@pytest.mark.parametrize("count", [300, 1000])
async def test_many_sinks_without_a_broker_start_soon_and_cost_next_to_nothing(
    count, topic, shared, caplog
):
    caplog.set_level(logging.ERROR)
    services = [with_shared(shared) for _ in range(count)]
    sinks = [make_sink(NOBODY, f"{topic}-{n}", services=each) for n, each in enumerate(services)]
    began = time.monotonic()
    await start_all(sinks)
    assert time.monotonic() - began < 5
    assert len(librdkafka_threads()) < 8
    for sink in sinks:
        await sink.begin(Delivery([1]))
    spent = time.process_time()
    await trio.sleep(3)
    spent = time.process_time() - spent
    assert spent < 0.3, f"{spent / 3:.0%} of a core"
    for each in services:
        assert each.condition.waiting_for == f"a broker of {NOBODY}"
        assert not each.condition.connected
    began = time.monotonic()
    await stop_all(sinks)
    assert time.monotonic() - began < 5
    assert librdkafka_threads() == []


async def test_many_thin_streams_to_a_broker_that_is_away_take_up_bounded_memory(topic, shared):
    count, seconds = 200, 5.0
    services = [with_shared(shared) for _ in range(count)]
    sinks = [make_sink(NOBODY, f"{topic}-{n}", services=each) for n, each in enumerate(services)]
    record = Recorded()
    streams = [exchange([Numbers(record, period=0.02)], [sink], shared=shared) for sink in sinks]
    before = psutil.Process().memory_info().rss
    most = 0

    async def stream(one):
        async with one:
            await one.run()

    with trio.move_on_after(seconds):
        async with trio.open_nursery() as nursery:
            for one in streams:
                nursery.start_soon(stream, one)
            while True:
                await trio.sleep(0.5)
                most = max(most, sum(one.ledger.in_flight for one in streams))
    grown = (psutil.Process().memory_info().rss - before) / 2**20
    assert ALL_BYTES // UNDER_WAY // 4 < most <= ALL_BYTES // UNDER_WAY + count
    assert grown < 200, f"{grown:.0f} MiB for {most} data under way"


async def test_many_sinks_find_their_topics_and_are_well_when_the_broker_comes(own_broker, shared):
    servers, process = own_broker
    freeze(process.pid)
    services = [with_shared(shared) for _ in range(100)]
    sinks = [make_sink(servers, f"t{n}", services=each) for n, each in enumerate(services)]
    await start_all(sinks)
    assert all(each.condition.waiting_for for each in services)
    process.resume()
    with trio.fail_after(LIMIT):
        await until(lambda: all(each.condition.connected for each in services))
    assert not any(each.condition.waiting_for for each in services)
    await stop_all(sinks)


async def test_a_sink_waits_for_acknowledgements_when_they_stay_away(own_broker, monkeypatch):
    monkeypatch.setattr(writer, "SLOW", 0.5)
    servers, process = own_broker
    services = Services()
    async with make_sink(servers, "t", services=services) as sink:
        await sink.awrite(0)
        assert services.condition.connected
        freeze(process.pid)
        delivery = Delivery([1])
        await sink.begin(delivery)
        with trio.fail_after(LIMIT):
            await until(lambda: services.condition.waiting_for)
        assert "acknowledgements" in services.condition.waiting_for
        process.resume()
        await over(delivery)
        assert services.condition.connected
        assert services.condition.waiting_for == ""


@pytest.fixture
def far_broker():
    """A broker at the end of a line with a round trip of 0.7 s."""
    settings = {"test.mock.num.brokers": 1, "test.mock.broker.rtt": 700, "log_level": 0}
    host = Producer({"bootstrap.servers": "replaced", **settings})
    (broker,) = host.list_topics("t", timeout=LIMIT).brokers.values()
    yield f"{broker.host}:{broker.port}"
    del host


async def test_a_slow_line_is_no_outage_and_is_kept_full(far_broker, caplog):
    services = Services(log=logging.getLogger("far"))
    async with make_sink(far_broker, "t", services=services) as sink:
        with trio.fail_after(LIMIT):
            await until(lambda: services.condition.connected)
        assert services.condition.waiting_for == ""
        began = trio.current_time()
        deliveries = [Delivery([n]) for n in range(20)]
        for delivery in deliveries:
            await sink.begin(delivery)
        assert trio.current_time() - began < 0.5
        await over(*deliveries)
        assert trio.current_time() - began < 5 * 0.7  # 20 with one at a time
        assert services.condition.connected


async def test_who_comes_after_a_log_in_was_refused_has_it_tried_again(broker, topic, shared):
    """Others may still hold the client, with the old password."""
    services = with_shared(shared)
    async with make_sink(broker, f"{topic}-0", services=services) as old:
        await old.awrite(0)
        client = old._writer._client
        client._say("failure", EndpointError("Kafka", "writing", "wrong password"))
        with trio.fail_after(LIMIT):
            await until(lambda: client.failure)
        with pytest.raises(EndpointError, match="wrong password"):
            await old.awrite(1)
        async with make_sink(broker, f"{topic}-1", services=with_shared(shared)) as new:
            with trio.fail_after(LIMIT):
                await new.awrite(2)
        with pytest.raises(EndpointError, match="wrong password"):
            await old.awrite(3)
    assert read_all(broker, f"{topic}-1")[0] == [b"2"]


async def test_who_comes_after_a_client_could_not_be_made_anew_has_it_tried_again(
    broker, topic, shared, monkeypatch, tmp_path
):
    """A file that `options` refer to is away while the client is replaced."""
    secret = tmp_path / "rack"
    secret.write_text("r1")
    options = {"services": with_shared(shared), "options": {"client.rack": f"file:{secret}"}}
    async with make_sink(broker, f"{topic}-0", **options) as old:
        await old.awrite(0)
        secret.unlink()
        old._writer._client._renew()
        with trio.fail_after(LIMIT):
            await until(lambda: old._writer._failure)
        with pytest.raises(EndpointError, match=r"client.rack"):
            await old.awrite(1)
        secret.write_text("r1")
        async with make_sink(broker, f"{topic}-1", **options) as new:
            with trio.fail_after(LIMIT):
                await new.awrite(2)
    assert read_all(broker, f"{topic}-1")[0] == [b"2"]


async def test_taking_back_purges_nothing_of_those_who_stay(own_broker, shared):
    servers, process = own_broker
    services = with_shared(shared)
    async with make_sink(servers, "stays", services=services) as stays:
        await stays.awrite(0)
        for turn in range(20):
            goes = make_sink(servers, "goes", services=services)
            await goes.start()
            freeze(process.pid)
            await goes.begin(Delivery([turn]))
            goes._writer._condition.waits("nothing")  # so that it gets no grace
            await goes.stop()
            delivery = Delivery([turn + 1])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(stays.begin, delivery)
                process.resume()
            await over(delivery)
    arrived = [int(payload) for payload in read_all(servers, "stays")[0]]
    assert arrived == list(range(21))


async def test_what_goes_wrong_unexpectedly_is_an_error_of_the_sinks_and_not_of_the_loop(
    broker, topic, shared, caplog
):
    async with make_sink(broker, topic, services=with_shared(shared)) as sink:
        delivery = Delivery([1])
        delivery.on_told = lambda: 1 / 0
        await sink.begin(delivery)
        with trio.fail_after(LIMIT):
            await until(lambda: sink._writer._failure)
        with pytest.raises(EndpointError, match="ZeroDivisionError"):
            await sink.awrite(2)


async def test_single_messages_of_many_sinks_are_given_to_librdkafka_in_one_go(
    broker, topic, shared, monkeypatch
):
    goes, send_all = [], KafkaProducer._send_all

    def noted(self, *budget):
        goes.append(len(self._unsent))
        send_all(self, *budget)

    sinks = [make_sink(broker, topic, services=with_shared(shared)) for _ in range(50)]
    await start_all(sinks)
    monkeypatch.setattr(KafkaProducer, "_send_all", noted)
    deliveries = [Delivery([number]) for number in range(50)]
    async with trio.open_nursery() as nursery:
        for sink, delivery in zip(sinks, deliveries, strict=True):
            nursery.start_soon(sink.begin, delivery)
    await over(*deliveries)
    assert goes[0] == 50
    assert len(goes) < 5, goes  # a go lasts for some time at most, on a busy machine not for all
    await stop_all(sinks)
    assert sorted(read_all(broker, topic)[0], key=int) == [b"%d" % n for n in range(50)]


async def test_few_and_many_messages_of_a_sink_keep_their_order(broker, topic, shared):
    deliveries, first = [], 0
    async with make_sink(broker, topic, services=with_shared(shared)) as sink:
        for count in (1, 2, 50, 1, 1, 100, 3, 1):
            deliveries.append(Delivery(range(first, first + count)))
            await sink.begin(deliveries[-1])
            first += count
    assert all(delivery.over for delivery in deliveries), "it stopped before they were sent"
    assert read_all(broker, topic)[0] == [b"%d" % n for n in range(first)]
