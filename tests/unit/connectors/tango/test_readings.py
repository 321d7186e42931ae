import numpy as np
import pytest
from hypothesis import given, strategies as st

from queue_connector.connectors.tango.readings import converted
from queue_connector.model.conform import conform
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import ConformError

SPECS = ["float64", "float32", "int64", "int16", "uint8", "bool"]
numbers = st.one_of(st.booleans(), st.integers(-300, 300), st.floats(width=32), st.text(max_size=2))


@given(st.sampled_from(SPECS), st.lists(numbers, max_size=6))
def test_together_they_become_what_each_becomes_alone(dtype, values):
    spec = DataSpec(dtype)
    for value, outcome in zip(values, converted(values, spec), strict=True):
        try:
            alone = conform(value, spec)
        except ConformError as error:
            assert str(outcome) == str(error)
        else:
            assert type(outcome) is type(alone)
            np.testing.assert_array_equal(outcome, alone)


@pytest.mark.parametrize("value", [1.5, -1, 256])
def test_one_that_does_not_fit_is_refused_alone(value):
    first, refused, last = converted([1, value, 3], DataSpec("uint8"))
    assert (first, last) == (1, 3)
    assert isinstance(refused, ConformError)


def test_shapes_and_labels_hold_for_each():
    spec = DataSpec("float64", (3,))
    values = [np.arange(3.0), np.arange(2.0), np.float64(1.0), np.arange(4.0)]
    whole, short, spread, long = converted(values, spec)
    assert (whole.tolist(), short.tolist(), spread.tolist()) == ([0, 1, 2], [0, 1], [1, 1, 1])
    assert isinstance(long, ConformError)
    on, unknown = converted([1, 2], DataSpec("int16", (), ("OFF", "ON")))
    assert on == 1
    assert isinstance(unknown, ConformError)
