"""`FilterPipe` and `MapPipe`: what configurations may say, and what becomes of data."""

import json

import numpy as np
import pytest

from queue_connector.configuration.document import examine
from queue_connector.connectors.pipes.filter import FilterPipeDescriptor
from queue_connector.connectors.pipes.map import MapPipeDescriptor
from queue_connector.expressions.selection import EvaluationError
from queue_connector.model.datatypes import DataSpec, parse_dtype
from queue_connector.model.errors import ConformError
from tests.support.data import same

OBJECT = DataSpec("object")


def reading(pipe, dtype="object", encoding="json"):
    source = {"type": "KafkaConsumerSource", "servers": "k:1", "topic": "t", "encoding": encoding}
    exchange = {
        "dtype": dtype,
        "source": source,
        "pipe": pipe,
        "sink": {"type": "InMemorySink", "key": "k"},
    }
    return examine(json.dumps({"exchanges": [exchange]}))


def filter_pipe(condition, spec=OBJECT):
    return FilterPipeDescriptor(condition=condition).build(spec)


def map_pipe(path, dtype, shape=(), spec=OBJECT):
    return MapPipeDescriptor(path=path, dtype=dtype, shape=shape).build(spec)


@pytest.mark.parametrize(
    ("condition", "value", "kept"),
    [
        ("type == 'x'", {"type": "x"}, True),
        ("type == 'x'", {"type": "y"}, False),
        ("a.b", {"a": {"b": []}}, False),
        ("a.b", {"a": {"b": 0}}, True),  # as in JMESPath
        ("length(@) > `2`", [1, 2, 3], True),
        ("missing", {}, False),
    ],
)
def test_a_filter_keeps_what_its_condition_is_true_for(condition, value, kept):
    assert filter_pipe(condition).apply(value) is (value if kept else None)


def test_a_filter_sees_numbers_and_structs():
    assert filter_pipe("@ > `2`", DataSpec("int64")).apply(np.int64(3)) == 3
    assert filter_pipe("@ > `2`", DataSpec("int64")).apply(np.int64(1)) is None
    struct = DataSpec(parse_dtype([["name", "<U8"], ["x", "float64"]]))
    value = np.array(("SKA001", 1.5), struct.dtype)[()]
    assert filter_pipe("name == 'SKA001'", struct).apply(value) is value


@pytest.mark.parametrize(
    ("path", "dtype", "shape", "value", "made"),
    [
        ("values", "float64", [3], {"values": [1, 2, 3]}, np.array([1.0, 2.0, 3.0])),
        ("x", "int16", [], {"x": 7}, np.int16(7)),
        ("x", "str", [], {"x": "text"}, "text"),
        ("{a: x, b: y}", "object", [], {"x": 1, "y": [2]}, {"a": 1, "b": [2]}),
    ],
)
def test_a_map_makes_what_its_path_yields(path, dtype, shape, value, made):
    pipe = map_pipe(path, dtype, shape)
    assert same(pipe.apply(value), made)
    assert pipe.output_dtype == parse_dtype(dtype)
    assert pipe.output_shape == shape


def test_a_map_leaves_out_what_it_yields_nothing_for():
    assert map_pipe("x", "int64").apply({"y": 1}) is None


def test_what_does_not_fit_or_fails_is_an_error_of_the_datum():
    with pytest.raises(ConformError):
        map_pipe("x", "int64").apply({"x": "seven"})
    with pytest.raises(EvaluationError, match="abs"):
        filter_pipe("abs(@)").apply("text")


@pytest.mark.parametrize(
    ("pipe", "path"),
    [
        ({"type": "FilterPipe"}, ".condition"),
        ({"type": "FilterPipe", "condition": "a ="}, ".condition"),
        ({"type": "MapPipe", "path": "nonsense(@)", "dtype": "int64"}, ".path"),
        ({"type": "MapPipe", "path": "x"}, ".dtype"),
        ({"type": "MapPipe", "path": "x", "dtype": "bytes"}, ".dtype"),
        ({"type": "MapPipe", "path": "x", "dtype": "int64", "shape": [-1, -1]}, ".shape"),
    ],
)
@pytest.mark.parametrize("chained", [False, True])
def test_faults_name_the_pipe_and_the_key(pipe, path, chained):
    written = [{"type": "DefaultPipe"}, pipe] if chained else pipe
    at = "$.exchanges[0].pipe" + ("[1]" if chained else "")
    assert [fault.path for fault in reading(written).faults] == [at + path]


def test_bytes_are_nothing_to_an_expression():
    found = reading({"type": "FilterPipe", "condition": "@"}, "bytes", "raw").faults
    assert [fault.path for fault in found] == ["$.exchanges[0].pipe"]


def test_a_name_in_place_of_text_is_a_warning():
    [warning] = reading({"type": "FilterPipe", "condition": 'type=="x"'}).warnings
    assert warning.path == "$.exchanges[0].pipe.condition"


def test_what_comes_out_of_one_goes_into_the_next():
    chain = [
        {"type": "FilterPipe", "condition": "x"},
        {"type": "MapPipe", "path": "x", "dtype": "float64", "shape": [3]},
        {"type": "BufferWithTimePipe", "timespan": 1},
    ]
    found = reading(chain)
    assert found.faults == ()
    [exchange] = found.configuration().exchanges
    assert exchange.output == DataSpec("float64", [-1, 3])
    [fault] = reading([*chain, {"type": "BufferWithTimePipe"}]).faults
    assert fault.path == "$.exchanges[0].pipe[3]"
