"""The examples of the documentation, unchanged but for the address of the broker."""

import json

import numpy as np
import pytest
from confluent_kafka import Producer

from queue_connector.demo.embedded_broker import embedded_broker
from tests.device.connector import Events, connector
from tests.device.servers import ROOT
from tests.support.waiting import eventually


def example(name, servers):
    text = (ROOT / "examples" / name).read_text()
    for default in ('"localhost:9092"', '"localhost"'):
        text = text.replace(default, json.dumps(servers))
    return json.loads(text)


@pytest.fixture(scope="module")
def broker():
    with embedded_broker() as servers:
        yield servers


def produce(servers, topic, *payloads):
    producer = Producer({"bootstrap.servers": servers})
    for payload in payloads:
        producer.produce(topic, payload, partition=0)
    assert producer.flush(10) == 0


def check_getting_started(directory, servers):
    with connector(directory, example("getting-started.json", servers)) as running:
        proxy = running.proxy()
        eventually(lambda: str(proxy.State()) == "ON", 30)
        events = Events(proxy, "message")
        produce(servers, "test_topic", b"Hello", b"world!")
        eventually(lambda: len(events.values) == 3, 30)
        assert events.values == ["", "Hello", "world!"]
        assert proxy.message == "world!"


def check_image(directory, servers):
    with connector(directory, example("image.json", servers)) as running:
        proxy = running.proxy()
        eventually(lambda: "matrix" in proxy.get_attribute_list())
        events = Events(proxy, "matrix")
        expected = [
            [[0, 0], [0, 1]],
            [[1, 2], [1, 2]],
            [[2, 2], [2, 2]],
            np.full((2, 2), 2.1, "float32").tolist(),
            [[2.5, 2.5], [2.5, 2.5]],
        ]
        eventually(lambda: events.values[-5:] == expected, 30)
        # What is read on subscribing is the default, or the first value if that was quicker.
        assert events.values[:-5] in ([], [[[0, 0], [0, 0]]])


def check_a_payload_that_does_not_decode(directory, servers, topic):
    exchange = {
        "dtype": "float64",
        "shape": [3],
        "source": {
            "type": "KafkaConsumerSource", "servers": servers, "topic": topic, "encoding": "json"
        },
        "sink": {"type": "TangoLocalAttributeSink", "attribute_name": "offsets"},
    }  # fmt: skip
    other = {
        **exchange,
        "source": {**exchange["source"], "topic": topic + "-other"},
        "sink": {"type": "TangoLocalAttributeSink", "attribute_name": "others"},
    }
    configuration = {"exchanges": {"one": [exchange], "two": [other]}}
    with connector(directory, configuration) as running:
        proxy = running.proxy()
        eventually(lambda: str(proxy.State()) == "ON", 30)
        events = Events(proxy, "offsets")
        eventually(lambda: events.values == [[0, 0, 0]])
        produce(servers, topic, b"[1, 2, 3]", b"[4, 5")
        eventually(lambda: str(proxy.State()) == "FAULT", 30)
        eventually(lambda: events.values == [[0, 0, 0], [1, 2, 3]])  # the good one comes after all
        fault = running.groups()["one"]["fault"]
        assert fault["error"] == "DecodeError"
        assert fault["message"].startswith(f"one[0] at {topic}[")
        assert "cannot decode 5 B as 'json' to float64[3]" in fault["message"]
        eventually(lambda: running.statistics()["one[0]"]["in_flight"] == 0)
        ledger = running.statistics()["one[0]"]
        assert (ledger["received"], ledger["delivered"], ledger["failed"]) == (2, 1, 1)
        produce(servers, topic + "-other", b"[7, 8, 9]")
        eventually(lambda: proxy.others.tolist() == [7, 8, 9], 30)


def test_getting_started(tmp_path, broker):
    check_getting_started(tmp_path, broker)


def test_image(tmp_path, broker):
    check_image(tmp_path, broker)


def test_a_payload_that_does_not_decode_faults_its_group_and_costs_nothing_else(tmp_path, broker):
    check_a_payload_that_does_not_decode(tmp_path, broker, "undecodable")
