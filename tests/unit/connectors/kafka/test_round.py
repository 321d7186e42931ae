"""A round is over when librdkafka has let go of all its messages: the real library, no broker."""

from __future__ import annotations

import gc
import weakref

import pytest
from confluent_kafka import KafkaError, Producer

from queue_connector.connectors.kafka.round import Round, Ticket

TOO_LARGE = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
TIMED_OUT = KafkaError(KafkaError._MSG_TIMED_OUT)


SETTINGS = {
    "bootstrap.servers": "127.0.0.1:1",
    "delivery.report.only.error": True,
    "linger.ms": 0,
    "log_level": 0,
}


@pytest.fixture
def mock_producer():
    return Producer({**SETTINGS, "test.mock.num.brokers": 1})


def produce(producer, payloads, failures):
    over = []
    ticket = Ticket(failures)
    reference = weakref.ref(ticket, over.append)
    for payload in payloads:
        producer.produce("t", payload, on_delivery=ticket.failed)
    return over, reference


@pytest.mark.parametrize("payloads", [[b"x"], [b"x"] * 1000, [None, b"", b"x" * 900_000]])
def test_the_library_lets_a_ticket_go_with_the_last_message_that_arrived(mock_producer, payloads):
    gc.disable()  # it has to go at once, not when somebody looks for circles
    try:
        failures = []
        over, reference = produce(mock_producer, payloads, failures)
        assert over == []
        assert mock_producer.flush(10) == 0
        assert over == [reference]
        assert failures == []
    finally:
        gc.enable()


def test_the_library_tells_of_each_message_that_failed_before_it_lets_the_ticket_go():
    failures, producer = [], Producer(SETTINGS)
    over, _ = produce(producer, [b"a", b"b"], failures)
    assert over == []
    producer.purge()
    producer.flush(10)
    assert len(over) == 1
    assert sorted(payload for _, payload in failures) == [b"a", b"b"]


def failed(payloads, failures, refused=()):
    batch = Round(None, payloads)
    batch.failures.extend(failures)
    batch.refused.update(refused)
    return batch.errors()


def test_what_failed_is_found_by_its_bytes():
    payloads = [b"a", b"b", b"c", b"b", None]
    errors = failed(payloads, [(TOO_LARGE, b"c"), (TIMED_OUT, b"b"), (TOO_LARGE, None)])
    assert errors == {2: TOO_LARGE, 1: TIMED_OUT, 4: TOO_LARGE}


def test_what_was_not_even_taken_is_none_of_those_that_were_reported():
    payloads = [b"a", b"b", b"a", b"c"]
    assert failed(payloads, [(TIMED_OUT, b"a")], {0: TOO_LARGE}) == {0: TOO_LARGE, 2: TIMED_OUT}


def test_where_all_failed_they_were_reported_in_order():
    errors = failed([b"a", b"a", b"b"], [(TIMED_OUT, b"a"), (TIMED_OUT, b"b")], {0: TOO_LARGE})
    assert errors == {0: TOO_LARGE, 1: TIMED_OUT, 2: TIMED_OUT}
