import math

import pytest

from queue_connector.configuration.document import examine
from queue_connector.connectors.memory.source import InMemorySourceDescriptor
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.hooks import MAX_FAULTS


def faults(data, dtype, shape=()):
    found = InMemorySourceDescriptor(data=data).faults(DataSpec(dtype, shape))
    return [(fault.path, fault.message) for fault in found]


@pytest.mark.parametrize(
    ("data", "dtype", "shape"),
    [
        ([1, True], "int64", ()),
        ([1, 2.5, math.nan], "float32", ()),
        ([[[0, 0], [0, 1]], [1.0, 2.0], 2.0], "float32", (2, 2)),
        ([[1], []], "int16", (3,)),
        ([["json", "{}"]], "bytes", ()),
        ([{"a": [None]}, None, 3], "object", ()),
        ([["a", 1.0], {"n": "b", "x": 2}], [["n", "U2"], ["x", "float64"]], ()),
        (["2026-01-31T12:00:00"], "datetime64[ns]", ()),
    ],
)
def test_values_that_fit_are_no_fault(data, dtype, shape):
    assert faults(data, dtype, shape) == []


@pytest.mark.parametrize(
    ("data", "dtype", "shape", "bad"),
    [
        ([1, "x", 2, 300, None], "uint8", (), [1, 3, 4]),
        ([[1, 2], [1, 2, 3], [[1, 2]]], "float64", (2,), [1, 2]),
        (["a", None, 1], "str", (), [1]),
        ([[1, "toolong"], ["ok", 1]], [["n", "U3"], ["x", "float64"]], (), [0]),
        ([{"n": 10**400}], "float64", (), [0]),
    ],
)
def test_each_value_that_does_not_fit_is_a_fault_at_its_index(data, dtype, shape, bad):
    found = faults(data, dtype, shape)
    assert [path for path, _ in found] == [f"$.data[{index}]" for index in bad]
    assert all(message.startswith("expected ") for _, message in found)


def test_a_report_of_very_many_stays_readable():
    assert len(faults(["x"] * 1000, "int64")) == MAX_FAULTS


def test_the_path_leads_through_the_whole_configuration():
    reading = examine(
        """{"exchanges": {"a": [{"dtype": "float64", "shape": [2],
            "source": [{"type": "InMemorySource", "data": []},
                       {"type": "InMemorySource", "data": [1, 2, 3, [1, 2, 3]]}],
            "sink": {"type": "InMemorySink", "key": "k"}}]}}"""
    )
    [fault] = reading.faults
    assert fault.path == "$.exchanges.a[0].source[1].data[3]"
    assert "expected float64[2], found float64[3]" in fault.message
