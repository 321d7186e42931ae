"""Six situations in which a stream does not flow: one command says why, and what to do."""

import json
import re
import time

import pytest

from queue_connector.cli import main
from queue_connector.demo.embedded_broker import embedded_broker
from tests.device.connector import connector
from tests.device.servers import server
from tests.device.test_tools import from_topic
from tests.support.kafka_topics import produce
from tests.support.waiting import eventually


def told_by(capsys, *command):
    """What a command prints; its status is 1, as something is wrong."""
    status = main(list(command))
    told = capsys.readouterr().out
    assert status == 1, told
    return told


def explained(running, capsys, words, *name):
    """What ``explain`` says, once it is what is looked for: a device finds it out in a moment."""
    command = ["explain", running.device_name, *name]

    def look():
        main(command)
        told = capsys.readouterr().out
        return told if re.search(words, told) else ""

    return eventually(look, 30, lambda: main(command) and capsys.readouterr().out)


@pytest.fixture(scope="module")
def broker():
    with embedded_broker(["empty", "words"]) as servers:
        yield servers


def config(*exchanges):
    return {"exchanges": list(exchanges)}


def test_a_topic_without_data(tmp_path, broker, capsys):
    with connector(tmp_path, config(from_topic(broker, "empty"))) as running:
        told = explained(running, capsys, "the topic is empty: nobody has written to it yet")
        assert told.startswith("what keeps data from flowing:")


def test_a_source_device_that_is_dead(tmp_path, capsys):
    with server("tests.device.source_device") as source:
        device = source.device_name
    subscription = {
        "type": "TangoSubscriptionSource",
        "device_name": device,
        "attribute_name": "DevDouble_SCALAR",
        "stateless": True,
    }
    exchange = {
        "dtype": "float64",
        "source": subscription,
        "sink": {"type": "InMemorySink", "key": "dead"},
    }
    with connector(tmp_path, config(exchange)) as running:
        explained(running, capsys, rf"waits for the subscription to {re.escape(device)}/DevDouble")
    file = tmp_path / "dead.json"
    file.write_text(json.dumps(config(exchange)))
    told = told_by(capsys, "doctor", str(file))
    assert "start its server" in told


def test_a_payload_that_cannot_be_decoded(tmp_path, broker, capsys):
    exchange = from_topic(broker, "words") | {"on_error": "fault"}
    with connector(tmp_path, config(exchange)) as running:
        eventually(lambda: running.groups()["default"]["state"] == "ON", 20)
        produce(broker, "words", [b"hot"])
        told = explained(running, capsys, "FAULT")
        assert re.search(r"default\[0\] at words\[\d\]@0: cannot decode 3 B as 'json'", told)
        assert "the commands Reset, Configure and Start begin anew" in told


def test_a_broker_that_is_down(tmp_path, capsys):
    exchange = from_topic("127.0.0.1:1", "any")
    with connector(tmp_path, config(exchange)) as running:
        explained(running, capsys, "waits for Kafka at 127.0.0.1:1 since .*Connection refused")
    file = tmp_path / "down.json"
    file.write_text(json.dumps(config(exchange)))
    assert "start it, or mend servers" in told_by(capsys, "doctor", str(file))


def test_a_sink_that_is_slow(tmp_path, capsys):
    with server("tests.device.target_device") as target:
        target.ask("delay", 0.5)
        exchange = {
            "dtype": "float64",
            "source": {"type": "InMemorySource", "data": [1.0] * 2000, "delay": 0.001},
            "sink": {
                "type": "TangoRemoteAttributeSink",
                "device_name": target.device_name,
                "attribute_name": "DevDouble_SCALAR",
            },
        }
        with connector(tmp_path, config(exchange)) as running:
            explained(running, capsys, r"sink TangoRemoteAttributeSink.* takes data more slowly")
            target.ask("delay", 0.0)


def test_a_configuration_database_that_is_gone(monkeypatch, capsys):
    monkeypatch.setenv("SDP_CONFIG_HOST", "127.0.0.1")
    monkeypatch.setenv("SDP_CONFIG_PORT", "1")
    began = time.monotonic()
    told = told_by(capsys, "doctor")
    assert re.search(r"WAITS the configuration database.*", told)
    assert "mend the SDP_CONFIG_ variables" in told
    assert time.monotonic() - began < 30
