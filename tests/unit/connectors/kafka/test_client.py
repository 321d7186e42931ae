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
    settings["error_cb"](KafkaError(KafkaError._ALL_BROKERS_DOWN))  # tells nothing that is new
    settings["error_cb"](KafkaError(KafkaError._TRANSPORT))
    settings["logger"].log(50, "%s [%s] %s", "FAIL", "rdkafka#producer-1", "no route")
    assert caplog.messages[0].startswith("topic: ")
    assert "_TRANSPORT" in caplog.messages[0]
    assert caplog.messages[1] == "topic: FAIL no route"
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_the_reasons_that_are_remembered_are_bounded(trouble, caplog):
    for number in range(1000):
        trouble.report("x" * number)
    assert len(caplog.messages) == 100


VERIFY = "SSL handshake failed: error:0A000086:SSL routines::certificate verify failed: broker c"
ALERT = "Receive failed: error:0A000412:SSL routines::ssl/tls alert bad certificate: SSL alert 42"
UNKNOWN_CA = "Receive failed: error:0A000418:SSL routines::tlsv1 alert unknown ca"
HANDSHAKE = "SASL SCRAM-SHA-512 mechanism handshake failed: {}: broker's supported mechanisms: {}"
STOPPED = HANDSHAKE.format("Local: Broker transport failure", "(n/a) (after 0ms in state DOWN)")
UNSUPPORTED = HANDSHAKE.format("Broker: Unsupported SASL mechanism", "PLAIN")
NO_TOKEN = "Failed to acquire SASL OAUTHBEARER token: Connection refused"


@pytest.mark.parametrize(
    ("code", "text", "refused"),
    [
        (KafkaError._AUTHENTICATION, "SASL authentication error: Invalid credentials", True),
        (KafkaError.SASL_AUTHENTICATION_FAILED, "", True),
        (KafkaError._SSL, VERIFY, True),
        (KafkaError._TRANSPORT, ALERT, True),
        (KafkaError._TRANSPORT, UNKNOWN_CA, True),
        (KafkaError._AUTHENTICATION, UNSUPPORTED, True),
        (KafkaError._AUTHENTICATION, NO_TOKEN, False),
        (KafkaError._AUTHENTICATION, STOPPED, False),
        (KafkaError._SSL, "SSL handshake failed: Disconnected", False),
        (KafkaError._TRANSPORT, "Connect to ipv4#127.0.0.1:9092 failed: Connection refused", False),
        (KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down", False),
    ],
)
def test_a_refusal_is_told_from_an_outage(trouble, monkeypatch, code, text, refused):
    monkeypatch.setattr(client, "REFUSAL_GRACE", -1.0)
    trouble.settings()["error_cb"](KafkaError(code, text))
    assert trouble.refused is refused


def test_a_refusal_lasts_until_a_broker_has_answered_and_has_its_grace(trouble, monkeypatch):
    on_error = trouble.settings()["error_cb"]
    on_error(KafkaError(KafkaError._TRANSPORT, "certificate verify failed"))
    on_error(KafkaError(KafkaError._SSL, VERIFY))
    on_error(KafkaError(KafkaError._ALL_BROKERS_DOWN, "1/1 brokers are down"))
    on_error(KafkaError(KafkaError._TRANSPORT, ALERT[-60:]))
    assert trouble.refusal.str() == VERIFY
    assert not trouble.refused
    monkeypatch.setattr(client, "REFUSAL_GRACE", -1.0)
    assert trouble.refused
    trouble.over()
    assert not trouble.refused


def test_what_librdkafka_says_of_repetitions_makes_no_new_reason(trouble, caplog):
    for end in ("", ", 1 identical error(s) suppressed", ", 30 identical error(s) suppressed"):
        trouble.report(f"verify failed (after 1ms in state SSL_HANDSHAKE{end}) (_SSL)")
    assert len(caplog.messages) == 1
