"""Arrays of one dtype → another, where numpy alone would change what they mean.

* errors    `ConformError`, and `ValueError` for text that is no time
* source    numpy manual, "Casting rules"
"""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from .datatypes import DataSpec, Kind, described
from .errors import ConformError

# ISO 8601 as numpy writes it. Without "now", "today" and time zones: the scale is TAI.
_TIME = re.compile(r"\d{4}(-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d{1,18})?)?)?)?)?)?|NaT", re.ASCII)

_CASTS_TO_TEXT = frozenset("UbiufcS")
"""The kinds that numpy casts to text safely; bytes are ASCII then."""

LARGEST_F4 = float(np.finfo("f4").max)
"""The largest number of float32."""

_NUMBERS = (bool, int, float, complex, np.number, np.bool_)


def text_array(value: object) -> np.ndarray[Any, Any]:
    """An array of text, of text and of what has one way to be written."""
    if isinstance(value, list | tuple) and any(isinstance(item, np.ndarray) for item in value):
        array = np.asarray(value)
        if array.dtype.kind in _CASTS_TO_TEXT:
            return array
    return np.asarray(_texts_of(value), "U")


def _texts_of(value: object) -> Any:
    """Text, or nested lists of it: of what numpy casts to text safely, its text."""
    if isinstance(value, list | tuple):
        return [_texts_of(item) for item in value]
    if isinstance(value, bytes):
        value = value.decode("ascii")
    elif isinstance(value, _NUMBERS):
        return str(value)
    if not isinstance(value, str):
        raise TypeError("only text, numbers and booleans fit")
    if value.endswith("\0"):  # numpy pads with NUL and would strip it
        raise ValueError("text in an array or of fixed length cannot end in NUL")
    value.encode()  # raises for a lone surrogate
    return value


def time_array(value: object, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """An array of datetime64, of texts in ISO 8601 or of times."""
    if isinstance(value, list | tuple):
        return np.asarray([time_array(item, dtype) for item in value], dtype)
    if not (isinstance(value, str) and _TIME.fullmatch(value)):
        raise ValueError(
            "a time is written in ISO 8601 on the TAI scale, without a time zone, "
            "as in '2026-01-31T12:00:00.5'"
        )
    time = np.asarray(value, "M8")
    if str(time)[:4] not in (value[:4], "NaT"):  # numpy wraps what is beyond its range
        raise OverflowError("the time is out of range")
    return _cast_times(time, dtype)


def field_spec(dtype: np.dtype[Any], name: str) -> DataSpec:
    """What a field of a struct holds."""
    assert dtype.fields is not None
    field = dtype.fields[name][0]
    base, shape = field.subdtype or (field, ())
    return DataSpec(base, shape)


def cast_to(array: np.ndarray[Any, Any], spec: DataSpec, value: object) -> np.ndarray[Any, Any]:
    """An array as one of the dtype of *spec*, where that keeps every element.

    Raises:
        ConformError: it does not; *value* is what it was made of.
    """
    dtype = spec.dtype
    if array.dtype == dtype:  # numpy has two types of 64 bits, equal but not the same
        return array if array.dtype.char == dtype.char else array.view(dtype)
    try:
        if spec.kind is Kind.STRUCT:
            return cast_struct(array, dtype)
        if spec.kind is Kind.DATETIME and array.dtype.kind == "M":
            return _cast_times(array, dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise ConformError(spec, described(value), str(error)) from None
    if spec.kind is Kind.STR:
        if array.dtype.kind not in _CASTS_TO_TEXT:
            raise ConformError(spec, described(value), "only text, numbers and booleans fit")
        try:
            array = array if array.dtype.kind == "U" else array.astype("U")
        except ValueError as error:  # a byte that is not ASCII
            raise ConformError(spec, described(value), str(error)) from None
        if dtype.itemsize and array.dtype.itemsize > dtype.itemsize:
            if array.size and np.char.str_len(array).max() > dtype.itemsize // 4:
                raise ConformError(spec, described(value), "the text is too long and would be cut")
            return array.astype(dtype)
        return array.astype(dtype) if dtype.itemsize else array
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        info = np.iinfo(dtype)
        if array.size and (int(array.min()) < info.min or int(array.max()) > info.max):
            raise ConformError(
                spec, described(value), f"the number is out of range {info.min} … {info.max}"
            )
        return array.astype(dtype)
    if array.dtype.kind == "U" or not np.can_cast(array.dtype, dtype, "same_kind"):
        raise ConformError(spec, described(value), f"{array.dtype} does not cast to {dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype)
    narrower = cast.dtype.kind in "fc" and cast.dtype.itemsize < array.dtype.itemsize
    if narrower and not np.array_equal(np.isfinite(cast), np.isfinite(array)):
        raise ConformError(spec, described(value), f"the number is out of range of {dtype}")
    return cast


def cast_struct(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """The same fields by name, each cast like a value of its own."""
    if set(array.dtype.names or ()) != set(dtype.names or ()):
        found = list(array.dtype.names or ()) or array.dtype
        raise TypeError(f"the struct has the fields {list(dtype.names or ())}, found {found}")
    cast = np.empty(array.shape, dtype)
    for name in dtype.names or ():
        field = field_spec(dtype, name)
        part = array[name]
        if part.shape[array.ndim :] != field.shape:
            raise ValueError(f"field {name!r} has the shape {list(field.shape)}")
        try:
            cast[name] = cast_to(part, DataSpec(field.dtype), part)
        except ConformError as error:
            raise ValueError(f"field {name!r}: expected {error.expected}, {error.reason}") from None
    return cast


def _cast_times(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Times in another unit; numpy would wrap those out of its range."""
    cast = array.astype(dtype)
    unit = array.dtype if np.can_cast(array.dtype, dtype, "safe") else dtype
    finer = unit is array.dtype
    same = cast.astype(unit) == (array if finer else array.astype(unit))
    if not np.all(same | np.isnat(array)):
        raise OverflowError(f"the time is out of range of {dtype}")
    return cast
