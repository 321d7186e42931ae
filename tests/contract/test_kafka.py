"""Kafka source and sink against the embedded broker: real sockets, threads and clock."""

from __future__ import annotations

import logging
import random

import numpy as np
import psutil
import pytest
import trio
import trio.testing

from queue_connector.codecs import Codec, codecs
from queue_connector.connectors.kafka import (
    consumer_source as source_module,
    outgoing,
    partitions,
    sharing,
)
from queue_connector.connectors.kafka.producer_sink import TooLargeError
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.delivery import Delivery
from queue_connector.model.errors import ConformError, DecodeError, EndpointError
from queue_connector.model.services import Services
from tests.services.process import freeze
from tests.support.kafka_topics import (
    librdkafka_threads,
    make_sink,
    make_source,
    produce,
    read_all,
)

LIMIT = 15.0  # s for anything that must come

NOBODY = "127.0.0.1:1"


def spec_for(encoding: str) -> DataSpec:
    """Of these the richest that the encoding carries."""
    candidates = [DataSpec("float64", (2, 3)), DataSpec("float64")]
    return next(spec for spec in candidates if not codecs.lookup(encoding)().refusal(spec))


async def arrived(services: Services, count: int) -> None:
    """Wait until so many messages wait in the source that was built with these services."""
    with trio.fail_after(LIMIT):
        while services.condition.gauges["queued"]() < count:  # noqa: ASYNC110 - it tells nobody
            await trio.sleep(0.01)


async def receive(source, count):
    """Exactly *count* values, by batches."""
    values = []
    with trio.fail_after(LIMIT):
        while len(values) < count:
            batch = await source.receive_batch()
            assert not batch.refused
            values.extend(batch.values)
            source.acknowledge(batch)
    assert len(values) == count
    return values


@pytest.mark.parametrize("encoding", list(codecs))
async def test_what_is_written_is_read(broker, topic, encoding):
    spec = spec_for(encoding)
    value = np.arange(6.0).reshape(2, 3) / 3 if spec.shape else np.float64(1 / 3)
    sink, source = (
        make(broker, topic, spec, encoding=encoding) for make in (make_sink, make_source)
    )
    async with sink, source:
        with trio.fail_after(LIMIT):
            await sink.awrite(value)
            restored = await source.receive()
    assert np.array_equal(restored, value)
    assert restored.dtype == np.float64


async def test_bytes_travel_with_the_encoding_of_the_source(broker, topic):
    spec = DataSpec("bytes")
    sink = make_sink(broker, topic, spec, encoding="jpeg")
    source = make_source(broker, topic, spec, encoding="image/jpeg")
    async with sink, source:
        delivery = Delivery([("jpeg", b"\x00\xff"), ("png", b"refused"), ("", b"")])
        await sink.awrite_batch(delivery)
        assert delivery.accepted == [True, False, True]
        assert await receive(source, 2) == [("image/jpeg", b"\x00\xff"), ("image/jpeg", b"")]


async def test_a_batch_tells_what_its_payloads_take_up(broker, topic):
    spec = DataSpec("object")
    sink = make_sink(broker, topic, spec, encoding="json")
    source = make_source(broker, topic, spec, encoding="json")
    async with sink, source:
        await sink.awrite({"text": "x" * 100_000})
        batch = await source.receive_batch()
        assert 100_000 < batch.size < 101_000, "the engine cannot see it"


async def test_batches_keep_their_order(broker, topic):
    async with make_sink(broker, topic) as sink, make_source(broker, topic) as source:
        for first in range(0, 5000, 1000):
            delivery = Delivery(range(first, first + 1000))
            await sink.awrite_batch(delivery)
            assert all(delivery.accepted)
        assert await receive(source, 5000) == list(range(5000))


async def test_all_partitions_are_read_each_in_order(broker, topic):
    async with make_sink(broker, topic), make_source(broker, topic) as source:
        for partition in range(4):
            payloads = [b"%d" % (partition * 1000 + number) for number in range(200)]
            produce(broker, topic, payloads, partition)
        values = [int(value) for value in await receive(source, 800)]
    for partition in range(4):
        mine = [value for value in values if value // 1000 == partition]
        assert mine == list(range(partition * 1000, partition * 1000 + 200))


async def test_what_is_produced_once_start_has_returned_arrives_and_nothing_older(broker, topic):
    for attempt in range(10):
        produce(broker, topic, [b"-1"], partition=attempt % 4)
        async with make_source(broker, topic) as source:
            produce(broker, topic, [b"%d" % attempt], partition=attempt % 4)
            assert await receive(source, 1) == [attempt]


async def test_a_topic_that_is_made_later_is_read_from_its_beginning(broker, topic):
    async with make_source(broker, topic) as source:
        assert source.positions() == {}
        produce(broker, topic, [b"1", b"2"])
        produce(broker, topic, [b"3"], partition=3)
        assert sorted(await receive(source, 3)) == [1, 2, 3]


async def test_single_and_batch_form_take_turns(broker, topic):
    services = Services()
    source = make_source(broker, topic, services=services)
    async with make_sink(broker, topic) as sink, source:
        await sink.awrite_batch(Delivery(range(100)))
        await arrived(services, 100)  # so that all come at once
        with trio.fail_after(LIMIT):
            first = await source.receive()
            rest = await receive(source, 99)
    assert [first, *rest] == list(range(100))


async def test_a_bad_message_is_refused_and_its_neighbours_arrive(broker, topic):
    produce(broker, topic, [b"old"])
    async with make_source(broker, topic, encoding="json") as source:
        produce(broker, topic, [b"1", b"{", None, b"2"])
        batches = []
        with trio.fail_after(LIMIT):
            while sum(len(batch.values) + len(batch.refused) for batch in batches) < 4:
                batches.append(await source.receive_batch())
    assert [value for batch in batches for value in batch.values] == [1, 2]
    broken, tombstone = (refusal for batch in batches for refusal in batch.refused)
    assert isinstance(broken.error, DecodeError)
    assert (broken.payload, broken.position) == (b"{", f"{topic}[0]@2")
    assert "tombstone" in str(tombstone.error)
    assert tombstone.position == f"{topic}[0]@3"


async def test_the_single_form_raises_for_a_bad_message_and_goes_on(broker, topic):
    produce(broker, topic, [b"old"])
    async with make_source(broker, topic, encoding="json") as source:
        produce(broker, topic, [b"{", b"2"])
        with trio.fail_after(LIMIT):
            with pytest.raises(DecodeError):
                await source.receive()
            assert await source.receive() == 2


async def test_a_value_that_does_not_fit_or_is_too_large_is_refused_alone(broker, topic):
    spec = DataSpec("str")
    async with make_sink(broker, topic, spec, encoding="utf-8", message_max_bytes=1000) as sink:
        delivery = Delivery(["a" * 1000, "b" * 1001, b"\xff", "c"])
        await sink.awrite_batch(delivery)
        assert delivery.accepted == [True, False, False, True]
        assert isinstance(delivery.refused[1], TooLargeError)
        assert "message_max_bytes is 1000" in str(delivery.refused[1])
        assert isinstance(delivery.refused[2], ConformError)
        with pytest.raises(TooLargeError):
            await sink.awrite("d" * 1001)
    assert read_all(broker, topic)[0] == [b"a" * 1000, b"c"]


async def test_what_the_broker_refuses_for_its_size_is_a_data_error(broker, topic, monkeypatch):
    async with make_sink(broker, topic, DataSpec("str"), encoding="utf-8") as sink:
        monkeypatch.setattr(sink, "_limit", 10**9)  # so that librdkafka is who refuses
        delivery = Delivery(["a", "b" * (sharing.LARGE + 1024), "c"])
        await sink.awrite_batch(delivery)
    assert delivery.accepted == [True, False, True]
    assert "max.message.bytes" in str(delivery.refused[1])


async def test_more_than_the_send_queue_holds_is_waited_for(broker, topic, monkeypatch):
    monkeypatch.setattr(outgoing, "MOST_BYTES", 64 * 1024)
    options = {"encoding": "utf-8", "message_max_bytes": 10_000}
    async with make_sink(broker, topic, DataSpec("str"), **options) as sink:
        values = [f"{number:08}" * 1000 for number in range(200)]
        with trio.fail_after(LIMIT):
            await sink.awrite_batch(Delivery(values))
    assert read_all(broker, topic)[0] == [value.encode() for value in values]


async def test_cancelled_receives_lose_nothing(broker, topic):
    random_delay = random.Random(1)
    received: list[int] = []
    cancelled = 0
    async with make_sink(broker, topic) as sink, make_source(broker, topic) as source:
        await sink.awrite(0)
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                for first in range(1, 3001, 3):
                    await sink.awrite_batch(Delivery(range(first, first + 3)))
                    if cancelled < 50:
                        await trio.sleep(random_delay.uniform(0, 0.02))

            nursery.start_soon(write)
            with trio.fail_after(LIMIT):
                while len(received) < 3001:
                    if cancelled >= 50:
                        received.extend((await source.receive_batch()).values)
                        continue
                    with trio.move_on_after(random_delay.uniform(0, 0.02)) as scope:
                        received.extend((await source.receive_batch()).values)
                    cancelled += scope.cancelled_caught
    assert cancelled == 50
    assert received == list(range(3001))


async def test_cancelled_writes_are_there_once_or_not_at_all(broker, topic):
    random_delay = random.Random(2)
    accepted: list[int] = []
    cancelled = 0
    async with make_sink(broker, topic) as sink:
        await sink.awrite(-1)
        first = 0
        while first < 30_000 or cancelled < 6:  # how many are depends on the machine
            delivery = Delivery(range(first, first + 1000))
            first += 1000
            with trio.move_on_after(random_delay.uniform(0, 0.02)) as scope:
                await sink.awrite_batch(delivery)
            cancelled += scope.cancelled_caught
            accepted += [
                value for value, yes in zip(delivery.values, delivery.accepted, strict=True) if yes
            ]
        await sink.awrite(first)
        accepted.append(first)
    stored = [int(payload) for payload in read_all(broker, topic)[0]]
    assert stored == sorted(set(stored))
    assert set(accepted) <= set(stored)


async def test_a_frozen_broker_is_ridden_out(own_broker, caplog):
    servers, process = own_broker
    received: list[int] = []
    async with make_sink(servers, "t") as sink, make_source(servers, "t") as source:
        await sink.awrite_batch(Delivery(range(10)))
        assert await receive(source, 10) == list(range(10))
        async with trio.open_nursery() as nursery:

            async def write() -> None:
                for first in range(10, 210, 10):
                    await sink.awrite_batch(Delivery(range(first, first + 10)))

            freeze(process.pid)
            nursery.start_soon(write)
            with trio.move_on_after(1.5):
                received.extend((await source.receive_batch()).values)
            assert received == []
            process.resume()
            received.extend(await receive(source, 200))
    assert received == list(range(10, 210))


async def test_a_write_to_a_frozen_broker_can_be_cancelled_and_the_sink_goes_on(own_broker):
    servers, process = own_broker
    async with make_sink(servers, "t") as sink:
        await sink.awrite(0)
        freeze(process.pid)
        delivery = Delivery(range(1, 1001))
        start = trio.current_time()
        with trio.move_on_after(0.3):
            await sink.awrite_batch(delivery)
        assert trio.current_time() - start < 0.8
        assert not any(delivery.accepted)
        process.resume()
        with trio.fail_after(LIMIT):
            await sink.awrite_batch(Delivery(range(1001, 2001)))
    stored = [int(payload) for payload in read_all(servers, "t")[0]]
    assert stored == sorted(set(stored))
    assert stored[-1000:] == list(range(1001, 2001))


async def test_stopping_at_a_frozen_broker_is_bounded(own_broker):
    servers, process = own_broker
    sink, source = make_sink(servers, "t"), make_source(servers, "t")
    await sink.start()
    await source.start()
    await sink.awrite(0)
    assert await receive(source, 1) == [0]
    freeze(process.pid)
    with trio.move_on_after(0.2):
        await sink.awrite_batch(Delivery(range(100)))
    with trio.fail_after(3):
        await source.stop()
        await sink.stop()


async def test_a_write_under_way_gets_a_grace_when_the_sink_is_stopped(own_broker, monkeypatch):
    servers, process = own_broker
    monkeypatch.setattr("queue_connector.connectors.kafka.writer.FLUSH_GRACE", 0.5)
    remembered: list[EndpointError] = []  # with its traceback, as a group keeps its fault
    sink = make_sink(servers, "t")
    await sink.start()
    await sink.awrite(0)
    freeze(process.pid)
    async with trio.open_nursery() as nursery:

        async def write() -> None:
            try:
                await sink.awrite(1)
            except EndpointError as error:
                remembered.append(error)

        nursery.start_soon(write)
        await trio.testing.wait_all_tasks_blocked()
        with trio.fail_after(3):
            await sink.stop()
    assert "acknowledged" in str(remembered[0])
    assert librdkafka_threads() == []


async def test_stop_ends_a_receive_that_waits_and_what_was_taken_is_handed_over(broker, topic):
    services = Services()
    source = make_source(broker, topic, services=services)
    async with make_sink(broker, topic) as sink:
        await source.start()
        await sink.awrite_batch(Delivery(range(10)))
        await arrived(services, 10)
        with trio.fail_after(LIMIT):
            assert await source.receive() == 0
        await source.stop()
        await source.stop()
        assert (await source.receive_batch()).values == list(range(1, 10))
        with pytest.raises(trio.EndOfChannel):
            await source.receive_batch()

        await source.start()
        async with trio.open_nursery() as nursery:

            async def wait() -> None:
                with pytest.raises(trio.EndOfChannel):
                    await source.receive_batch()

            nursery.start_soon(wait)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(1):
                await source.stop()


@pytest.mark.parametrize("small", [0, source_module.SMALL], ids=["worker", "loop"])
async def test_a_batch_that_is_slow_to_decode_is_handed_over_in_parts(
    broker, topic, monkeypatch, small
):
    monkeypatch.setattr(source_module, "SMALL", small)
    monkeypatch.setattr(source_module, "LOOP_BUDGET", 0.0)
    monkeypatch.setattr(source_module, "DECODE_BUDGET", 0.0)
    monkeypatch.setattr(source_module, "TOGETHER", 1)
    services = Services()
    source = make_source(broker, topic, services=services)
    async with make_sink(broker, topic) as sink:
        await source.start()
        await sink.awrite_batch(Delivery(range(100)))
        await arrived(services, 100)
        assert await receive(source, 1) == [0]
        await source.stop()
        assert await receive(source, 99) == list(range(1, 100))
        with pytest.raises(trio.EndOfChannel):
            await source.receive_batch()


async def test_small_messages_are_decoded_many_at_a_time(broker, topic, monkeypatch):
    calls = []

    def count(codec, payloads, spec):
        calls.append(len(payloads))
        return decode_batch(codec, payloads, spec)

    decode_batch = Codec.decode_batch
    monkeypatch.setattr(Codec, "decode_batch", count)
    source = make_source(broker, topic)
    async with make_sink(broker, topic) as sink, source:
        await sink.awrite_batch(Delivery(range(1000)))
        assert await receive(source, 1000) == list(range(1000))
    assert sum(calls) == 1000
    assert len(calls) < 200, "how many are there together depends on the broker"


async def test_messages_of_a_few_kilobytes_are_one_batch_as_long_as_decoding_takes_no_time(
    broker, topic, monkeypatch
):
    monkeypatch.setattr(source_module, "LOOP_BUDGET", LIMIT)
    services = Services()
    source = make_source(broker, topic, DataSpec("str"), encoding="utf-8", services=services)
    texts = ["x" * 8000] * 50 + ["y" * (source_module.SMALL + 1)] * 2
    async with source:
        produce(broker, topic, [text.encode() for text in texts])
        await arrived(services, 52)
        batches = [(await source.receive_batch()).values for _ in range(2)]
    assert batches == [texts[:50], texts[50:]], "what is large is not decoded on the Trio loop"


async def test_a_source_resumes_where_another_one_stopped(broker, topic):
    async with make_sink(broker, topic) as sink:
        first, second = make_source(broker, topic), make_source(broker, topic)
        async with first:
            await sink.awrite_batch(Delivery(range(10)))
            assert await receive(first, 10) == list(range(10))
        await sink.awrite_batch(Delivery(range(10, 20)))
        second.resume(first.positions())
        async with second:
            assert await receive(second, 10) == list(range(10, 20))


async def test_offsets_that_retention_took_are_counted_and_skipped(broker, topic):
    kilobyte = b"%1000d"
    produce(broker, topic, [kilobyte % number for number in range(8000)])
    services = Services()
    source = make_source(broker, topic, services=services)
    source.resume({0: 0})
    async with source:
        with trio.fail_after(LIMIT):
            first = (await source.receive_batch()).values[0]
    assert first > 0
    assert services.account.upstream == {partitions.SKIPPED_BY_RETENTION: first}


async def test_a_position_beyond_the_end_means_that_the_topic_was_made_again(broker, topic):
    produce(broker, topic, [b"0", b"1"])
    services = Services()
    source = make_source(broker, topic, services=services)
    source.resume({0: 500})
    async with source:
        assert await receive(source, 2) == [0, 1]
    assert services.account.upstream == {partitions.TOPIC_MADE_AGAIN: 1}


async def test_nobody_there_is_said_once_and_can_be_cancelled(topic, caplog, capfd):
    log = logging.getLogger("test")
    caplog.set_level(logging.DEBUG, "test")
    services = Services(log=log)
    source, sink = (make(NOBODY, topic, services=services) for make in (make_source, make_sink))
    start = trio.current_time()
    with trio.move_on_after(0.8) as scope:
        await source.start()
    assert scope.cancelled_caught
    assert trio.current_time() - start < 1.8
    await source.stop()
    caplog.clear()
    with trio.fail_after(3):
        await sink.start()
    with trio.move_on_after(0.8) as scope:
        await sink.awrite(1)
    assert scope.cancelled_caught
    with trio.fail_after(2):
        await sink.stop()
    assert librdkafka_threads() == []
    lines = [record.getMessage() for record in caplog.records]
    assert any("Connection refused" in line and NOBODY in line for line in lines)
    assert len(lines) == len(set(lines)) < 8
    assert capfd.readouterr().err == ""


async def test_nothing_is_left_after_stop(broker, topic):
    process = psutil.Process()
    async with make_sink(broker, topic) as sink, make_source(broker, topic) as source:
        await sink.awrite(1)
        assert await receive(source, 1) == [1]
        assert librdkafka_threads() != []
    assert librdkafka_threads() == []
    before = process.num_fds()
    for _ in range(5):
        async with make_sink(broker, topic) as sink, make_source(broker, topic) as source:
            with trio.move_on_after(0.01):
                await source.receive_batch()
    assert librdkafka_threads() == []
    assert process.num_fds() <= before


async def test_stop_without_start_is_fine():
    await make_source(NOBODY, "t").stop()
    await make_sink(NOBODY, "t").stop()
