"""What is expected of a datum beside what was found: in words where they differ.

* numbers   floating-point ones may differ by a tolerance, or of large ones by that part of them;
            NaN is equal to NaN. All others are equal or not
* values    what is expected is made to conform as the data of a source are, so that a scalar stands
            for a whole array, and a label for its number
"""

from __future__ import annotations

import json
import math
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from ..model import texts
from ..model.conform import conform
from ..model.datatypes import Data, DataSpec, Kind
from ..model.endpoints import Coding, Sent
from ..model.errors import ConformError, DataError
from ..model.option import UNWRITTEN
from .cases import Leaving

_MANY = 20  # elements of a table that are told
_EXCERPT = 200  # characters of a value that are told


def unlike(expected: Any, found: Data, spec: DataSpec, tolerance: float) -> str:
    """How a datum differs from what is written; empty where it does not."""
    if spec.kind is Kind.OBJECT:
        return "" if _close(expected, found, tolerance) else _differ(expected, found)
    if spec.kind is Kind.BYTES:
        text = found[1] if isinstance(found, tuple) else found
        same = isinstance(expected, str) and expected.encode() == text
        return "" if same else _differ(expected, text)
    try:
        wanted = conform(expected, spec, shorter=True)
    except ConformError as error:
        return f"{shown(expected)} is nothing that it could be: {error.reason}"
    same = np.shape(wanted) == np.shape(found) and _equal(wanted, found, tolerance)
    return "" if same else _differ(wanted, found)


def unlike_sent(
    expected: Leaving,
    sent: Sent,
    spec: DataSpec,
    coding: Coding | None,
    folder: Path,
    tolerance: float,
) -> str:
    """How a message differs, or a value where nothing is encoded; files are in *folder*."""
    if expected.timestamp is not None and expected.timestamp != sent.timestamp:
        return f"expected the timestamp {expected.timestamp}, found {sent.timestamp}"
    if expected.value is not UNWRITTEN:
        try:
            value = sent.content if coding is None else coding.decode(bytes(sent.content), spec)
        except DataError as error:
            return str(error)
        return unlike(expected.value, value, spec, tolerance)
    content = sent.content[1] if coding is None else bytes(sent.content)
    if expected.json is not UNWRITTEN:
        try:
            found = json.loads(content)
        except ValueError:
            return f"expected JSON, found {shown(content)}"
        return "" if _close(expected.json, found, tolerance) else _differ(expected.json, found)
    payload = expected.payload(folder)
    return "" if content == payload else _differ(payload, content)


def shown(value: Any) -> str:
    """A datum, in few words."""
    value = _plain(value)
    if isinstance(value, bytes):
        with suppress(UnicodeDecodeError):
            value = value.decode()
    return texts.shortened(texts.printable(repr(value)), _EXCERPT)


def _plain(value: Any) -> Any:
    """A value of numpy as Python's, with times as text and the fields of structs by name."""
    if not isinstance(value, np.ndarray | np.generic):
        return value
    if not value.dtype.names and value.dtype.kind not in "mM":
        return value.tolist()
    array: Any = value
    if array.ndim:
        return [_plain(each) for each in array[:_MANY]]
    if array.dtype.names:
        return {name: _plain(array[name]) for name in array.dtype.names}
    return str(array)


def _differ(expected: Any, found: Any) -> str:
    return f"expected {shown(expected)}, found {shown(found)}"


def _equal(wanted: Any, found: Any, tolerance: float) -> bool:
    """Whether data of one dtype and shape are the same."""
    wanted, found = np.asarray(wanted), np.asarray(found)
    if wanted.dtype.names:
        return all(_equal(wanted[name], found[name], tolerance) for name in wanted.dtype.names)
    if wanted.dtype.kind in "fc":
        near = {"rtol": tolerance, "atol": tolerance}
        return bool(np.allclose(found, wanted, equal_nan=True, **near))
    if wanted.dtype.kind in "mM":
        return bool(np.array_equal(wanted, found, equal_nan=True))
    return bool(np.array_equal(wanted, found))


def _close(wanted: Any, found: Any, tolerance: float) -> bool:
    """The same of values of JSON."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(
            _close(wanted[key], found[key], tolerance) for key in wanted
        )
    if isinstance(found, np.ndarray | np.generic):
        found = found.tolist()
    if isinstance(wanted, list | tuple) and isinstance(found, list | tuple):
        return len(wanted) == len(found) and all(
            _close(one, other, tolerance) for one, other in zip(wanted, found, strict=True)
        )
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    if isinstance(wanted, float) or isinstance(found, float):
        if not isinstance(wanted, int | float) or not isinstance(found, int | float):
            return False
        if math.isnan(wanted) or math.isnan(found):
            return math.isnan(wanted) and math.isnan(found)
        return math.isclose(wanted, found, rel_tol=tolerance, abs_tol=tolerance)
    return bool(wanted == found)
