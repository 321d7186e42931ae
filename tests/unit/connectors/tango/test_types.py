"""The form of attributes' names, and the words for types."""

from __future__ import annotations

import pytest
import tango

from queue_connector.connectors.tango.types import (
    EVENT_TYPES,
    MAX_ATTRIBUTE_NAME,
    dimensions,
    published_name_faults,
    tango_type,
)
from queue_connector.model.datatypes import DataSpec


@pytest.mark.parametrize("name", ["a", "_a", "pointing_cal_SKA001", "a.b-c", "x" * 255])
def test_a_name_that_tango_carries_is_none(name):
    assert list(published_name_faults(name)) == []


@pytest.mark.parametrize("name", ["", "1a", "a b", "a/b", "ä", "a\n", "-a"])
def test_a_name_of_another_form_is_a_fault(name):
    [fault] = published_name_faults(name)
    assert "is not the name of a Tango attribute" in fault.message


def test_a_name_that_is_too_long_is_a_fault_that_does_not_repeat_it():
    [fault] = published_name_faults("x" * 1_000_000)
    assert fault.path == "$.attribute_name"
    assert fault.message == f"expected at most {MAX_ATTRIBUTE_NAME} characters, found 1000000"


def test_types_and_events_are_called_as_tango_calls_them():
    for name, number in EVENT_TYPES.items():
        assert int(tango.EventType.names[name]) == number
    for dtype in ("str", "bytes", "bool", "uint8", "int16", "uint64", "float32"):
        assert tango_type(DataSpec(dtype)) in tango.CmdArgType.names
    for shape in ((), (2,), (2, 3)):
        assert dimensions(DataSpec("int16", shape))["dformat"] in tango.AttrDataFormat.names
