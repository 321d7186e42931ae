"""Values of every Tango type and format that a careless conversion would spoil."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from queue_connector.model.datatypes import DataSpec
from tests.device.source_device import COLUMNS, LABELS, ROWS

EXTREMES: dict[str, tuple[str, list[Any]]] = {
    "DevBoolean": ("bool", [True, False]),
    "DevUChar": ("uint8", [0, 255]),
    "DevShort": ("int16", [-(2**15), 2**15 - 1]),
    "DevUShort": ("uint16", [0, 2**16 - 1]),
    "DevLong": ("int32", [-(2**31), 2**31 - 1]),
    "DevULong": ("uint32", [0, 2**32 - 1]),
    "DevLong64": ("int64", [-(2**63), 2**63 - 1]),
    "DevULong64": ("uint64", [0, 2**64 - 1]),
    "DevFloat": ("float32", [float("nan"), float("-inf"), 3.4028235e38, -0.0]),
    "DevDouble": ("float64", [float("nan"), float("inf"), 5e-324, 0.1]),
    "DevString": ("str", ["", "Ångström ÿ", "a\nb"]),
    "DevEnum": ("int16", [2, 0, 1]),
}


def cases() -> Iterator[tuple[str, DataSpec, list[Any]]]:
    """Attribute name, spec, and values in numpy's form (or text)."""
    yield "DevEncoded_SCALAR", DataSpec("bytes"), [("json", b"\x00\xff\x00"), ("", b"")]
    for tango_name, (dtype, extremes) in EXTREMES.items():
        labels = LABELS if tango_name == "DevEnum" else ()
        kind = "U" if dtype == "str" else dtype
        scalars = [v if dtype == "str" else np.dtype(dtype).type(v) for v in extremes]
        line = [extremes[i % len(extremes)] for i in range(COLUMNS)]
        spectra = [np.array(line[:n], kind) for n in (COLUMNS, 2, 0)]  # whole, shorter, empty
        images = [
            np.array([line[:columns]] * rows, kind).reshape(rows, columns)
            for rows, columns in ((ROWS, COLUMNS), (2, 3), (0, 0))
        ]
        yield f"{tango_name}_SCALAR", DataSpec(dtype, (), labels), scalars
        yield f"{tango_name}_SPECTRUM", DataSpec(dtype, (COLUMNS,), labels), spectra
        yield f"{tango_name}_IMAGE", DataSpec(dtype, (ROWS, COLUMNS), labels), images


CASES = list(cases())
NAMES = [name for name, _spec, _values in CASES]


def plain(value: Any) -> Any:
    """What Tango writes for a value."""
    if isinstance(value, np.ndarray):
        return value.tolist() if value.dtype.kind == "U" else value
    return value.item() if isinstance(value, np.generic) else value


def assert_same(found: Any, expected: Any) -> None:
    """Equal to the last bit, NaN included; Tango's nested tuples of text are arrays of text."""
    if isinstance(expected, np.ndarray):
        if expected.dtype.kind == "U":
            found = np.array(found, "U").reshape(expected.shape)
        else:
            assert found.dtype == expected.dtype
        assert found.shape == expected.shape
        np.testing.assert_array_equal(found, expected)
    else:
        np.testing.assert_equal(found, expected)
