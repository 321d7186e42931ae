import json
import math

import numpy as np
import pytest

from queue_connector.configuration.document import examine
from queue_connector.connectors.kafka.timestamps import TimestampError, TimestampOptions
from queue_connector.model.conform import conform
from queue_connector.model.convert import structure, unstructure
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import ConfigError, DataError

NEW_YEAR = 1_767_225_600_000  # 2026-01-01T00:00:00 UTC
POINTING = [["antenna_name", "U8"], ["ts", "datetime64[ns]"], ["az", "float64"]]
POLY = [["id", "int16"], ["ms", "float64", [2, 3]], ["on", "bool"], ["sub", [["ts", "int64"]]]]


def tai(*texts, unit="ns"):
    return np.array(texts, f"M8[{unit}]")


def pointings(*texts):
    array = np.zeros(len(texts), DataSpec(POINTING).dtype)
    array["ts"] = tai(*texts)
    return array


def faults(options, dtype, shape=()):
    found = list(TimestampOptions(**options).faults(DataSpec(dtype, shape)))
    return [(fault.path, fault.message) for fault in found]


@pytest.mark.parametrize(
    ("value", "options", "expected"),
    [
        (np.int64(NEW_YEAR), {}, NEW_YEAR),
        (np.uint64(NEW_YEAR), {}, NEW_YEAR),
        (np.float64(NEW_YEAR + 0.4), {}, NEW_YEAR),
        (np.float64(NEW_YEAR + 0.9998), {}, NEW_YEAR + 1),
        (1, {}, 1),
        (2**63 - 1, {}, 2**63 - 1),
        (np.datetime64("2026-01-01T00:00:37.999999"), {}, NEW_YEAR + 999),
        (np.datetime64("2017-01-01T00:00:36.5"), {}, 1_483_228_800_500),  # in a leap second
        (np.array([5, 6, 7]), {"slices": [1]}, 6),
        (np.array([5, 6, 7]), {"slices": [-1]}, 7),
        (np.array([5, 6, 7]), {"slices": [(1, 2, None)]}, 6),
        (np.array([[5, 9], [6, 3]]), {"slices": [(None, None, None), 1], "reducer": "min"}, 3),
        (np.array([[5, 9], [6, 3]]), {"slices": [0, (None, None, -1)], "reducer": "max"}, 9),
        (np.array([5, 6, 7]), {"reducer": "min"}, 5),
        (np.array([5]), {}, 5),
        (np.array([5, 8]), {"reducer": "mean"}, 6),
        (np.array([2**63 - 1, 2**63 - 3]), {"reducer": "mean"}, 2**63 - 2),
        (np.array([math.nan, 5.0, 8.0]), {"reducer": "mean"}, 6),
        (np.array([math.nan, 5.0, 8.0]), {"reducer": "max"}, 8),
        (np.array([NEW_YEAR, NEW_YEAR + 1.0]), {"reducer": "min"}, NEW_YEAR),
        (tai("NaT", "2026-01-01T00:00:38", "2026-01-01T00:00:37"), {"reducer": "min"}, NEW_YEAR),
        (
            tai("2026-01-01T00:00:38.0015", "2026-01-01T00:00:37"),
            {"reducer": "mean"},
            NEW_YEAR + 500,
        ),
        (tai("2026-01-01T00:00:38", "2026-01-01", unit="s"), {"slices": [0]}, NEW_YEAR + 1000),
        (pointings("2026-01-01T00:00:37")[0], {"key": "ts"}, NEW_YEAR),
        (
            pointings("2026-01-01T00:00:38", "2026-01-01T00:00:37"),
            {"key": "ts", "reducer": "min"},
            NEW_YEAR,
        ),
        ({"t": {"ignored": 1}, "ms": NEW_YEAR}, {"key": "ms"}, NEW_YEAR),
        ({"ms": [[1, NEW_YEAR]]}, {"key": "ms", "slices": [0, 1]}, NEW_YEAR),
        ({"ms": [5, 7.5]}, {"key": "ms", "reducer": "max"}, 8),
        ({"ms": tai("2026-01-01T00:00:37")}, {"key": "ms"}, NEW_YEAR),
        (NEW_YEAR, {"slices": []}, NEW_YEAR),
    ],
)
def test_the_time_is_taken_by_key_then_slices_then_reducer(value, options, expected):
    found = TimestampOptions(**options).timestamp(value)
    assert found == expected
    assert type(found) is int


@pytest.mark.parametrize(
    ("value", "options", "reason"),
    [
        (0, {}, "0 would become now"),
        (0.3, {}, "0 would become now"),
        (-1, {}, "none that can be sent"),
        (2**63, {}, "none that can be sent"),
        (math.nan, {}, "nan is no time"),
        (math.inf, {}, "inf is no time"),
        (np.array([math.nan]), {"reducer": "max"}, "nothing is left"),
        (np.array([-math.inf, 3]), {"reducer": "min"}, "-inf is no time"),
        (np.datetime64("NaT"), {}, "NaT"),
        (np.datetime64("1970-01-01"), {}, "before 1972"),
        (np.datetime64(2**50, "Y"), {}, "out of the range"),
        (np.array([5, 6]), {}, "2 elements are left"),
        (np.array([], "i8"), {}, "0 elements are left"),
        (np.array([], "i8"), {"reducer": "max"}, "nothing is left"),
        (np.array([], "i8"), {"slices": [0]}, "out of bounds"),
        (np.array([5, 6]), {"slices": [2**70]}, "valid indices"),
        (np.array([[5, 6]]), {"slices": [0]}, "2 dimensions, 1 slices"),
        ({"ms": [5, [6]]}, {"key": "ms", "reducer": "min"}, "inhomogeneous"),
        ({"ms": "5"}, {"key": "ms"}, "neither a number nor datetime64"),
        ({"ms": True}, {"key": "ms"}, "neither a number nor datetime64"),
        ({"ms": None}, {"key": "ms"}, "neither a number nor datetime64"),
        ({"ms": 10**30}, {"key": "ms"}, "neither a number nor datetime64"),
        ({}, {"key": "ms"}, "no key 'ms'"),
        ([1], {"key": "ms"}, "list has no keys"),
        (None, {"key": "ms"}, "NoneType has no keys"),
        (np.int64(3), {"key": "ms"}, "int64 has no keys"),
    ],
)
def test_a_datum_without_one_time_that_kafka_has_is_refused(value, options, reason):
    with pytest.raises(DataError, match=reason):
        TimestampOptions(**options).timestamp(value)


def test_a_refusal_says_what_to_look_at():
    with pytest.raises(TimestampError, match=r"^no timestamp: .*; compare timestamp_options"):
        TimestampOptions().timestamp("")


FULL = (None, None, None)


@pytest.mark.parametrize(
    ("options", "dtype", "shape"),
    [
        ({}, "int64", ()),
        ({}, "datetime64[s]", ()),
        ({}, "float32", (1, 1)),
        ({}, "int64", (-1,)),
        ({"reducer": "mean"}, "uint8", (3, 4)),
        ({"slices": [2, -4]}, "float64", (3, 4)),
        ({"slices": [FULL, 0], "reducer": "min"}, "float64", (-1, 4)),
        ({"slices": [(-1, None, None)]}, "float64", (3,)),
        ({"slices": [(5, None, -1)], "reducer": "max"}, "float64", (3,)),
        ({"slices": [10**9]}, "float64", (-1,)),
        ({"key": "ts"}, POINTING, ()),
        ({"key": "ts", "reducer": "min"}, POINTING, (-1,)),
        ({"key": "ms", "slices": [0, 1, 2]}, POLY, (-1,)),
        ({"key": "id"}, POLY, (1,)),
        ({}, "object", ()),
        ({"key": "x", "slices": [1, 2, 3]}, "object", ()),
    ],
)
def test_options_that_may_find_a_time_are_accepted(options, dtype, shape):
    assert faults(options, dtype, shape) == []


@pytest.mark.parametrize(
    ("options", "dtype", "shape", "path", "message"),
    [
        ({}, "str", (), "$", "str holds no time"),
        ({}, "bytes", (), "$", "bytes holds no time"),
        ({"key": "x"}, "bool", (), "$", "bool holds no time"),
        ({}, "complex128", (2,), "$", "holds no time"),
        ({"key": "ts"}, "int64", (), "$.key", "int64 has no keys, found 'ts'"),
        ({}, POINTING, (), "$.key", "expected the field of struct"),
        ({"key": "TS"}, POINTING, (), "$.key", "has no field 'TS'"),
        ({"key": "antenna_name"}, POINTING, (), "$.key", "holds no time, but U8"),
        ({"key": "sub"}, POLY, (), "$.key", "holds no time, but struct"),
        ({"key": "on"}, POLY, (), "$.key", "holds no time, but bool"),
        ({"slices": [0]}, "int64", (), "$.slices", "dimensions [], found 1"),
        ({"slices": [0]}, "int64", (2, 2), "$.slices", "dimensions [2, 2], found 1"),
        ({"key": "ms", "slices": [0]}, POLY, (-1,), "$.slices", "[-1, 2, 3], found 1"),
        ({"slices": [3]}, "int64", (3,), "$.slices[0]", "3 is no index of a dimension of 3"),
        ({"slices": [0, -4]}, "int64", (3, 3), "$.slices[1]", "-4 is no index"),
        ({"slices": [(0, 1, 0)]}, "int64", (3,), "$.slices[0][2]", "a step of 0"),
        ({"slices": [(0, 1, 0)]}, "object", (), "$.slices[0][2]", "a step of 0"),
        ({"slices": [(1, 1, None)], "reducer": "min"}, "int64", (3,), "$.slices", "nothing"),
        ({"reducer": "min"}, "int64", (0,), "$.slices", "nothing is left"),
        ({}, "int64", (3,), "$.reducer", "3 elements or more are left"),
        ({}, "int64", (-1, 2), "$.reducer", "2 elements or more are left"),
        ({"slices": [0, FULL]}, "int64", (-1, 2), "$.reducer", "2 elements or more are left"),
        ({"key": "ms"}, POLY, (), "$.reducer", "6 elements or more are left"),
    ],
)
def test_options_that_never_find_one_are_a_fault(options, dtype, shape, path, message):
    [(found_path, found_message)] = faults(options, dtype, shape)
    assert found_path == path
    assert message in found_message


def test_a_misspelt_field_is_answered_with_the_right_one():
    [fault] = TimestampOptions(key="TS").faults(DataSpec(POINTING))
    assert fault.hint == "did you mean 'ts'?"


def configuration(options, dtype="int64", shape=()):
    sink = {
        "type": "KafkaProducerSink",
        "servers": "localhost",
        "topic": "t",
        "encoding": "npy",
        "timestamp_options": options,
    }
    source = {"type": "InMemorySource", "data": []}
    exchange = {"dtype": dtype, "shape": list(shape), "source": source, "sink": sink}
    return json.dumps({"exchanges": [exchange]})


def test_every_fault_has_its_place_in_the_configuration():
    reading = examine(configuration({"slices": [[0, 1, 0], 7], "key": "x"}, "int64", (3, 3)))
    assert [fault.path for fault in reading.faults] == [
        "$.exchanges[0].sink.timestamp_options.slices[0][2]",
        "$.exchanges[0].sink.timestamp_options.key",
        "$.exchanges[0].sink.timestamp_options.slices[1]",
    ]


@pytest.mark.parametrize(
    ("options", "path"),
    [
        ({"slices": 0}, ".slices"),
        ({"slices": [[0, 1]]}, ".slices[0]"),
        ({"slices": [[0, 1, 2, 3]]}, ".slices[0]"),
        ({"slices": [None]}, ".slices[0]"),
        ({"slices": [1.5]}, ".slices[0]"),
        ({"slices": [[0, "1", None]]}, ".slices[0][1]"),
        ({"reducer": "median"}, ".reducer"),
        ({"key": 0}, ".key"),
        ({"keys": "ts"}, ".keys"),
    ],
)
def test_what_is_malformed_is_refused_where_it_stands(options, path):
    [fault] = examine(configuration(options)).faults
    assert fault.path == "$.exchanges[0].sink.timestamp_options" + path


def test_options_survive_the_way_through_json():
    written = {"slices": [0, [None, -1, 2]], "key": "ts", "reducer": "mean"}
    options = structure(json.loads(json.dumps(written)), TimestampOptions)
    assert options == TimestampOptions(slices=[0, (None, -1, 2)], key="ts", reducer="mean")
    assert structure(json.loads(json.dumps(unstructure(options))), TimestampOptions) == options
    with pytest.raises(ConfigError):
        structure({"reducer": "MIN"}, TimestampOptions)


def test_null_options_are_none():
    assert examine(configuration(None)).faults == ()


def test_a_struct_of_the_exchange_gives_the_field_by_name():
    spec = DataSpec(POLY)
    value = conform({"id": 1, "ms": [[1, 2, 3], [4, 5, 6]], "on": True, "sub": {"ts": 1}}, spec)
    options = TimestampOptions(key="ms", slices=[1, -1])
    assert list(options.faults(spec)) == []
    assert options.timestamp(value) == 6
