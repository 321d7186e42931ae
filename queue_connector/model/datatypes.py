"""The types of data: what may be written as a dtype, and how a value is made to fit one.

A `DataSpec` is a dtype and a shape. The value of a datum is, by the kind of its dtype:

==============  ===================================  ===========================
kind            scalar (shape ``()``)                with dimensions
==============  ===================================  ===========================
str             ``str``                              ``numpy.ndarray`` of ``<U``
bytes           ``(encoding: str, data: bytes)``     not offered
object          anything JSON-like                   not offered
all others      ``numpy.generic`` of that dtype      ``numpy.ndarray``
==============  ===================================  ===========================

* shape     the largest dimensions; one entry may be negative: a dynamic dimension
* errors    `DtypeError` for what is not a dtype, `ConformError` for a value that does not fit
* source    numpy manual, "Data type objects", "Casting rules", "Broadcasting"
"""

from __future__ import annotations

import difflib
import enum
import functools
import re
import reprlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from .errors import ConformError, untraced

Data = Any
"""One datum, as in the table above."""

MAX_DIMENSIONS = 32


class Kind(enum.Enum):
    """The columns of the compatibility tables: dtypes that behave alike."""

    BYTES = "bytes"
    OBJECT = "object"
    STR = "str"
    BOOL = "bool"
    INT = "int"
    FLOAT = "float"
    COMPLEX = "complex"
    DATETIME = "datetime64"
    STRUCT = "struct"


_KINDS = {
    "S": Kind.BYTES,
    "O": Kind.OBJECT,
    "U": Kind.STR,
    "b": Kind.BOOL,
    "i": Kind.INT,
    "u": Kind.INT,
    "f": Kind.FLOAT,
    "c": Kind.COMPLEX,
    "M": Kind.DATETIME,
    "V": Kind.STRUCT,
}

_ALIASES = {
    "str": "U",
    "str_": "U",
    "string": "U",
    "bytes": "S",
    "object": "O",
    "object_": "O",
    "int": "int64",
    "float": "float64",
    "DevString": "U",
    "DevEncoded": "S",
    "DevBoolean": "bool",
    "DevUChar": "uint8",
    "DevShort": "int16",
    "DevUShort": "uint16",
    "DevLong": "int32",
    "DevULong": "uint32",
    "DevLong64": "int64",
    "DevULong64": "uint64",
    "DevFloat": "float32",
    "DevDouble": "float64",
}

_REMOVED = {
    "bytearray": "write 'bytes'",
    "json": "write 'object', and the encoding 'json' at the source or sink",
    "dict": "write 'object'",
    "list": "write 'object', or the dtype of the elements and a shape",
}

_OFFERED = (
    "str", "bytes", "object", "bool",
    "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64",
    "float32", "float64", "complex64", "complex128", "datetime64[ns]",
)  # fmt: skip


# What numpy is asked about: a name, a type code with its size, or a unit of time in brackets. It
# divides by zero over "datetime64[s/0]" and "datetime64[0s]", and the process dies of it.
_NAME = re.compile(
    r"(?!a\d*$)[<>=|]?[A-Za-z?]\w{0,31}(\[([1-9]\d{0,8})?[A-Za-z]{1,8}\])?", re.ASCII
)
# ISO 8601 as numpy writes it. Without "now", "today" and time zones: the scale is TAI.
_TIME = re.compile(r"\d{4}(-\d\d(-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d{1,18})?)?)?)?)?)?|NaT", re.ASCII)


_CASTS_TO_TEXT = frozenset("UbiufcS")
"""The kinds that numpy casts to text safely; bytes are ASCII then."""


class DtypeError(ValueError):
    """Something is not the name of a data type; ``hint`` says what to write instead."""

    def __init__(self, message: str, hint: str) -> None:
        self.message = message
        self.hint = hint
        super().__init__(f"{message} ({hint})")


def parse_dtype(written: object) -> np.dtype[Any]:
    """The numpy dtype that a configuration means.

    Args:
        written: a name of SPEC's table (``"float64"``, ``"string"``, ``"DevDouble"``), any other
            numpy name or type string of those kinds (``"<f4"``), or a list of
            ``[name, dtype]`` or ``[name, dtype, shape]`` for a struct. A numpy dtype is
            returned as it is. ``"str"`` is ``U``, ``"bytes"`` is ``S`` and ``"object"`` is ``O``.

    Raises:
        DtypeError: nothing of the offered kinds is meant.
    """
    if isinstance(written, np.dtype) and written.kind in _KINDS:
        return written
    if isinstance(written, str):
        return _parse_name(written)
    if isinstance(written, list | tuple) and written:
        return _parse_struct(written)
    raise DtypeError(
        f"{_excerpt(written)} is not a dtype",
        "write a name such as 'float64', or a list of [name, dtype] for a struct",
    )


@functools.lru_cache(1024)  # a configuration names few, many times, and a hint takes a while
def _parse_name(name: str) -> np.dtype[Any]:
    if name in _REMOVED:
        raise DtypeError(f"the dtype {name!r} was removed", _REMOVED[name])
    if name in ("enum", "DevEnum"):
        raise DtypeError(f"no dtype is called {name!r}", "write 'int16', and labels beside it")
    close = difflib.get_close_matches(name[:64], (*_OFFERED, *_ALIASES), 1)
    hint = f"did you mean {close[0]!r}?" if close else f"known: {', '.join(_OFFERED)}"
    try:
        dtype = np.dtype(_ALIASES.get(name, name)) if _NAME.fullmatch(name) else None
    except (TypeError, ValueError, SyntaxError):
        dtype = None
    if dtype is None:
        raise DtypeError(f"no dtype is called {_excerpt(name)}", hint)
    kind = _KINDS.get(dtype.kind)
    if kind is None or dtype.kind == "V" or (kind is Kind.BYTES and dtype.itemsize):
        raise DtypeError(f"the dtype {name!r} is not offered", hint)
    if (dtype.kind in "fc" and dtype.itemsize not in (4, 8, 16)) or dtype.char in "gG":
        raise DtypeError(f"the dtype {name!r} is not offered", "write 'float32' or 'float64'")
    if kind is Kind.DATETIME and np.datetime_data(dtype)[0] == "generic":
        return np.dtype("datetime64[ns]")
    return np.dtype(dtype.str)  # one of numpy's equal types, such as 'l' and 'q'


def _parse_struct(entries: Sequence[object]) -> np.dtype[Any]:
    fields: list[tuple[str, np.dtype[Any], tuple[int, ...]]] = []
    for entry in entries:
        match entry:
            case [str(name), written] | [str(name), written, [] | None] if name:
                shape: tuple[int, ...] = ()
            case [str(name), written, int(length)] if name and not isinstance(length, bool):
                shape = (length,)
            case [str(name), written, [*lengths]] if name:
                shape = tuple(lengths)  # type: ignore[arg-type]
            case _:
                raise DtypeError(
                    f"{_excerpt(entry)} is not a field of a struct",
                    'write ["name", "dtype"] or ["name", "dtype", [lengths]]',
                )
        if not all(type(length) is int and 0 < length < 2**31 for length in shape):
            raise DtypeError(
                f"field {name!r} has the shape {_excerpt(shape)}", "write positive lengths"
            )
        dtype = parse_dtype(written)
        if dtype.kind in "OS" or dtype.itemsize == 0:
            raise DtypeError(
                f"field {name!r} has a dtype without a fixed size, {dtype_name(dtype)!r}",
                "write a fixed length for text, such as 'U8'; objects do not go into structs",
            )
        fields.append((name, dtype, shape))
    try:
        return np.dtype([(name, dtype, shape) for name, dtype, shape in fields])
    except (ValueError, TypeError) as error:
        raise DtypeError(f"not a struct: {error}", "give every field a name of its own") from None


def dtype_name(dtype: np.dtype[Any]) -> str | list[list[Any]]:
    """How a configuration writes this dtype: what `parse_dtype` reads back to the same one."""
    if dtype.names is not None and dtype.fields is not None:
        written: list[list[Any]] = []
        for name in dtype.names:
            field = dtype.fields[name][0]
            base, shape = field.subdtype or (field, ())
            entry = [name, dtype_name(base)]
            written.append([*entry, list(shape)] if shape else entry)
        return written
    if dtype.kind == "U":
        if not dtype.itemsize:
            return "str"
        return f"U{dtype.itemsize // 4}" if dtype.isnative else dtype.str
    if dtype.kind in "SO":
        return "bytes" if dtype.kind == "S" else "object"
    return dtype.name if dtype.isnative else dtype.str


def _lengths(shape: Iterable[int]) -> tuple[int, ...]:
    return tuple(shape)


def _texts(labels: Iterable[str]) -> tuple[str, ...]:
    return tuple(labels)


@attrs.frozen(repr=False)
class DataSpec:
    """The dtype and the shape that the data of a stream have.

    ``shape`` holds the largest dimensions, ``()`` for a scalar; a negative entry is a dynamic
    dimension. ``labels`` name the numbers from 0 on, and no others fit then.
    """

    dtype: np.dtype[Any] = attrs.field(converter=parse_dtype)
    shape: tuple[int, ...] = attrs.field(default=(), converter=_lengths)
    labels: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    kind: Kind = attrs.field(init=False, eq=False)

    @kind.default
    def _kind(self) -> Kind:
        return _KINDS[self.dtype.kind]

    @property
    def dynamic(self) -> bool:
        """Whether one dimension may have any length."""
        return any(length < 0 for length in self.shape)

    def __str__(self) -> str:
        name = dtype_name(self.dtype)
        text = name if isinstance(name, str) else f"struct({', '.join(e[0] for e in name)})"
        if self.labels:
            text = f"enum({', '.join(self.labels)})"
        return text + (f"[{', '.join(map(str, self.shape))}]" if self.shape else "")

    __repr__ = __str__


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
        value: anything.
        spec: the dtype and shape wanted.
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
            return _cast(value, spec, value)
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
        raise ConformError(spec, _found(value), "objects and bytes are scalar only")
    array = _cast(_to_array(value, spec), spec, value)
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
    if -_LARGEST_F4 <= value <= _LARGEST_F4:
        return np.float32(value)
    raise OverflowError


_LARGEST_F4 = float(np.finfo("f4").max)

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
            raise ConformError(spec, _found(value), f"no label is {_excerpt(str(item))}")
        return spec.labels.index(item)

    text = isinstance(value, np.ndarray) and value.dtype.kind == "U"
    try:
        numbers = number(value.tolist() if text else value)  # type: ignore[attr-defined]
    except RecursionError as error:
        raise ConformError(spec, _found(value), str(error)) from None
    fitting = conform(numbers, attrs.evolve(spec, labels=()), shorter=shorter)
    if np.size(fitting) and not 0 <= np.min(fitting) <= np.max(fitting) < len(spec.labels):
        reason = f"only the numbers 0 … {len(spec.labels) - 1} have a label"
        raise ConformError(spec, _found(value), reason)
    return fitting


def _text(value: str, spec: DataSpec) -> str:
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise ConformError(spec, _found(value), str(error)) from None
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
                raise ConformError(spec, _found(value), str(error)) from None
        case bytes() | bytearray():
            return ("", bytes(value))
    raise ConformError(spec, _found(value), "bytes are a pair of encoding and data")


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
                return _text_array(value)
            case Kind.DATETIME if isinstance(next(_items(value), None), str):
                return _time_array(value, spec.dtype)
        array = np.asarray(value)
        if array.dtype == object or (spec.kind is Kind.INT and array.dtype == np.float64):
            return _wide_numbers(value, spec, array)
    except (ValueError, TypeError, OverflowError, RecursionError, MemoryError) as error:
        raise ConformError(spec, _found(value), str(error) or type(error).__name__) from None
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


_NUMBERS = (bool, int, float, complex, np.number, np.bool_)


def _text_array(value: object) -> np.ndarray[Any, Any]:
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


def _time_array(value: object, dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    if isinstance(value, list | tuple):
        return np.asarray([_time_array(item, dtype) for item in value], dtype)
    if not (isinstance(value, str) and _TIME.fullmatch(value)):
        raise ValueError(
            "a time is written in ISO 8601 on the TAI scale, without a time zone, "
            "as in '2026-01-31T12:00:00.5'"
        )
    time = np.asarray(value, "M8")
    if str(time)[:4] not in (value[:4], "NaT"):  # numpy wraps what is beyond its range
        raise OverflowError("the time is out of range")
    return _cast_times(time, dtype)


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
        return np.stack([_cast_struct(np.asarray(item), dtype) for item in value])
    return np.asarray(record(value), dtype)


def _field_value(value: object, dtype: np.dtype[Any], name: str) -> object:
    try:
        return conform(value, _field_spec(dtype, name))
    except ConformError as error:
        raise ValueError(f"field {name!r}: expected {error.expected}, {error.reason}") from None


def _field_spec(dtype: np.dtype[Any], name: str) -> DataSpec:
    assert dtype.fields is not None
    field = dtype.fields[name][0]
    base, shape = field.subdtype or (field, ())
    return DataSpec(base, shape)


def _cast(array: np.ndarray[Any, Any], spec: DataSpec, value: object) -> np.ndarray[Any, Any]:
    dtype = spec.dtype
    if array.dtype == dtype:  # numpy has two types of 64 bits, equal but not the same
        return array if array.dtype.char == dtype.char else array.view(dtype)
    try:
        if spec.kind is Kind.STRUCT:
            return _cast_struct(array, dtype)
        if spec.kind is Kind.DATETIME and array.dtype.kind == "M":
            return _cast_times(array, dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise ConformError(spec, _found(value), str(error)) from None
    if spec.kind is Kind.STR:
        if array.dtype.kind not in _CASTS_TO_TEXT:
            raise ConformError(spec, _found(value), "only text, numbers and booleans fit")
        try:
            array = array if array.dtype.kind == "U" else array.astype("U")
        except ValueError as error:  # a byte that is not ASCII
            raise ConformError(spec, _found(value), str(error)) from None
        if dtype.itemsize and array.dtype.itemsize > dtype.itemsize:
            if array.size and np.char.str_len(array).max() > dtype.itemsize // 4:
                raise ConformError(spec, _found(value), "the text is too long and would be cut")
            return array.astype(dtype)
        return array.astype(dtype) if dtype.itemsize else array
    if array.dtype.kind in "iu" and dtype.kind in "iu":
        info = np.iinfo(dtype)
        if array.size and (int(array.min()) < info.min or int(array.max()) > info.max):
            raise ConformError(
                spec, _found(value), f"the number is out of range {info.min} … {info.max}"
            )
        return array.astype(dtype)
    if array.dtype.kind == "U" or not np.can_cast(array.dtype, dtype, "same_kind"):
        raise ConformError(spec, _found(value), f"{array.dtype} does not cast to {dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype)
    narrower = cast.dtype.kind in "fc" and cast.dtype.itemsize < array.dtype.itemsize
    if narrower and not np.array_equal(np.isfinite(cast), np.isfinite(array)):
        raise ConformError(spec, _found(value), f"the number is out of range of {dtype}")
    return cast


def _cast_struct(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> np.ndarray[Any, Any]:
    """The same fields by name, each cast like a value of its own."""
    if set(array.dtype.names or ()) != set(dtype.names or ()):
        found = list(array.dtype.names or ()) or array.dtype
        raise TypeError(f"the struct has the fields {list(dtype.names or ())}, found {found}")
    cast = np.empty(array.shape, dtype)
    for name in dtype.names or ():
        field = _field_spec(dtype, name)
        part = array[name]
        if part.shape[array.ndim :] != field.shape:
            raise ValueError(f"field {name!r} has the shape {list(field.shape)}")
        try:
            cast[name] = _cast(part, DataSpec(field.dtype), part)
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


def _found(value: object) -> str:
    if isinstance(value, np.ndarray | np.generic):
        return f"{value.dtype}{list(value.shape) if value.shape else ''} {_excerpt(value)}"
    return f"{type(value).__name__} {_excerpt(value)}"


_brief = reprlib.Repr()
_brief.maxlist = _brief.maxtuple = _brief.maxdict = 20
_brief.maxstring = _brief.maxother = _brief.maxlong = 100


def _excerpt(value: object) -> str:
    if isinstance(value, np.ndarray) and value.size > 20:
        value = value.reshape(-1)[:20]
    if isinstance(value, list | tuple | dict | str | bytes) and len(value) > 200:
        return f"of length {len(value)}"
    try:
        text = _brief.repr(value) if isinstance(value, list | tuple | dict) else repr(value)
    except (RecursionError, ValueError):
        return "that cannot be shown"
    return text if len(text) <= 80 else text[:77] + "..."
