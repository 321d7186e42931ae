"""The tool's commands that ask a running device."""

import io
import json
from importlib.metadata import version

import pytest
import tango

from queue_connector.cli import main
from queue_connector.demo.embedded_broker import embedded_broker
from tests.device.connector import connector
from tests.device.servers import server
from tests.support.kafka_topics import produce
from tests.support.waiting import eventually


def from_topic(servers, topic):
    source = {"type": "KafkaConsumerSource", "servers": servers, "topic": topic, "encoding": "json"}
    sink = {"type": "TangoLocalAttributeSink", "attribute_name": topic}
    return {"dtype": "int64", "on_error": "skip", "source": source, "sink": sink}


@pytest.fixture(scope="module")
def broker():
    with embedded_broker(["numbers", "empty"]) as servers:
        yield servers


@pytest.fixture(scope="module")
def device(broker, tmp_path_factory):
    groups = {
        "good": [from_topic(broker, "numbers"), from_topic(broker, "empty")],
        "bad": [from_topic("127.0.0.1:1", "away")],
    }
    with connector(tmp_path_factory.mktemp("device"), {"exchanges": groups}) as running:
        eventually(lambda: json.loads(running.proxy().groups)["good"]["state"] == "ON")
        yield running


def explained(device, capsys, *more):
    status = main(["explain", device.device_name, *more])
    return status, capsys.readouterr().out


def test_explain_tells_why_a_stream_does_not_flow_and_when_it_does(device, broker, capsys):
    status, told = explained(device, capsys, "good[0]")
    assert status == 1
    assert "good[0] source KafkaConsumerSource(numbers): the topic is empty" in told
    produce(broker, "numbers", [b"1", b"one"])
    eventually(lambda: explained(device, capsys, "good[0]")[0] == 0)
    _, told = explained(device, capsys, "good[0]")
    assert "good[0]: 2 received, 1 delivered; the last came " in told
    assert "good[0]: 1 datum could not be used: 1 skipped, 0 dead-lettered" in told
    status, told = explained(device, capsys, "good")
    assert status == 1
    assert "KafkaConsumerSource(empty): the topic is empty" in told
    _, told = explained(device, capsys, "--json")
    assert {reason["weight"] for reason in json.loads(told)} >= {"stops", "costs"}


def test_explain_names_the_peer_that_is_away(device, capsys):
    status, told = explained(device, capsys, "bad")
    assert status == 1
    assert told.splitlines()[0] == "what keeps data from flowing:"
    eventually(lambda: "waits for Kafka at 127.0.0.1:1" in explained(device, capsys, "bad")[1])


def test_explain_knows_no_other_group(device, capsys):
    with pytest.raises(SystemExit):
        main(["explain", device.device_name, "nobody"])
    assert "there is no group or exchange 'nobody'" in capsys.readouterr().err


def test_graph_draws_what_runs(device, capsys):
    assert main(["graph", "--running", device.device_name]) == 0
    told = capsys.readouterr().out
    assert "KafkaConsumerSource(numbers) ─→ TangoLocalAttributeSink(numbers)" in told
    assert main(["graph", "--running", device.device_name, "--format", "mermaid"]) == 0
    assert "the topic 'empty'" in capsys.readouterr().out
    assert device.proxy().state() == tango.DevState.OPEN


@pytest.fixture(scope="module")
def later():
    with server("tests.device.later_device") as running:
        yield running


@pytest.mark.parametrize(
    ("command", "consequence"),
    [
        (["graph", "--running"], "nothing was drawn"),
        (["plan", "-", "--device"], "nothing to compare"),
    ],
)
def test_a_device_of_another_version_is_told_of_in_a_sentence(
    later, command, consequence, monkeypatch, capsys
):
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"{}")))
    with pytest.raises(SystemExit) as ended:
        main([*command, later.device_name])
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert told.out == ""
    first, *faults, advice = told.err.splitlines()
    assert first.startswith(f"{later.device_name}: its configuration cannot be read here: 2 faults")
    assert first.endswith(consequence)
    assert [fault.split(":")[0].strip() for fault in faults] == [
        "$.exchanges.night[0].source.colour",
        "$.exchanges.night[0].sink.type",
    ]
    assert f"this tool is of version {version('queue-connector')}" in advice
    assert "--plugins" in advice


def test_explain_says_of_groups_in_another_form_that_they_are(later, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["explain", later.device_name])
    assert ended.value.code == 1
    told = capsys.readouterr()
    assert told.out == ""
    expected = f"{later.device_name}: tells its groups in another form: KeyError('state')"
    assert told.err == f"queue-connector: {expected}; use its version\n"


def doctor(tmp_path, capsys, *exchanges):
    file = tmp_path / "configuration.json"
    file.write_text(json.dumps({"exchanges": list(exchanges)}))
    status = main(["doctor", str(file)])
    return status, capsys.readouterr().out


def test_doctor_finds_all_well_where_all_is(tmp_path, broker, device, capsys):
    copy = from_topic(broker, "numbers")
    target = {"type": "KafkaProducerSink", "servers": broker, "topic": "empty", "encoding": "json"}
    events = {
        "type": "TangoSubscriptionSource",
        "device_name": device.device_name,
        "attribute_name": "numbers",
    }
    status, told = doctor(tmp_path, capsys, {**copy, "source": events, "sink": target})
    assert status == 0, told
    assert f"well  the topic 'empty' at {broker}: " in told
    assert f"well  the attribute {device.device_name}/numbers: DevLong64 SCALAR, and sends" in told
    assert "librdkafka" in told


def test_doctor_says_what_is_missing_and_what_to_do(tmp_path, broker, device, capsys):
    read_only = {
        "type": "TangoRemoteAttributeSink",
        "device_name": device.device_name,
        "attribute_name": "numbers",
    }
    nobody = {
        "type": "TangoSubscriptionSource",
        "device_name": "tango://127.0.0.1:1/a/b/c#dbase=no",
        "attribute_name": "x",
    }
    dead = {"type": "dead_letter", "servers": broker, "topic": "no-such-letters"}
    exchange = from_topic(broker, "no-such-topic") | {"on_error": dead}
    status, told = doctor(
        tmp_path,
        capsys,
        {**exchange, "sink": read_only},
        {**from_topic("127.0.0.1:1", "x"), "sink": {**read_only, "attribute_name": "none"}},
        {"dtype": "int64", "source": nobody, "sink": {"type": "InMemorySink", "key": "k"}},
    )
    assert status == 1
    lines = told.splitlines()

    def after(begin):
        (number,) = [n for n, line in enumerate(lines) if line.strip().startswith(begin)]
        return lines[number] + lines[number + 1]

    assert "it does not exist" in after(f"WAITS the topic 'no-such-topic' at {broker}")
    assert "make it" in after(f"WAITS the topic 'no-such-letters' at {broker}")
    assert "it cannot be written" in after(f"WRONG the attribute {device.device_name}/numbers")
    assert "it has " in after(f"WAITS the attribute {device.device_name}/none")
    assert "Connection refused" in after("WAITS Kafka at 127.0.0.1:1")
    assert "start it, or mend servers" in after("WAITS Kafka at 127.0.0.1:1")
    assert "start its server" in after("WAITS the device tango://127.0.0.1:1/a/b/c")


def test_doctor_looks_at_the_machine_alone(monkeypatch, capsys):
    monkeypatch.setenv("TANGO_HOST", "127.0.0.1:1")
    monkeypatch.setenv("SDP_CONFIG_HOST", "127.0.0.1")
    monkeypatch.setenv("SDP_CONFIG_PORT", "1")
    assert main(["doctor", "--json"]) == 1
    probes = {each["what"]: each for each in json.loads(capsys.readouterr().out)}
    assert probes["versions"]["problem"] == ""
    assert probes["the Tango database at 127.0.0.1:1"]["awaited"]
    assert probes["the configuration database"]["hint"] == "mend the SDP_CONFIG_ variables"
