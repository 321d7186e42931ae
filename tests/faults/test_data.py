"""Data that cannot be used, under each error policy, in a stream that flows."""

from __future__ import annotations

import datetime
import time

import pytest
from confluent_kafka import Consumer, TopicPartition

from queue_connector.connectors.kafka.consumer_source import MAX_BATCH
from queue_connector.connectors.kafka.subscription import MAX_WAITING
from tests.faults.guarantees import Account, add_bad, check_pair, check_streaming
from tests.faults.rig import KAFKA_ROUTES, ROUTES, Rig, eventually, routes_to
from tests.services.kafka import create_topic

HALF = 50_000
POISON = b"\xff\x00 no number"
TO_KAFKA = [route for route in KAFKA_ROUTES if route.sink == "kafka"]


def dead_letters(servers: str, topic: str, count: int) -> list[tuple[bytes, dict[str, str]]]:
    """Values and headers of a topic that holds *count* messages, and no more."""
    consumer = Consumer({"bootstrap.servers": servers, "group.id": "dead", "log_level": 0})
    try:
        partition = TopicPartition(topic, 0, 0)
        assert consumer.get_watermark_offsets(partition, 10.0) == (0, count)
        consumer.assign([partition])
        found = consumer.consume(count, 10.0)
        return [
            (message.value(), {name: value.decode() for name, value in message.headers()})
            for message in found
        ]
    finally:
        consumer.close()


def policy(name: str, rig: Rig) -> object:
    if name != "dead_letter":
        return name
    create_topic(rig.servers, f"dead-{rig.run}")
    return {"type": name, "servers": rig.servers, "topic": f"dead-{rig.run}"}


def feed_poisoned(rig: Rig) -> None:
    """One message among 100,000, as fast as the broker takes them."""
    rig.kafka.give(HALF)
    rig.kafka.put(POISON)
    rig.kafka.give(HALF)
    rig.kafka.pause()


@pytest.mark.parametrize("name", ["skip", "dead_letter"])
def test_one_bad_message_in_100_000_is_left_out(name, kafka, publish):
    rig = Rig(kafka.bootstrap_servers, routes=TO_KAFKA)
    rig.keys["on_error"] = policy(name, rig)
    with rig:
        feed_poisoned(rig)
        rig.settle()
        check_streaming(rig)
        rig.feed()  # the stream goes on
        rig.settle()
        (account,) = add_bad(rig.rows(f"corrupt payload, 1 in 100,000: {name}", 0.0), 1)
        publish({"": account})
        check_pair(account)
        told = {"skip": "skipped", "dead_letter": "dead-lettered"}[name]
        assert account.row.counted == {"failed": 1, told: 1}
        assert account.row.lost == 1
    if name == "dead_letter":
        ((value, headers),) = dead_letters(kafka.bootstrap_servers, f"dead-{rig.run}", 1)
        assert value == POISON
        about = {key.removeprefix("queue_connector."): text for key, text in headers.items()}
        assert about["exchange"] == "kafka_to_kafka[0]"
        assert about["error"] == "DecodeError"
        assert about["path"] == "$.source"
        assert about["position"] == f"{rig.input_topic}[0]@{HALF}"
        assert "int64" in about["message"]
        when = datetime.datetime.fromisoformat(about["time"]).timestamp()
        assert time.time() - 60 < when < time.time()


def test_one_bad_message_in_100_000_stops_its_group(kafka, publish):
    """All before it are delivered; told to skip it, the group goes on where it was."""
    with Rig(kafka.bootstrap_servers, routes=TO_KAFKA) as rig:
        feed_poisoned(rig)
        eventually(lambda: rig.connector.states() == {"kafka_to_kafka": "FAULT"}, rig.report)
        check_streaming(rig, {"kafka_to_kafka": "FAULT"})
        fault = rig.connector.groups()["kafka_to_kafka"]["fault"]["message"]
        assert f"{rig.input_topic}[0]@{HALF}" in fault, fault
        # The state tells of the fault at once, while what was taken in is being delivered.
        eventually(lambda: not rig.take_statistics()["kafka_to_kafka[0]"]["in_flight"], rig.report)
        ledger = rig.take_statistics()["kafka_to_kafka[0]"]
        assert ledger["failed"] == 1
        assert ledger["delivered"] >= HALF
        (account,) = add_bad(rig.rows("corrupt payload, 1 in 100,000: fault", 0.0), 1)
        assert min(account.lost) > HALF  # of the numbers before, all came out
        publish({"": account})
        rig.keys["on_error"] = "skip"
        rig.reconfigure()
        rig.feed()
        rig.settle()
        (account,) = add_bad(
            rig.rows("corrupt payload, 1 in 100,000: fault, then told to skip", 0.0), 1
        )
        publish({"": account})
        check_pair(account, repeats=True)
        # Its position stands, so what came with it and what waited behind it comes again.
        most = HALF + MAX_BATCH + MAX_WAITING + MAX_BATCH  # one burst more than may wait
        least = HALF - MAX_BATCH  # a batch that holds the bad one comes again as a whole
        assert all(least < number < most for number in account.repeated)


@pytest.mark.parametrize("name", ["skip", "dead_letter"])
def test_oversize_message(name, kafka, publish):
    """Too large for ``message_max_bytes``, and too large for the topic."""
    large, larger = b"x" * 200_000, b"y" * 2_000_000
    rig = Rig(
        kafka.bootstrap_servers,
        routes=TO_KAFKA,
        dtype="str",
        output_settings={"max.message.bytes": "100000"},
    )
    rig.keys["on_error"] = policy(name, rig)
    with rig:
        rig.feed()
        over = time.time()
        rig.kafka.put(large, larger)
        rig.await_flow(over)
        rig.settle()
        check_streaming(rig)
        (account,) = add_bad(rig.rows(f"oversize message: {name}", over), 2)
        publish({"": account})
        check_pair(account)
        told = {"skip": "skipped", "dead_letter": "dead-lettered"}[name]
        assert account.row.counted == {"failed": 2, told: 2}
    if name == "dead_letter":
        found = dead_letters(kafka.bootstrap_servers, f"dead-{rig.run}", 2)
        # The larger one is refused here, the other by the broker, at whatever time that answers.
        assert sorted(value[:1] + b"%d" % len(value) for value, _ in found) == [
            b"x200000",
            b"y2000000",
        ]
        assert all(headers["queue_connector.path"] == "$.sink" for _, headers in found)


def test_other_device_refuses_some_values(kafka, publish):
    """Each value that is refused is skipped alone."""
    every = 50
    refused_routes = [route for route in ROUTES if route.sink == "remote"]
    with Rig(kafka.bootstrap_servers, routes=routes_to("remote"), keys={"on_error": "skip"}) as rig:
        rig.feed()
        rig.target.proxy().Refuse(every)
        begin = time.time()
        rig.await_flow(begin, count=4 * every)
        rig.target.proxy().Refuse(0)
        over = time.time()
        rig.await_flow(over)
        rig.settle()
        check_streaming(rig)
        accounts = rig.rows("other device refuses values: skip", over)
        publish(accounts)
        for route in refused_routes:
            account: Account = accounts[route.name]
            assert len(account.lost) >= 3
            assert all(number % every == 0 for number in account.lost)
            assert account.row.counted == {
                "failed": len(account.lost),
                "skipped": len(account.lost),
            }
            check_pair(account, outages=[(begin, over)])
