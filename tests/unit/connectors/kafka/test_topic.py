"""What a configuration may say of a topic, and what it may not."""

from __future__ import annotations

import pytest

from queue_connector.connectors.kafka.producer_sink import TooLargeError
from queue_connector.connectors.kafka.sharing import MAX_MESSAGE_BYTES
from queue_connector.connectors.kafka.sink import KafkaProducerSinkDescriptor
from queue_connector.connectors.kafka.source import KafkaConsumerSourceDescriptor
from queue_connector.connectors.kafka.topic import bootstrap_servers
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.endpoints import sinks, sources


def faults(spec=DataSpec("int64"), **options):  # noqa: B008  it is frozen
    given = {"servers": "localhost", "topic": "t", **options}
    descriptor = KafkaProducerSinkDescriptor(**given)
    return [(fault.path, fault.message, fault.hint) for fault in descriptor.faults(spec)]


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("localhost", "localhost:9092"),
        ("localhost:9093", "localhost:9093"),
        ("a, b:1", "a:9092,b:1"),
        (["a", "b:1"], "a:9092,b:1"),
        ("[::1]", "[::1]:9092"),
        ("[::1]:1", "[::1]:1"),
        ("SSL://kafka.example", "SSL://kafka.example:9092"),
        ("sasl_plaintext://a:1", "sasl_plaintext://a:1"),
    ],
)
def test_the_port_is_9092_unless_it_is_written(written, meant):
    assert bootstrap_servers(written) == meant
    assert faults(servers=written) == []


BAD_ADDRESSES = [
    *("", "a b", "a:", "a:b", "a,,b", "http:/x", "::1"),
    *("http://localhost:9092", "https://a", "kafka://a:1", "SSL://", "SASL://a", "SSL://b://a"),
]


@pytest.mark.parametrize("bad", BAD_ADDRESSES)
def test_what_is_no_address_is_a_fault(bad):
    assert [path for path, *_ in faults(servers=["good", bad])] == ["$.servers[1]"]


def test_a_port_out_of_range_is_a_fault():
    assert faults(servers="a:70000")[0][:2] == ("$.servers", "'a:70000' has no valid port")


@pytest.mark.parametrize("bad", [".", "..", "a b", "a/b", "ä", "x" * 250])
def test_a_topic_that_kafka_does_not_allow_is_a_fault(bad):
    assert [path for path, *_ in faults(topic=bad)] == ["$.topic"]


@pytest.mark.parametrize("good", ["a", "A-b_c.9", "x" * 249])
def test_a_topic_that_kafka_allows_is_none(good):
    assert faults(topic=good) == []


def test_an_encoding_that_is_misspelt_gets_a_proposal():
    ((path, message, hint),) = faults(encoding="jsn")
    assert (path, message) == ("$.encoding", "no encoding is called 'jsn'")
    assert hint == "did you mean 'json'?"


def test_null_is_no_encoding_but_for_bytes():
    assert [path for path, *_ in faults(encoding=None)] == ["$.encoding"]
    assert faults(DataSpec("bytes"), encoding=None) == []
    assert faults(DataSpec("bytes"), encoding="image/jpeg") == []


def test_an_encoding_that_does_not_carry_the_dtype_names_those_that_do():
    ((path, message, hint),) = faults(DataSpec("complex128"), encoding="json")
    assert path == "$.encoding"
    assert "json" in message
    assert "npy" in hint


def test_a_message_larger_than_kafka_can_send_is_a_fault():
    assert faults(message_max_bytes=MAX_MESSAGE_BYTES) == []
    assert [path for path, *_ in faults(message_max_bytes=10**9)] == ["$.message_max_bytes"]
    with pytest.raises(ValueError, match="message_max_bytes"):
        KafkaProducerSinkDescriptor(servers="a", topic="t", message_max_bytes=0)


def test_both_are_registered_with_the_defaults_of_the_specification():
    assert sources.lookup("KafkaConsumerSource") is KafkaConsumerSourceDescriptor
    assert sinks.lookup("KafkaProducerSink") is KafkaProducerSinkDescriptor
    sink = KafkaProducerSinkDescriptor(servers="a", topic="t")
    assert (sink.encoding, sink.message_max_bytes) == ("python", 1048576)


def test_too_large_says_how_large_and_what_is_allowed():
    error = TooLargeError("t", 5, "message_max_bytes is 4")
    assert str(error) == "a message of 5 B for the topic 't' is too large: message_max_bytes is 4"
