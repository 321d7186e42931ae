"""The timestamps of messages as a broker keeps them."""

from __future__ import annotations

import time

import numpy as np
import trio
from confluent_kafka import TIMESTAMP_CREATE_TIME, Consumer, TopicPartition

from queue_connector.connectors.kafka.timestamps import TimestampError, TimestampOptions
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.delivery import Delivery
from tests.support.kafka_topics import make_sink

NEW_YEAR = 1_767_225_600_000  # 2026-01-01T00:00:00 UTC
LIMIT = 15.0


def timestamps(servers, topic, count):
    """Of the first messages in partition order, as the broker tells them."""
    consumer = Consumer(
        {"bootstrap.servers": servers, "group.id": "tests", "fetch.wait.max.ms": 10, "log_level": 0}
    )
    found = []
    try:
        partitions = consumer.list_topics(topic, LIMIT).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        deadline = time.monotonic() + LIMIT
        while len(found) < count:
            assert time.monotonic() < deadline, found
            message = consumer.poll(0.1)
            if message is not None and message.error() is None:
                kind, milliseconds = message.timestamp()
                assert kind == TIMESTAMP_CREATE_TIME
                found.append(milliseconds)
    finally:
        consumer.close()
    return found


async def write(servers, topic, dtype, shape, data, **options):
    sink = make_sink(
        servers,
        topic,
        DataSpec(dtype, shape),
        encoding="npy",
        timestamp_options=TimestampOptions(**options),
    )
    delivery = Delivery(data)
    async with sink:
        with trio.fail_after(LIMIT):
            await sink.awrite_batch(delivery)
    return delivery


async def test_a_number_is_the_timestamp_to_the_millisecond(broker, topic):
    data = [NEW_YEAR + number for number in (0, 1, 999, -1)] + [1, 2**40]
    await write(broker, topic, "int64", (), data)
    assert timestamps(broker, topic, len(data)) == data


async def test_datetime64_is_converted_from_tai_to_utc(broker, topic):
    data = [
        np.datetime64("2026-01-01T00:00:37.123456789"),
        np.datetime64("2016-12-31T23:59:59", "ns"),
        np.datetime64("2017-01-01T00:00:36.5", "ns"),  # inside the leap second
    ]
    await write(broker, topic, "datetime64[ns]", (), data)
    expected = [NEW_YEAR + 123, 1_483_228_763_000, 1_483_228_800_500]
    assert timestamps(broker, topic, 3) == expected


async def test_the_first_of_a_window_of_structs(broker, topic):
    spec = DataSpec([["antenna_name", "U8"], ["ts", "datetime64[ns]"]])
    window = np.zeros(3, spec.dtype)
    window["ts"] = np.datetime64("2026-01-01T00:00:37") + np.arange(3).astype("m8[s]")
    await write(broker, topic, spec.dtype, (-1,), [window], key="ts", slices=[0])
    await write(broker, topic, spec.dtype, (-1,), [window], key="ts", reducer="mean")
    assert timestamps(broker, topic, 2) == [NEW_YEAR, NEW_YEAR + 1000]


async def test_a_datum_without_a_time_is_refused_alone_and_never_becomes_now(broker, topic):
    delivery = await write(broker, topic, "float64", (), [1.0, 0.0, float("nan"), -5.0, 2.0])
    assert delivery.accepted == [True, False, False, False, True]
    assert all(isinstance(error, TimestampError) for error in delivery.refused.values())
    assert "0 would become now" in str(delivery.refused[1])
    assert timestamps(broker, topic, 2) == [1, 2]


async def test_without_options_the_timestamp_is_now(broker, topic):
    before = time.time_ns() // 1_000_000
    async with make_sink(broker, topic) as sink:
        with trio.fail_after(LIMIT):
            await sink.awrite(7)
    [found] = timestamps(broker, topic, 1)
    assert before <= found <= time.time_ns() // 1_000_000
