"""Configurations in the field are read as what they meant, with a warning for each older word."""

import json

import pytest

from queue_connector.configuration import document

FIELD = {
    "exchanges": [
        {
            "dtype": "json",
            "source": {
                "type": "KafkaConsumerSource",
                "servers": "localhost:9092",
                "topic": "receiver-statistics",
                "encoding": "utf-8",
            },
            "sink": {
                "type": "TangoJsonScatterAttributeSink",
                "attributes": [
                    {"attribute_name": "receiver_state", "dtype": "str", "path": "state"}
                ],
            },
        }
    ]
}


def told(value):
    reading = document.examine(json.dumps(value))
    assert reading.faults == ()
    return reading.descriptor, [warning.path for warning in reading.warnings]


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("encoding", ["utf-8", None])
def test_a_json_scatter_as_it_stands_in_the_field(grouped, listed, encoding):
    (exchange,) = json.loads(json.dumps(FIELD["exchanges"]))
    at = "$.exchanges" + (".g[0]" if grouped else "[0]")
    source, place = exchange["source"], "[0]" if listed else ""
    if encoding is None:
        del source["encoding"]
    exchange["source"] = [source] if listed else source
    value = {"exchanges": {"g": [exchange]} if grouped else [exchange]}
    descriptor, paths = told(value)
    ((_, made),) = descriptor.placed()
    assert made.dtype == "object"
    assert made.sources[0].encoding == "json"
    assert paths == [f"{at}.dtype", f"{at}.source{place}.encoding", f"{at}.sink.type"]


def test_another_encoding_beside_it_stays():
    value = json.loads(json.dumps(FIELD))
    value["exchanges"][0]["source"]["encoding"] = "msgpack_numpy"
    descriptor, _ = told(value)
    ((_, made),) = descriptor.placed()
    assert made.sources[0].encoding == "msgpack_numpy"


def test_format_is_read_where_encoding_is():
    value = {
        "exchanges": [
            {
                "dtype": "object",
                "source": {
                    "type": "KafkaConsumerSource",
                    "servers": "a",
                    "topic": "t",
                    "format": "json",
                },
                "sink": {
                    "type": "KafkaProducerSink",
                    "servers": "a",
                    "topic": "u",
                    "format": "msgpack_numpy",
                },
            }
        ]
    }
    descriptor, paths = told(value)
    ((_, made),) = descriptor.placed()
    assert (made.sources[0].encoding, made.sinks[0].encoding) == ("json", "msgpack_numpy")
    assert paths == ["$.exchanges[0].source.format", "$.exchanges[0].sink.format"]
    value["exchanges"][0]["source"]["encoding"] = "json"
    (fault,) = document.examine(json.dumps(value)).faults
    assert fault.path == "$.exchanges[0].source.format"


def test_dtype_json_of_anything_else_is_refused_as_before():
    value = json.loads(json.dumps(FIELD))
    value["exchanges"][0]["sink"] = {"type": "InMemorySink", "key": "k"}
    (fault,) = document.examine(json.dumps(value)).faults
    assert fault.path == "$.exchanges[0].dtype"
    assert "'object'" in fault.hint


@pytest.mark.parametrize(
    "value",
    [
        {"exchanges": 1},
        {"exchanges": [1, None, []]},
        {"exchanges": {"g": 1}},
        {"exchanges": {"g": [{"source": [1, {"type": 5}], "dtype": ["json"]}]}},
        {"exchanges": [{"source": {"type": ["KafkaConsumerSource"], "format": 1}}]},
    ],
)
def test_whatever_stands_there_is_judged_and_not_raised(value):
    assert document.examine(json.dumps(value)).faults


def test_what_is_written_in_todays_words_is_not_touched():
    text = json.dumps({"exchanges": []})
    assert told(json.loads(text))[1] == []
