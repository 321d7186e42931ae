"""One thing that is wrong never hides another one of the same exchange."""

import copy

import pytest

from queue_connector.configuration.reading import MAX_GROUPS, read

EXCHANGE = {
    "dtype": "float64",
    "shape": [3],
    "source": [
        {"type": "KafkaConsumerSource", "servers": "a", "topic": "not a topic"},
        {"type": "TangoSubscriptionSource", "device_name": "ab", "attribute_name": "x"},
    ],
    "pipe": {"type": "DefaultPipe"},
    "sink": [
        {"type": "TangoLocalAttributeSink", "attribute_name": "not an attribute"},
        {"type": "KafkaProducerSink", "servers": "a", "topic": "t", "encoding": "jsno"},
    ],
    "on_error": {"type": "dead_letter", "servers": "a", "topic": "not/one"},
}
HIDDEN = {
    "$.exchanges[0].source[0].topic",
    "$.exchanges[0].source[1].device_name",
    "$.exchanges[0].sink[0].attribute_name",
    "$.exchanges[0].sink[1].encoding",
    "$.exchanges[0].on_error.topic",
}


def paths(exchange):
    reading = read({"exchanges": [exchange]})
    assert reading.descriptor is None
    found = [fault.path for fault in reading.faults]
    assert len(found) == len(set(found)), found
    return set(found)


def changed(key, value):
    exchange = copy.deepcopy(EXCHANGE)
    *way, last = key if isinstance(key, list) else [key]
    inner = exchange
    for part in way:
        inner = inner[part]
    inner[last] = value
    return exchange


def test_all_are_found_where_nothing_else_is_wrong():
    assert paths(EXCHANGE) == HIDDEN


@pytest.mark.parametrize(
    ("key", "value", "path"),
    [
        ("dtype", "flot64", ".dtype"),
        ("dtype", 5, ".dtype"),
        ("dtype", [["a", "nothing"]], ".dtype[0][1]"),
        ("shape", "wide", ".shape"),
        ("shape", [-1, -1], ".shape"),
        ("shape", [10**9, 10**9], ".shape"),
        ("labels", 5, ".labels"),
        ("labels", ["A"], ".labels"),
        ("pipe", {"type": "Pip"}, ".pipe.type"),
        ("pipe", {"type": "BufferWithTimePipe", "timespan": -1}, ".pipe.timespan"),
        ("buffer", 5, ".buffer"),
        ("more", 5, ".more"),
    ],
)
def test_a_part_that_cannot_be_read_hides_no_fault_of_the_others(key, value, path):
    assert paths(changed(key, value)) == HIDDEN | {f"$.exchanges[0]{path}"}


@pytest.mark.parametrize("end", ["source", "sink"])
@pytest.mark.parametrize("index", [0, 1])
def test_an_end_that_cannot_be_read_hides_no_fault_of_the_others(end, index):
    broken = paths(changed([end, index], {"type": "Nothing"}))
    own = f"$.exchanges[0].{end}[{index}]"
    assert broken == {p for p in HIDDEN if not p.startswith(own)} | {f"{own}.type"}


def test_an_end_that_is_missing_hides_no_fault_of_the_others():
    exchange = copy.deepcopy(EXCHANGE)
    del exchange["source"]
    wanted = {path for path in HIDDEN if "source" not in path} | {"$.exchanges[0].source"}
    assert paths(exchange) == wanted


def test_a_wrong_dtype_of_one_attribute_hides_no_fault_of_the_others():
    attributes = [
        {"attribute_name": "a", "dtype": "flot64"},
        {"attribute_name": "b", "dtype": "float64", "path": "[["},
        {"attribute_name": "c d", "dtype": "nothing"},
        {"attribute_name": "A", "dtype": "float64"},
    ]
    sink = {"type": "TangoObjectScatterAttributeSink", "attributes": attributes}
    source = {"type": "KafkaConsumerSource", "servers": "a", "topic": "not a topic"}
    inner = "$.exchanges[0].sink.attributes"
    assert paths({"dtype": "object", "source": source, "sink": sink}) == {
        f"{inner}[0].dtype",
        f"{inner}[1].path",
        f"{inner}[2].dtype",
        f"{inner}[2].attribute_name",
        f"{inner}[3].attribute_name",  # of a device whose attributes' case does not count
        "$.exchanges[0].source.topic",
    }


def test_a_wrong_dtype_brings_no_fault_that_the_right_one_might_not_have():
    good = changed(["source", 0, "topic"], "t")
    good["source"][1]["device_name"] = "a/b/c"
    good["sink"] = [{"type": "TangoArrayScatterAttributeSink", "attribute_names": ["a", "b", "c"]}]
    good["on_error"] = "skip"
    assert not read({"exchanges": [good]}).faults
    assert paths({**good, "dtype": "flot64"}) == {"$.exchanges[0].dtype"}
    assert paths({**good, "shape": "3"}) == {"$.exchanges[0].shape"}
    assert paths({**good, "pipe": {}}) == {"$.exchanges[0].pipe.type"}
    assert paths({**good, "dtype": 1, "shape": 1, "pipe": 1}) == {
        f"$.exchanges[0].{key}" for key in ("dtype", "shape", "pipe")
    }


def test_groups_are_counted_empty_ones_too():
    assert not read({"exchanges": {f"g{i}": [] for i in range(MAX_GROUPS)}}).faults
    [fault] = read({"exchanges": {f"g{i}": [] for i in range(MAX_GROUPS + 1)}}).faults
    assert fault.message == "expected at most 1000 groups, found 1001; they are unread"
