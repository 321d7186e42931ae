"""Arrays out of foreign memory: what `carray`, `npy` and `msgpack_numpy` share.

Nothing is allocated that a payload merely claims, no object is ever made by it, and what numpy
would trust (that a boolean is 0 or 1, that a character is one) is checked.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any

import numpy as np

_TYPE = re.compile(
    r"[<>|=]?(b1|i[1248]|u[1248]|f[248]|c8|c16|U\d{1,8}"
    r"|M8\[([1-9]\d{0,8})?(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])",
    re.ASCII,
)
_PADDING = re.compile(r"\|V(\d{1,9})", re.ASCII)
_MAX_NESTING = 8


def has_times(dtype: np.dtype[Any]) -> bool:
    """Whether a dtype is datetime64, or a struct with one somewhere in it."""
    return any(base.kind == "M" for base, _ in _leaves(dtype))


def _leaves(dtype: np.dtype[Any]) -> Iterator[tuple[np.dtype[Any], tuple[str, ...]]]:
    """The dtypes that a dtype is made of, each with the path of field names to it."""
    if dtype.subdtype is not None:
        yield from _leaves(dtype.subdtype[0])
    elif dtype.fields is not None:
        for name in dtype.names or ():
            for base, path in _leaves(dtype.fields[name][0]):
                yield base, (name, *path)
    else:
        yield dtype, ()


def check_text(value: object) -> None:
    """Refuse a text that an array of one would not hold as it is.

    Raises:
        ValueError: it has a lone surrogate, or ends in NUL, which numpy takes for padding.
    """
    if isinstance(value, str):
        value.encode()
        if value.endswith("\0"):
            raise ValueError("numpy would strip the NUL at the text's end")


def dtype_of(written: object, depth: int = 0) -> np.dtype[Any]:
    """The dtype of an array protocol type string, or of a list of fields with such.

    Padding, which aligned structs have, is written as a field without a name.

    Raises:
        ValueError: it is not one of those that data may have, such as an object's.
    """
    if isinstance(written, bytes):
        written = written.decode("ascii")
    if isinstance(written, str):
        if not _TYPE.fullmatch(written):
            raise ValueError(f"arrays of type {written[:40]!r} are refused")
        return np.dtype(written)
    if not isinstance(written, list | tuple) or not written or depth > _MAX_NESTING:
        raise ValueError("the array's type is none")
    names: list[str] = []
    formats: list[np.dtype[Any]] = []
    offsets: list[int] = []
    size = 0
    for field in written:
        if not isinstance(field, list | tuple) or len(field) not in (2, 3):
            raise ValueError("a struct's field is not a name and a type")
        name = field[0].decode() if isinstance(field[0], bytes) else field[0]
        if name == "" and isinstance(field[1], str) and (gap := _PADDING.fullmatch(field[1])):
            size += int(gap[1])
            continue
        if not isinstance(name, str) or not name:
            raise ValueError("a struct's field has no name")
        name.encode()  # raises for a lone surrogate
        base = dtype_of(field[1], depth + 1)
        if len(field) == 3:
            base = np.dtype((base, _shape(field[2])))
        names.append(name)
        formats.append(base)
        offsets.append(size)
        size += base.itemsize
        if size >= 2**31:
            raise ValueError("the struct is too large")
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": size})


def _shape(written: object) -> tuple[int, ...]:
    lengths = tuple(written) if isinstance(written, list | tuple) else (written,)
    if len(lengths) > 32 or not all(type(n) is int and 0 <= n < 2**48 for n in lengths):
        raise ValueError("the array's shape is none")
    return lengths


def from_buffer(
    data: bytes | memoryview, dtype: np.dtype[Any], shape: object, *, fortran: bool = False
) -> np.ndarray[Any, Any]:
    """A read-only view of *data*, which must hold exactly what dtype and shape say.

    Raises:
        ValueError: it holds something else.
    """
    lengths = _shape(shape)
    count = math.prod(lengths)
    if count * dtype.itemsize != len(data) or (count and not dtype.itemsize):
        raise ValueError(f"{list(lengths)} of {dtype.itemsize} B are not {len(data)} B")
    if not count:
        empty: np.ndarray[Any, Any] = np.empty(lengths, dtype)
        return empty
    array: np.ndarray[Any, Any] = np.frombuffer(data, dtype)
    array = array.reshape(lengths, order="F" if fortran else "C")
    for base, path in _leaves(dtype):
        if base.kind in "bU":
            part = array
            for name in path:
                part = part[name]
            _check(np.ascontiguousarray(part), base)
    return array if array.flags.aligned else array.copy()


def _check(array: np.ndarray[Any, Any], dtype: np.dtype[Any]) -> None:
    if not array.size:
        return
    if dtype.kind == "b":
        if int(array.view("u1").max()) > 1:
            raise ValueError("a boolean is neither 0 nor 1")
        return
    codes = array.reshape(-1).view(np.dtype("u4").newbyteorder(dtype.byteorder))
    if int(codes.max()) > 0x10FFFF or np.any((codes >= 0xD800) & (codes <= 0xDFFF)):
        raise ValueError("a character is not one of Unicode's")
