import math
import time
from typing import Any, Literal

import attrs
import numpy as np
import pytest

from queue_connector import connectors
from queue_connector.configuration.reading import MAX_EXCHANGES, read
from queue_connector.model.annotations import json_types, words
from queue_connector.model.convert import structure, unstructure
from queue_connector.model.endpoints import SinkDescriptor, sinks
from queue_connector.model.errors import ConfigError
from queue_connector.model.exchanges import ExchangeDescriptor, QueueConnectorDescriptor
from queue_connector.model.hooks import MAX_FAULTS
from queue_connector.model.option import Descriptor, option

assert connectors  # what is registered is what a configuration may name

SOURCE = {"type": "InMemorySource", "data": []}
SINK = {"type": "InMemorySink", "key": "k"}


@attrs.frozen(kw_only=True)
class Inner(Descriptor):
    """In one of the fields below."""

    name: str = option(doc="x")
    dtype: np.dtype[Any] = option(default="float64", converter=np.dtype, doc="x")


@attrs.frozen(kw_only=True)
class Everything(Descriptor):
    """One field of each kind that annotations can mean."""

    flag: bool = option(default=True, doc="x")
    count: int = option(default=1, ge=1, doc="x")
    rate: float = option(default=1.0, gt=0.0, unit="Hz", doc="How often.")
    mode: Literal["min", "max"] | None = option(default=None, doc="x")
    coding: str = option(default="json", choices=lambda: ["json", "npy"], doc="x")
    servers: str | list[str] = option(default="a", min_length=1, doc="x")
    etype: int | str = option(default=0, doc="x")
    indices: list[int] | None = option(default=None, doc="x")
    slices: list[int | tuple[int | None, int | None, int | None]] = option(default=[], doc="x")
    shape: tuple[int, ...] = option(default=(), doc="x")
    anything: Any = option(default="", doc="x")
    inner: Inner | None = option(default=None, doc="x")
    inners: list[Inner] = option(default=[], doc="x")
    named: dict[str, list[int]] = option(default={}, doc="x")
    sink: SinkDescriptor | list[SinkDescriptor] | None = option(default=None, doc="x")


def exchange(**keys):
    return {"source": SOURCE, "sink": SINK, "dtype": "int64", **keys}


def config(**keys):
    return {"exchanges": [exchange(**keys)]}


def faults_of_everything(value):
    with pytest.raises(ConfigError) as caught:
        structure(value, Everything)
    return caught.value.faults


class TestValid:
    @pytest.mark.parametrize(
        "value",
        [
            {},
            {"exchanges": None},
            {"exchanges": []},
            {"exchanges": {}},
            {"exchanges": {"a": []}},
            {"type": "QueueConnectorDescriptor"},
            config(),
            config(type="ExchangeDescriptor"),
            config(source=[SOURCE, SOURCE]),
            config(sink=[SINK]),
            config(pipe={"type": "DefaultPipe"}),
            config(shape=[2.0, -1]),
            *(config(dtype=name) for name in ("<f4", "?", "U8", "double", "DevDouble", "M8[25us]")),
            config(dtype=[["a", "U8"], ["b", "float64", [2.0]], ["c", [["d", "int8"]], 3]]),
            {"exchanges": {"pointing-a": [exchange()], "": []}},
        ],
    )
    def test_is_read_and_can_be_written_back(self, value):
        reading = read(value)
        assert reading.faults == ()
        assert structure(unstructure(reading.descriptor), QueueConnectorDescriptor) == (
            reading.descriptor
        )

    def test_every_kind_of_field_is_read_as_its_annotation_says(self):
        read_back = structure(
            {
                "flag": False,
                "count": 3.0,
                "rate": 2,
                "mode": "max",
                "coding": "npy",
                "servers": ["a", "b"],
                "etype": "CHANGE_EVENT",
                "indices": [1, 2],
                "slices": [1, [None, 2, -1]],
                "shape": [2, 3],
                "anything": {"a": [math.inf]},
                "inner": {"type": "Inner", "name": "n", "dtype": "int16"},
                "inners": [{"name": "m"}],
                "named": {"x y": [1]},
                "sink": [SINK],
            },
            Everything,
        )
        assert read_back == Everything(
            flag=False,
            count=3,
            rate=2.0,
            mode="max",
            coding="npy",
            servers=["a", "b"],
            etype="CHANGE_EVENT",
            indices=[1, 2],
            slices=[1, (None, 2, -1)],
            shape=(2, 3),
            anything={"a": [math.inf]},
            inner=Inner(name="n", dtype="int16"),
            inners=[Inner(name="m")],
            named={"x y": [1]},
            sink=[sinks.lookup("InMemorySink")(key="k")],
        )
        assert type(read_back.count) is int
        assert type(read_back.rate) is float
        assert structure(unstructure(read_back), Everything) == read_back

    def test_what_is_written_back_is_plain_json_with_type_keys(self):
        descriptor = structure(exchange(dtype=[["a", "<f8", [2]]]), ExchangeDescriptor)
        assert unstructure(descriptor) == {
            "type": "ExchangeDescriptor",
            "dtype": [["a", "float64", [2]]],
            "shape": [],
            "labels": [],
            "source": {"type": "InMemorySource", "data": [], "delay": 0.0},
            "share": "",
            "pipe": {"type": "DefaultPipe"},
            "sink": {"type": "InMemorySink", "key": "k"},
            "on_error": "fault",
            "buffer": None,
        }


@pytest.mark.parametrize(
    ("key", "value", "path", "message"),
    [
        ("flag", 1, "$.flag", "expected true or false, found number 1"),
        ("flag", "true", "$.flag", "expected true or false, found text 'true'"),
        ("count", True, "$.count", "expected a whole number, found true"),
        ("count", 1.5, "$.count", "expected a whole number, found number 1.5"),
        ("count", "3", "$.count", "expected a whole number, found text '3'"),
        ("count", math.nan, "$.count", "expected a whole number, found number nan"),
        ("count", math.inf, "$.count", "expected a whole number, found number inf"),
        ("count", 0, "$.count", "expected at least 1, found 0"),
        ("rate", 0, "$.rate", "expected more than 0, found 0.0"),
        ("rate", math.nan, "$.rate", "expected a finite number, found number nan"),
        ("rate", math.inf, "$.rate", "expected a finite number, found number inf"),
        ("rate", 10**400, "$.rate", "expected a finite number"),
        ("rate", None, "$.rate", "expected a number, found null"),
        ("rate", False, "$.rate", "expected a number, found false"),
        ("mode", "mean", "$.mode", "expected 'min' or 'max', found text 'mean'"),
        ("mode", 3, "$.mode", "expected 'min' or 'max' or null, found number 3"),
        ("coding", "jsn", "$.coding", "expected 'json' or 'npy', found text 'jsn'"),
        ("servers", "", "$.servers", "expected at least 1 of length, found 0"),
        ("servers", [], "$.servers", "expected at least 1 of length, found 0"),
        ("servers", ["a", 1], "$.servers[1]", "expected text, found number 1"),
        ("servers", {}, "$.servers", "expected text or list of text, found an empty object"),
        ("etype", [], "$.etype", "expected whole number or text, found a list of 0"),
        ("etype", 0.5, "$.etype", "expected a whole number, found number 0.5"),
        ("indices", 3, "$.indices", "expected list of whole number or null, found number 3"),
        ("slices", [[1, 2]], "$.slices[0]", "found a list of 2"),
        ("slices", [[1, 2, "x"]], "$.slices[0][2]", "expected whole number or null"),
        ("shape", 3, "$.shape", "expected a list of whole number, found number 3"),
        ("shape", {"0": 1}, "$.shape", "expected a list of whole number, found an object"),
        ("inner", {"name": 1}, "$.inner.name", "expected text, found number 1"),
        ("inner", [], "$.inner", "expected Inner or null, found a list of 0"),
        ("inner", {"name": "a", "type": "Outer"}, "$.inner.type", "expected 'Inner'"),
        ("inner", {"name": "a", "type": ["Inner"]}, "$.inner.type", "expected 'Inner'"),
        ("inners", [{"name": "a"}, {}], "$.inners[1].name", "the key is missing; expected text"),
        ("named", {"x y": [1, ""]}, "$.named['x y'][1]", "expected a whole number"),
        ("named", [], "$.named", "expected a mapping of names to list of whole number"),
        ("sink", {}, "$.sink.type", "the key is missing"),
        ("sink", {"type": 3}, "$.sink.type", "expected text, found number 3"),
        ("sink", {"type": "Sunk"}, "$.sink.type", "no sink is called 'Sunk'"),
        ("sink", [3], "$.sink[0]", "expected a sink, found number 3"),
        ("sink", {"type": "InMemorySink"}, "$.sink.key", "the key is missing; expected text"),
        ("anythin", 1, "$.anythin", "Everything has no such key"),
        ("not a name", 1, "$['not a name']", "Everything has no such key"),
    ],
)
def test_a_fault_names_its_path_what_was_expected_and_what_was_found(key, value, path, message):
    [fault] = faults_of_everything({key: value})
    assert fault.path == path
    assert message in fault.message


@pytest.mark.parametrize(
    ("value", "path", "hint"),
    [
        ({"anythin": 1}, "$.anythin", "did you mean 'anything'?"),
        ({"zzz": 1}, "$.zzz", "known: flag, count"),
        ({"count": "3"}, "$.count", "write it without quotes"),
        ({"servers": [3]}, "$.servers[0]", "write it in double quotes"),
        ({"mode": "mni"}, "$.mode", "did you mean 'min'?"),
        ({"coding": "jsn"}, "$.coding", "did you mean 'json'?"),
        ({"rate": -1}, "$.rate", "How often."),
        ({"shape": 3}, "$.shape", "write it in [ ]"),
        ({"slices": [[1]]}, "$.slices[0]", "write exactly 3 entries in [ ]"),
        ({"sink": {"type": "InMemorySnik"}}, "$.sink.type", "did you mean 'InMemorySink'?"),
        ({"sink": {"key": "k"}}, "$.sink.type", "InMemorySink"),
        ({"inner": {"name": "n", "dtype": "flot64"}}, "$.inner.dtype", "did you mean 'float64'?"),
        ({"inner": {"name": "n", "dtype": "json"}}, "$.inner.dtype", "write 'object'"),
    ],
)
def test_a_fault_hints_at_the_way_out(value, path, hint):
    [fault] = faults_of_everything(value)
    assert fault.path == path
    assert hint in fault.hint


@pytest.mark.parametrize(
    ("dtype", "path", "message", "structural"),
    [
        (3, "", "expected the name of a dtype", True),
        ([], "", "expected the name of a dtype", True),
        (None, "", "expected the name of a dtype", True),
        (["a"], "[0]", "expected [name, dtype] or [name, dtype, shape]", True),
        ([["a"]], "[0]", "expected [name, dtype] or [name, dtype, shape]", True),
        ([["", "int8"]], "[0][0]", "expected the name of a field", True),
        ([["a", 3]], "[0][1]", "expected the name of a dtype", True),
        ([["a", [["b", None]]]], "[0][1][0][1]", "expected the name of a dtype", True),
        ([["a", "int8", 0]], "[0][2]", "expected a positive length or a list of them", True),
        ([["a", "int8", [2**31]]], "[0][2]", "expected a positive length", True),
        ([["a", "int8", [True]]], "[0][2]", "expected a positive length", True),
        ([["a", "int8", "2"]], "[0][2]", "expected a positive length", True),
        ("flot64", "", "no dtype is called 'flot64'", False),
        ("json", "", "the dtype 'json' was removed", False),
        ("float16", "", "the dtype 'float16' is not offered", False),
        ("a5", "", "a5", False),
        ("datetime64[0s]", "", "no dtype is called", False),  # numpy would die of a division by 0
        ("datetime64[s/0]", "", "no dtype is called", False),
        ("<M8[3s/00]", "", "no dtype is called", False),
        ("M8[ +0s]", "", "no dtype is called", False),
        ([["t", "M8[s/0]"]], "[0][1]", "no dtype is called", False),
        ("\0", "", "no dtype is called", False),
        ("x" * 10_000, "", "no dtype is called", False),
        ([["a", "int8"], ["b", "flot"]], "[1][1]", "no dtype is called 'flot'", False),
        ([["a", "int8"], ["a", "int8"]], "", "not a struct", False),
        ([["a", "str"]], "", "without a fixed size", False),
        ([["a", "int64", [2**30, 2**30]]], "", "", False),
    ],
)
def test_a_dtype_is_judged_by_form_and_by_name(dtype, path, message, structural):
    reading = read(config(dtype=dtype))
    [fault] = reading.faults
    assert fault.path == "$.exchanges[0].dtype" + path
    assert message in fault.message
    assert len(fault.message) < 300
    assert bool(reading.structure) is structural
    assert reading.descriptor is None


def test_every_fault_is_told_at_once_wherever_it_is():
    reading = read(
        {
            "exchnges": [],
            "exchanges": [
                {"sorce": 1, "dtype": "flot", "shape": [1, "x"], "source": [SOURCE, {}]},
                exchange(shape=[-1, -1]),
                3,
            ],
        }
    )
    assert [fault.path for fault in reading.structure] == [
        "$.exchnges",
        "$.exchanges[0].sorce",
        "$.exchanges[0].sink",
        "$.exchanges[0].shape[1]",
        "$.exchanges[0].source[1].type",
        "$.exchanges[2]",
    ]
    assert [fault.path for fault in reading.meaning] == [
        "$.exchanges[0].dtype",
        "$.exchanges[1].shape",
    ]


def test_an_exchange_is_checked_for_its_meaning_though_another_is_malformed():
    bad = exchange(shape=[2], dtype="object")
    reading = read({"exchanges": {"a": [3], "b-c": [bad], "d": 4}})
    assert [fault.path for fault in reading.structure] == ["$.exchanges.a[0]", "$.exchanges.d"]
    assert {fault.path for fault in reading.meaning} >= {"$.exchanges['b-c'][0].source"}


@pytest.mark.parametrize("value", [None, [], "{}", 3, True, 1.5, {"exchanges": "x"}])
def test_anything_else_than_an_object_is_refused(value):
    [fault] = read(value).structure
    assert fault.path in ("$", "$.exchanges")


def test_values_that_json_has_not_are_refused():
    [fault] = read({"exchanges": (1, 2)}).structure
    assert fault.path == "$.exchanges"
    assert "found a Python tuple, which JSON has not" in fault.message
    assert [fault.path for fault in read({1: 2}).structure] == ["$['1']"]


def test_a_report_of_a_hopeless_list_stays_readable():
    reading = read({"exchanges": [0] * MAX_EXCHANGES})
    assert len(reading.structure) == MAX_FAULTS + 1
    assert "the rest is unread" in reading.structure[-1].message
    keys = {f"k{index}": 0 for index in range(100_000)}
    assert len(read(keys).structure) == MAX_FAULTS


@pytest.mark.parametrize("in_groups", [False, True])
def test_no_more_than_the_largest_number_of_exchanges_is_read(in_groups):
    def exchanges(number):
        items = config()["exchanges"] * number
        half = {"a": items[: number // 2], "b": items[number // 2 :]}
        return {"exchanges": half if in_groups else items}

    assert not read(exchanges(MAX_EXCHANGES)).faults
    [fault] = read(exchanges(MAX_EXCHANGES + 1)).faults
    assert fault.path == "$.exchanges"
    assert fault.message == "expected at most 1000 exchanges, found 1001; they are unread"


def test_a_configuration_of_the_largest_number_of_exchanges_is_read_in_a_moment():
    value = config(pipe={"type": "BufferWithTimePipe", "timespan": 1})["exchanges"]
    began = time.process_time()
    assert not read({"exchanges": value * MAX_EXCHANGES}).faults
    assert time.process_time() - began < 2.0  # measured: 0.05


def test_an_older_spelling_is_read_and_reported():
    known = [(alias, name) for name, _ in sinks.items() for alias in sinks.aliases_of(name)]
    for alias, name in known:
        reading = read(config(sink=[SINK, {"type": alias}]))
        [note] = reading.warnings
        assert note.path == "$.exchanges[0].sink[1].type"
        assert alias in note.message
        assert name in note.hint
        assert all(fault.path != note.path for fault in reading.faults)


class TestAnnotations:
    @pytest.mark.parametrize(
        ("annotation", "expected"),
        [
            (str | None, "text or null"),
            (list[int | None], "list of (whole number or null)"),
            (tuple[int, ...], "list of whole number"),
            (tuple[int, str], "[whole number, text]"),
            (dict[str, list[float]], "mapping of names to list of number"),
            (Literal["a", "b"], "'a' or 'b'"),
            (SinkDescriptor, "sink"),
            (Any, "any JSON value"),
        ],
    )
    def test_are_told_in_words(self, annotation, expected):
        assert words(annotation) == expected

    def test_that_json_cannot_express_are_a_programming_error(self):
        with pytest.raises(TypeError, match="cannot have a field of the type"):
            json_types(set[int])
