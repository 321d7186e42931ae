"""Make a value fit a `DataSpec`, or say why it does not.

* errors    `ConformError` for a value that does not fit
* source    numpy manual, "Casting rules", "Broadcasting"
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from .casting import LARGEST_F4, cast_struct, cast_to, field_spec, text_array, time_array
from .datatypes import Data, DataSpec, Kind, described, excerpt
from .errors import ConformError, untraced


def zero(spec: DataSpec) -> Data:
    """The zero of a dtype in the spec's shape (dynamic dimensions empty): '' for text."""
    match spec.kind:
        case Kind.BYTES:
            return ("", b"")
        case Kind.OBJECT:
            return None
        case Kind.STR if not spec.shape:
            return ""
    value = np.zeros([max(length, 0) for length in spec.shape], spec.dtype)
    return value if spec.shape else value[()]


def conform(value: object, spec: DataSpec, *, shorter: bool = False) -> Data:
    """The value as *spec* wants it, by numpy's rules: cast, then broadcast up to the shape.

    A cast is made when it is safe or of the same kind and the value survives it: an integer
    that is out of range, a finite float that would become infinite and a text that would be cut
    are refused, since a silently wrong value is worse than an error.

    Args:
        value: anything; *spec* is the dtype and shape wanted.
        shorter: take the shape as a maximum, so that a value with as many dimensions, none of
            them longer, keeps its own lengths; only one with fewer dimensions is broadcast.

    Raises:
        ConformError: the value does not fit.
    """
    if spec.labels and spec.kind is Kind.INT:  # of others they are a fault of the configuration
        return _labelled(value, spec, shorter)
    dtype, shape = spec.dtype, spec.shape
    if shape:
        if isinstance(value, np.ndarray) and value.dtype == dtype and value.shape == shape:
            return cast_to(value, spec, value)
        if (array := _few_floats(value, spec)) is not None:
            return array
    else:
        if (cast := _COMMON.get((type(value), dtype))) is not None:
            try:
                return cast(value)
            except OverflowError:
                pass  # as any other value, which tells what is wrong with it
        if type(value) is dtype.type and spec.kind not in (Kind.STR, Kind.STRUCT, Kind.DATETIME):
            return value
        if type(value) is np.void and value.dtype == dtype:
            return value
        if spec.kind is Kind.STR and isinstance(value, str) and not dtype.itemsize:
            return _text(value, spec)
        if spec.kind is Kind.OBJECT:
            return _plain(value)
        if spec.kind is Kind.BYTES:
            return _encoded(value, spec)
    if shape and spec.kind in (Kind.OBJECT, Kind.BYTES):
        raise ConformError(spec, described(value), "objects and bytes are scalar only")
    array = cast_to(_to_array(value, spec), spec, value)
    if shape == array.shape and not shape:
        return str(array[()]) if spec.kind is Kind.STR else array[()]
    return _fit(array, spec, shorter)


def conform_batch(
    values: Sequence[object], spec: DataSpec, *, shorter: bool = False
) -> list[Data | ConformError]:
    """The same for many values, in one go where they are alike: each value, or what is wrong."""
    kinds = set(map(type, values))
    if len(kinds) == 1 and not spec.shape and not spec.labels and spec.kind in _NUMBER_KINDS:
        (kind,) = kinds
        try:
            if (kind, spec.dtype) in _AT_ONCE:
                return list(np.array(values, spec.dtype))
            if kind in (float, int, bool):
                return list(conform(list(values), DataSpec(spec.dtype, (-1,))))
        except (OverflowError, ConformError):
            pass  # one of them does not fit
    found: list[Data | ConformError] = []
    for value in values:
        try:
            found.append(conform(value, spec, shorter=shorter))
        except ConformError as error:
            found.append(untraced(error))
    return found


_F8 = np.dtype("f8")


def _float32(value: float) -> np.float32:
    if -LARGEST_F4 <= value <= LARGEST_F4:
        return np.float32(value)
    raise OverflowError


_INTEGERS = [np.dtype(f"{sign}{size}") for sign in "iu" for size in (1, 2, 4, 8)]
_COMMON: dict[tuple[type, np.dtype[Any]], Callable[[Any], Any]] = {
    (float, _F8): np.float64,
    (int, _F8): np.float64,
    (float, np.dtype("f4")): _float32,
    (bool, np.dtype("?")): np.bool_,
    **{(int, dtype): dtype.type for dtype in _INTEGERS},
    **{(kind.type, kind): lambda value: value for kind in (*_INTEGERS, _F8, np.dtype("f4"))},
}
"""Scalars that become numpy's without more ado, by type and dtype: most data are such."""

_NUMBER_KINDS = frozenset({Kind.BOOL, Kind.INT, Kind.FLOAT})
_AT_ONCE = frozenset({(float, _F8), *((int, dtype) for dtype in _INTEGERS)})

_FEW = 32


def _few_floats(value: object, spec: DataSpec) -> np.ndarray[Any, Any] | None:
    """A short list of Python's floats as an array of float64 of just this length; else None."""
    if type(value) is not list or spec.dtype is not _F8 or spec.shape != (len(value),):
        return None
    few = len(value) <= _FEW and set(map(type, value)) == {float}
    return np.array(value, _F8) if few else None


def _labelled(value: object, spec: DataSpec, shorter: bool) -> Data:
    """Numbers, or labels, or both in lists, as numbers that have a label."""

    def number(item: object) -> object:
        if isinstance(item, list | tuple):
            return [number(part) for part in item]
        if not isinstance(item, str):
            return item
        if item not in spec.labels:
            raise ConformError(spec, described(value), f"no label is {excerpt(str(item))}")
        return spec.labels.index(item)

    text = isinstance(value, np.ndarray) and value.dtype.kind == "U"
    try:
        numbers = number(value.tolist() if text else value)  # type: ignore[attr-defined]
    except RecursionError as error:
        raise ConformError(spec, described(value), str(error)) from None
    fitting = conform(numbers, attrs.evolve(spec, labels=()), shorter=shorter)
    if np.size(fitting) and not 0 <= np.min(fitting) <= np.max(fitting) < len(spec.labels):
        reason = f"only the numbers 0 … {len(spec.labels) - 1} have a label"
        raise ConformError(spec, described(value), reason)
    return fitting


def _text(value: str, spec: DataSpec) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ConformError(spec, described(value), str(error)) from None
    return str(value)


def _plain(value: object) -> object:
    """Numpy's own values as plain Python ones; everything else as it is."""
    if isinstance(value, np.ndarray) and value.dtype.names is not None:
        return [_plain(row) for row in value] if value.ndim else _plain(value[()])
    if isinstance(value, np.void) and value.dtype.names is not None:
        return {name: _plain(value[name]) for name in value.dtype.names}
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    return value


def _encoded(value: object, spec: DataSpec) -> tuple[str, bytes]:
    if type(value) is tuple and len(value) == 2:
        encoding, data = value
        if type(encoding) is str and type(data) is bytes:
            return value
    match value:
        case (str(encoding), bytes() | bytearray() | memoryview() as data):
            return (encoding, bytes(data))
        case [str(encoding), str(data)]:  # as a configuration writes it: JSON has no bytes
            try:
                return (encoding, data.encode())
            except UnicodeEncodeError as error:
                raise ConformError(spec, described(value), str(error)) from None
        case bytes() | bytearray():
            return ("", bytes(value))
    raise ConformError(spec, described(value), "bytes are a pair of encoding and data")


def _to_array(value: object, spec: DataSpec) -> np.ndarray[Any, Any]:
    if isinstance(value, np.ndarray) or (
        isinstance(value, np.generic) and type(value) is not np.str_
    ):
        return np.asarray(value)
    try:
        if isinstance(value, list | tuple) and _is_empty(value):
            return _empty_array(value, spec)
        match spec.kind:
            case Kind.STRUCT:
                return _struct_array(value, spec.dtype)
            case Kind.STR:
                return text_array(value)
            case Kind.DATETIME if isinstance(next(_items(value), None), str):
                return time_array(value, spec.dtype)
        array = np.asarray(value)
        if array.dtype == object or (spec.kind is Kind.INT and array.dtype == np.float64):
            return _wide_numbers(value, spec, array)
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise ConformError(spec, described(value), str(error) or type(error).__name__) from None
    return array


def _items(value: object) -> Iterator[object]:
    """What nested lists hold, in order."""
    if isinstance(value, list | tuple):
        for item in value:
            yield from _items(item)
    else:
        yield value


def _is_empty(value: Sequence[object]) -> bool:
    """Whether nested lists hold nothing but lists."""
    return all(isinstance(item, list | tuple) and _is_empty(item) for item in value)


def _empty_array(value: Sequence[object], spec: DataSpec) -> np.ndarray[Any, Any]:
    """An array without elements; lengths that empty lists cannot tell are the shape's."""
    array = np.asarray(value, np.dtype("U1") if spec.kind is Kind.STR else spec.dtype)
    told = array.ndim
    missing = [max(length, 0) for length in spec.shape[told:]]
    return array.reshape([*array.shape, *missing])


def _wide_numbers(
    value: object, spec: DataSpec, array: np.ndarray[Any, Any]
) -> np.ndarray[Any, Any]:
    """Whole numbers for which numpy has no common type, exactly; whatever else as *array*."""
    types = {type(item) for item in _items(value)}
    if spec.kind is Kind.INT and types == {int}:
        try:
            return np.asarray(value, spec.dtype)
        except OverflowError:
            info = np.iinfo(spec.dtype)
            raise OverflowError(f"the number is out of range {info.min} … {info.max}") from None
    if spec.kind in (Kind.FLOAT, Kind.COMPLEX) and types <= {int, float, complex}:
        return np.asarray(value, "c16" if complex in types else "f8")
    if array.dtype == object:
        raise TypeError("the values have no common type that fits")
    return array


def _struct_array(value: object, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """Mappings and sequences of a struct's fields, nested in lists, as one array."""
    names = dtype.names or ()

    def record(item: object) -> object:
        if isinstance(item, dict):
            if set(item) != set(names):
                raise ValueError(f"the struct has the fields {list(names)}")
            return tuple(_field_value(item[name], dtype, name) for name in names)
        if isinstance(item, list) and item and isinstance(item[0], dict | list | tuple):
            return [record(part) for part in item]
        if isinstance(item, list | tuple):
            if len(item) != len(names):
                raise ValueError(f"the struct has the fields {list(names)}")
            return tuple(map(_field_value, item, [dtype] * len(names), names))
        raise TypeError("a struct is written as a mapping of its fields")

    if isinstance(value, list | tuple) and all(isinstance(v, np.ndarray | np.void) for v in value):
        return np.stack([cast_struct(np.asarray(item), dtype) for item in value])
    return np.asarray(record(value), dtype)


def _field_value(value: object, dtype: np.dtype[Any], name: str) -> object:
    try:
        return conform(value, field_spec(dtype, name))
    except ConformError as error:
        raise ValueError(f"field {name!r}: expected {error.expected}, {error.reason}") from None


def _fit(array: np.ndarray[Any, Any], spec: DataSpec, shorter: bool) -> np.ndarray[Any, Any]:
    lengths, shape = array.shape, spec.shape
    same_rank = len(lengths) == len(shape)
    pairs = list(zip(reversed(lengths), reversed(shape), strict=False))
    if same_rank and all(n == most or most < 0 for n, most in pairs):
        return array
    if same_rank and shorter and all(n <= most or most < 0 for n, most in pairs):
        return array
    target = [most if most >= 0 else -1 for most in shape]
    for axis, (n, most) in enumerate(pairs, 1):
        if most < 0:
            target[-axis] = n
    if len(lengths) <= len(shape) and -1 not in target:
        try:
            return np.broadcast_to(array, target)
        except ValueError:
            pass
    found = f"{array.dtype.name if array.dtype.kind != 'U' else 'str'}{list(lengths)}"
    raise ConformError(spec, found, "the dimensions do not broadcast to the shape")
