"""The form of attributes' names."""

from __future__ import annotations

import pytest

from queue_connector.connectors.tango.types import MAX_ATTRIBUTE_NAME, published_name_faults


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
