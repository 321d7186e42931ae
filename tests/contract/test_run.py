"""``queue-connector run``: a configuration in a process of its own, with no Tango device."""

import json
import signal

import pytest

from tests.device.processes import process
from tests.support.kafka_topics import produce, read_all


def configuration(directory, *exchanges):
    file = directory / "configuration.json"
    file.write_text(json.dumps({"exchanges": list(exchanges)}))
    return str(file)


def in_memory(data, sink, **more):
    return {"source": {"type": "InMemorySource", "data": data}, "sink": sink, **more}


def between(servers, sink_topic="to", **sink):
    end = {"servers": servers, "encoding": "bytes"}
    source = {"type": "KafkaConsumerSource", "topic": "from", "start": "earliest", **end}
    target = {"type": "KafkaProducerSink", "topic": sink_topic, **end, **sink}
    return {"dtype": "bytes", "source": source, "sink": target}


def test_it_ends_when_all_sources_have_and_sums_up(tmp_path):
    sink = {"type": "InMemorySink", "key": "k"}
    with process(tmp_path, "run", configuration(tmp_path, in_memory(["a", "b"], sink))) as running:
        assert running.ends() == 0
    words = running.out.split()
    assert words[words.index("default[0]") + 1 :][:2] == ["2", "2"]
    assert "balances" in running.out


def test_what_fails_is_told_and_counted(tmp_path, own_broker):
    servers, _ = own_broker
    produce(servers, "from", [b"1", b"one", b"2"], partition=0)
    exchange = between(servers) | {"dtype": "int64", "sink": {"type": "InMemorySink", "key": "k"}}
    exchange["source"]["encoding"] = "json"
    with process(tmp_path, "run", "--json", configuration(tmp_path, exchange)) as running:
        assert running.ends() == 1
    told = json.loads(running.out)["default[0]"]
    assert told["failed"] == 1
    assert told["received"] == told["delivered"] + 1
    assert "default[0] at from[0]@1: cannot decode 3 B as 'json' to int64" in running.err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_in_order_with_all_that_is_in_flight(tmp_path, own_broker, number):
    servers, _ = own_broker
    produce(servers, "from", [b"%d" % each for each in range(1000)])
    with process(tmp_path, "run", configuration(tmp_path, between(servers))) as running:
        running.until(lambda: any(read_all(servers, "to").values()))
        running.signal(number)
        assert running.ends() == 0
    arrived = sum(map(len, read_all(servers, "to").values()))
    received, delivered = running.out.split("default[0]")[1].split()[:2]
    assert received == delivered == str(arrived)
    assert f"{signal.Signals(number).name}: ending in order" in running.err


def test_a_second_ctrl_c_ends_it_at_once(tmp_path, own_broker):
    servers, broker = own_broker
    produce(servers, "from", [b"x"])
    with process(tmp_path, "run", configuration(tmp_path, between(servers))) as running:
        running.until(lambda: any(read_all(servers, "to").values()))
        broker.suspend()  # what is in flight is not going to be taken
        try:
            running.signal(signal.SIGINT)
            running.until(lambda: "ending in order" in running.err)
            running.signal(signal.SIGINT)
            assert running.ends(5) == 130
        finally:
            broker.resume()


def test_it_may_end_after_a_time(tmp_path, own_broker):
    servers, _ = own_broker
    file = configuration(tmp_path, between(servers))
    with process(tmp_path, "run", "--seconds", "0.5", file) as running:
        assert running.ends() == 0
    assert "balances" in running.out


def test_attributes_of_a_device_are_refused_and_faults_are_named(tmp_path):
    sink = {"type": "TangoLocalAttributeSink", "attribute_name": "a"}
    with process(tmp_path, "run", configuration(tmp_path, in_memory(["x"], sink))) as running:
        assert running.ends() == 1
    assert "default[0]: the attribute 'a' needs a Tango device to be of" in running.err
    assert "use queue-connector serve" in running.err
    with process(tmp_path, "run", configuration(tmp_path, in_memory(["x"], {}))) as running:
        assert running.ends() == 1
    assert "$.exchanges[0].sink.type" in running.err
