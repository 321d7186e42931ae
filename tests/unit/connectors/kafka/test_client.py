"""What librdkafka says is logged once for each reason."""

from __future__ import annotations

import logging

import pytest
from confluent_kafka import KafkaError

from queue_connector.connectors.kafka import client


@pytest.fixture
def trouble(caplog):
    caplog.set_level(logging.DEBUG, "kafka")
    return client.Trouble(logging.getLogger("kafka"), "topic")


def test_a_reason_is_said_once_until_it_is_over(trouble, caplog, monkeypatch):
    for milliseconds in range(3):
        trouble.report(f"refused after {milliseconds} ms")
        trouble.over()  # another broker answers
    monkeypatch.setattr(client, "_CALM", -1.0)
    trouble.over()
    trouble.over()
    trouble.report("refused after 9 ms")
    assert caplog.messages == [
        "topic: refused after 0 ms",
        "topic: reached again",
        "topic: refused after 9 ms",
    ]


def test_errors_and_log_lines_of_the_client_come_here(trouble, caplog):
    settings = trouble.settings()
    settings["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN))
    settings["logger"].log(50, "%s [%s] %s", "FAIL", "rdkafka#producer-1", "no route")
    assert caplog.messages[0].startswith("topic: ")
    assert "_ALL_BROKERS_DOWN" in caplog.messages[0]
    assert caplog.messages[1] == "topic: FAIL no route"
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_the_reasons_that_are_remembered_are_bounded(trouble, caplog):
    for number in range(1000):
        trouble.report("x" * number)
    assert len(caplog.messages) == 100
