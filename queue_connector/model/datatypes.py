"""The types of data: what may be written as a dtype, and what a datum of it is.

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
* errors    `DtypeError` for what is not a dtype
* source    numpy manual, "Data type objects"
"""

from __future__ import annotations

import difflib
import enum
import functools
import re
import reprlib
from collections.abc import Iterable, Sequence
from typing import Any

import attrs
import numpy as np

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
        f"{excerpt(written)} is not a dtype",
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
        raise DtypeError(f"no dtype is called {excerpt(name)}", hint)
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
                    f"{excerpt(entry)} is not a field of a struct",
                    'write ["name", "dtype"] or ["name", "dtype", [lengths]]',
                )
        if not all(type(length) is int and 0 < length < 2**31 for length in shape):
            raise DtypeError(
                f"field {name!r} has the shape {excerpt(shape)}", "write positive lengths"
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


def described(value: object) -> str:
    """A value in words, for an error: its type and how it begins."""
    if isinstance(value, np.ndarray | np.generic):
        return f"{value.dtype}{list(value.shape) if value.shape else ''} {excerpt(value)}"
    return f"{type(value).__name__} {excerpt(value)}"


_brief = reprlib.Repr()
_brief.maxlist = _brief.maxtuple = _brief.maxdict = 20
_brief.maxstring = _brief.maxother = _brief.maxlong = 100


def excerpt(value: object) -> str:
    """How a value begins, as Python writes it."""
    if isinstance(value, np.ndarray) and value.size > 20:
        value = value.reshape(-1)[:20]
    if isinstance(value, list | tuple | dict | str | bytes) and len(value) > 200:
        return f"of length {len(value)}"
    try:
        text = _brief.repr(value) if isinstance(value, list | tuple | dict) else repr(value)
    except (RecursionError, ValueError):
        return "that cannot be shown"
    return text if len(text) <= 80 else text[:77] + "..."
