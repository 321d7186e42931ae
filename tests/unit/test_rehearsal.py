"""Test cases of configurations: what is given, what comes of it, and what is said of both."""

import base64
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from queue_connector.cli import main
from queue_connector.codecs import codecs
from queue_connector.model.datatypes import DataSpec

KAFKA = {"servers": "nowhere", "topic": "in"}


def exchange(source=None, sink=None, **more):
    source = {"type": "KafkaConsumerSource", "encoding": "json", **KAFKA} | (source or {})
    sink = sink or {"type": "TangoLocalAttributeSink", "attribute_name": "X"}
    return {"dtype": "float64", "source": source, "sink": sink, **more}


def to_topic(**more):
    return {"type": "KafkaProducerSink", **KAFKA, "topic": "out", "encoding": "json", **more}


@pytest.fixture
def outcome(tmp_path, capsys):
    """The lines about one case, without its first and last; its status."""

    def run(configuration, given, expect, **more):
        exchanges = [configuration] if "sink" in configuration else configuration
        case = {"name": "it", "given": given, "expect": expect}
        content = {"configuration": {"exchanges": exchanges}, "cases": [case], **more}
        file = tmp_path / "test.json"
        file.write_text(json.dumps(content))
        status = main(["test", str(file)])
        printed = capsys.readouterr()
        lines = printed.out.splitlines()
        told = [line.strip() for line in (lines[1:-1] or printed.err.splitlines()[1:])]
        assert (status == 0) is (not told)
        return told

    return run


@pytest.mark.parametrize(
    "content",
    [
        {"text": "2.5"},
        {"base64": base64.b64encode(b"2.5").decode()},
        {"json": 2.5},
        {"value": 2.5},
        {"file": "payload"},
    ],
    ids=lambda content: next(iter(content)),
)
def test_a_message_may_be_written_in_each_form(content, outcome, tmp_path):
    (tmp_path / "payload").write_bytes(b"2.5")
    given = [{"source": "in", **content}]
    assert outcome(exchange(), given, {"attributes": {"x": 2.5}}) == []
    assert outcome(exchange(sink=to_topic()), given, {"sinks": {"out": [content]}}) == []
    assert outcome(exchange(), given, {"attributes": {"x": 3.5}}) == [
        "the attribute x: expected 3.5, found 2.5"
    ]


def test_what_is_not_as_expected_is_told_with_its_number(outcome):
    given = [{"source": "in", "json": number} for number in (1, 2, 3)]
    told = outcome(exchange(sink=to_topic()), given, {"sinks": {"out": [{"json": 1}, {"json": 5}]}})
    assert told == [
        "the sink out: datum 1: expected 5, found 2.0",
        "the sink out: expected 2 in all, found 3, the first beyond them '3.0'",
    ]


def test_floating_point_numbers_are_compared_with_a_tolerance(outcome):
    given = [{"source": "in", "json": 0.1 + 0.2}]
    assert outcome(exchange(), given, {"attributes": {"X": 0.3}}) == []
    assert outcome(exchange(), given, {"attributes": {"X": 0.31}}, tolerance=0.02) == []
    assert outcome(exchange(), given, {"attributes": {"X": 0.3}}, tolerance=0) != []
    nan = exchange(dtype="float64", source={"encoding": "python"})
    given = [{"source": "in", "text": "nan"}]
    assert outcome(nan, given, {"attributes": {"x": float("nan")}}) == []


@pytest.mark.parametrize(
    "policy", ["fault", "skip", {"type": "dead_letter", **KAFKA, "topic": "d"}]
)
def test_what_cannot_be_used_fails_a_case_unless_it_is_expected(policy, outcome):
    given = [{"source": "in", "text": text} for text in ("1", "one", "2")]
    last = {"attributes": {"x": 1 if policy == "fault" else 2}}
    [told] = outcome(exchange(on_error=policy), given, last)
    assert told.startswith("an error: default[0]")
    assert "cannot decode 3 B as 'json'" in told
    assert (
        outcome(exchange(on_error=policy), given, {**last, "errors": ["cannot decode 3 B"]}) == []
    )
    told = outcome(exchange(), [], {"errors": ["cannot"]})
    assert told == ["expected an error with 'cannot', found none"]


def test_pipes_and_windows_run_on_a_time_of_their_own(outcome):
    window = {"type": "BufferWithTimePipe", "timespan": 3600.0}
    given = [
        {"source": "in", "json": 1},
        {"source": "in", "json": 2, "after": 3599},
        {"source": "in", "json": 3, "after": 1},
    ]
    expect = {"sinks": {"out": [{"json": [1, 2]}, {"json": [3]}]}}
    assert outcome(exchange(sink=to_topic(), pipe=window), given, expect) == []
    big = {"type": "FilterPipe", "condition": "@ > `1`"}
    expect = {"sinks": {"default[0].sink": [{"json": 2}, {"json": 3}]}}
    assert outcome(exchange(sink=to_topic(), pipe=big), given, expect) == []


def test_what_arrives_at_several_sources_comes_in_the_order_of_the_file(outcome):
    events = [
        {"type": "TangoSubscriptionSource", "device_name": f"a/b/{name}", "attribute_name": "x"}
        for name in "cd"
    ]
    both = exchange(sink=to_topic(), source=None) | {"source": events}
    order = "dcddccdcdc"
    given = [{"source": f"a/b/{name}/x", "value": number} for number, name in enumerate(order)]
    expect = {"sinks": {"out": [{"json": number} for number in range(len(order))]}}
    assert outcome(both, given, expect) == []


def test_every_exchange_that_reads_a_topic_gets_what_arrives_there(outcome):
    groups = {
        "a": [exchange()],
        "b": [exchange(sink={"type": "TangoLocalAttributeSink", "attribute_name": "Y"})],
    }
    given = [{"source": "in", "json": 1}, {"source": "b[0].source", "json": 2}]
    assert outcome(groups, given, {"attributes": {"x": 1, "Y": 2}}) == []


@pytest.mark.parametrize("encoding", [name for name in codecs if name not in ("bytes", "xarray")])
def test_a_value_is_written_and_read_in_each_encoding(encoding, outcome):
    codec = codecs.lookup(encoding)()
    dtype, value = ("float64", 2.5) if not codec.refusal(DataSpec("float64")) else ("str", "ab")
    both = exchange(source={"encoding": encoding}, sink=to_topic(encoding=encoding), dtype=dtype)
    given = [{"source": "in", "value": value}]
    assert outcome(both, given, {"sinks": {"out": [{"value": value}]}}) == []
    payload = base64.b64encode(codec.encode(np.dtype(dtype).type(value), DataSpec(dtype))).decode()
    assert outcome(both, given, {"sinks": {"out": [{"base64": payload}]}}) == []


def test_bytes_go_through_as_they_are(outcome):
    raw = exchange(sink=to_topic(encoding="json"), dtype="bytes")
    given = [{"source": "in", "text": "{"}]
    assert outcome(raw, given, {"sinks": {"out": [{"text": "{"}]}}) == []
    assert outcome(exchange(dtype="bytes"), given, {"attributes": {"x": "{"}}) == []


def test_parts_of_objects_and_arrays_reach_their_attributes(outcome):
    scatter = {
        "type": "TangoObjectScatterAttributeSink",
        "attributes": [
            {"attribute_name": "A", "dtype": "float64", "path": "a"},
            {"attribute_name": "b", "dtype": "str", "path": "b", "default_value": "none"},
        ],
    }
    given = [{"source": "in", "json": {"a": 1.5}}]
    expect = {"attributes": {"a": 1.5, "B": "none"}, "sinks": {"a": [{"value": 1.5}], "b": []}}
    assert outcome(exchange(sink=scatter, dtype="object"), given, expect) == []
    cut = {"type": "TangoArrayScatterAttributeSink", "attribute_names": ["l", "r"]}
    given = [{"source": "in", "json": [1, 2]}]
    assert outcome(exchange(sink=cut, shape=[2]), given, {"attributes": {"l": 1, "r": 2}}) == []


def test_timestamps_are_those_that_the_datum_has(outcome):
    stamped = to_topic(timestamp_options={})
    given = [{"source": "in", "json": 1712000000000}]
    expect = {"sinks": {"out": [{"json": 1712000000000, "timestamp": 1712000000000}]}}
    assert outcome(exchange(sink=stamped, dtype="int64"), given, expect) == []
    expect["sinks"]["out"][0]["timestamp"] = 1
    [told] = outcome(exchange(sink=stamped, dtype="int64"), given, expect)
    assert told == "the sink out: datum 0: expected the timestamp 1, found 1712000000000"


def test_what_a_remote_attribute_is_written_with_is_a_value(outcome):
    sink = {"type": "TangoRemoteAttributeSink", "device_name": "a/b/c", "attribute_name": "y"}
    given = [{"source": "in", "json": 1}]
    assert outcome(exchange(sink=sink), given, {"sinks": {"a/b/c/y": [{"value": 1}]}}) == []
    [told] = outcome(exchange(sink=sink), given, {"sinks": {"a/b/c/y": [{"json": 1}]}})
    assert "has values, and no messages (write value)" in told


def test_data_in_memory_need_not_be_given(outcome):
    memory = exchange() | {"source": {"type": "InMemorySource", "data": [1, 2], "delay": 600.0}}
    assert outcome(memory, [], {"sinks": {"x": [{"value": 1}, {"value": 2}]}}) == []


@pytest.mark.parametrize(
    ("given", "expect", "told"),
    [
        (
            [{"source": "inn", "json": 1}],
            {},
            "$.cases[0].given[0].source: no source is called 'inn'",
        ),
        ([{"source": "in"}], {}, "$.cases[0].given[0]: expected one of text, base64, file"),
        ([{"source": "in", "text": "1", "json": 1}], {}, "found text and json"),
        ([{"source": "in", "base64": "?"}], {}, "$.cases[0].given[0].base64: it is no base 64"),
        ([{"source": "in", "file": "none"}], {}, "$.cases[0].given[0].file: cannot be read"),
        ([{"source": "in", "after": -1, "text": ""}], {}, "expected at least 0"),
        ([], {"sinks": {"y": []}}, "$.cases[0].expect.sinks.y: no sink is called 'y' (known: x)"),
        (
            [],
            {"attributes": {"y": 1}},
            "$.cases[0].expect.attributes.y: no attribute is called 'y'",
        ),
        ([], {"more": 1}, "$.cases[0].expect.more: "),
    ],
)
def test_what_is_wrong_with_a_file_is_told_with_its_path(given, expect, told, outcome):
    assert told in "\n".join(outcome(exchange(), given, expect))


@pytest.mark.parametrize(
    ("configuration", "told"),
    [
        ("nowhere.json", "$.configuration: 'nowhere.json' cannot be read"),
        ({"exchanges": [{}]}, "$.configuration.exchanges[0]"),
        (1, "$.configuration: expected an object, or the path of a file"),
    ],
)
def test_a_configuration_that_cannot_be_used_is_told(configuration, told, tmp_path, capsys):
    file = tmp_path / "test.json"
    content = {"configuration": configuration, "cases": [{"name": "it", "expect": {}}]}
    file.write_text(json.dumps(content))
    assert main(["test", str(file)]) == 1
    assert told in capsys.readouterr().err


def test_two_cases_have_two_names(tmp_path, capsys):
    file = tmp_path / "test.json"
    case = {"name": "it", "expect": {}}
    content = {"configuration": {"exchanges": [exchange()]}, "cases": [case, case]}
    file.write_text(json.dumps(content))
    assert main(["test", str(file)]) == 1
    assert "$.cases[1].name: another case is called 'it' too" in capsys.readouterr().err


def test_what_does_not_end_is_cut_off(outcome):
    given = [{"source": "in", "json": 1}, {"source": "in", "json": 2, "after": 1e9}]
    told = outcome(exchange(), given, {"attributes": {"x": 1}})
    assert told == ["an error: it did not end within thirty days of its own time"]


def test_the_process_needs_no_client_and_tells_by_its_status(tmp_path):
    file = tmp_path / "test.json"
    content = {
        "configuration": {"exchanges": [exchange()]},
        "cases": [{"name": "it", "given": [], "expect": {"attributes": {"x": 0}}}],
    }
    file.write_text(json.dumps(content))
    script = """
import sys
from queue_connector.cli import main
status = main(sys.argv[1:])
print(status, [name for name in ("tango", "confluent_kafka", "httpx") if name in sys.modules])
"""

    def told(*arguments):
        done = subprocess.run(
            [sys.executable, "-c", script, "test", *arguments],
            capture_output=True,
            text=True,
            check=True,
            timeout=60,
        )
        return done.stdout

    assert told(str(file)) == f"{file}: it: passed\n{file}: 1 case, none failed\n0 []\n"
    content["cases"][0]["expect"] = {"attributes": {"x": 1}}
    file.write_text(json.dumps(content))
    *lines, last = told("--json", str(file)).splitlines()
    assert json.loads("".join(lines)) == {
        str(file): {"it": ["the attribute x: expected 1.0, found 0.0"]}
    }
    assert last == "1 []"


def test_words_are_tinted_at_a_real_terminal(tmp_path):
    file = tmp_path / "test.json"
    case = {"name": "it", "expect": {"attributes": {"x": 0}}}
    content = {"configuration": {"exchanges": [exchange()]}, "cases": [case]}
    file.write_text(json.dumps(content))
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    terminal, inside = os.openpty()
    command = [sys.executable, "-m", "queue_connector", "test", str(file)]
    subprocess.run(
        command, stdout=inside, env={**environment, "TERM": "xterm"}, check=True, timeout=60
    )
    assert b"it: \x1b[32mpassed\x1b[0m\r\n" in os.read(terminal, 4096)
    os.close(inside)
    os.close(terminal)
