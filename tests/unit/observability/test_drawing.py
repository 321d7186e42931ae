"""What the page draws is bounded and JSON, whatever the datum."""

import json

import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays

from queue_connector.observability.page.drawing import CELLS, POINTS, SHADES, drawn

DTYPES = st.sampled_from(["f8", "f4", "i4", "u1", "?", "c16", "M8[ns]", "U3", "S2"])


@given(arrays.arrays(DTYPES.map(np.dtype), arrays.array_shapes(min_dims=0, max_dims=3, min_side=0)))
def test_any_array_is_told_in_json(array):
    told = drawn(array)
    json.dumps(told, allow_nan=False)
    assert told["text"]
    assert len(told.get("line", ())) <= POINTS
    if "image" in told:
        image = told["image"]
        assert len(image["cells"]) % image["columns"] == 0
        assert len(image["cells"]) <= CELLS * CELLS
        assert all(shade is None or 0 <= shade <= SHADES for shade in image["cells"])


@pytest.mark.parametrize("value", [1, 1.5, True, "text", {"a": [1]}, ("json", b"{}"), b"\0", None])
def test_what_is_no_array_is_only_told(value):
    assert drawn(value).keys() == {"text"}


def test_a_long_spectrum_is_thinned_and_keeps_its_order():
    line = drawn(np.arange(10_000.0))["line"]
    assert POINTS / 2 < len(line) <= POINTS
    assert line == sorted(line)


def test_an_image_goes_from_dark_to_bright_and_leaves_out_what_is_no_number():
    image = drawn(np.array([[0.0, 1.0], [np.nan, 2.0]]))["image"]
    assert image == {"columns": 2, "cells": [0, 128, None, SHADES]}


def test_huge_numbers_are_drawn():
    assert drawn(np.array([-1e308, 1e308, np.inf]))["line"] == [-1e308, 1e308, None]
    assert drawn(np.array([[-1e308, 1e308]]))["image"]["cells"] == [SHADES // 2] * 2
