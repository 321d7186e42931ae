"""Plain Python values: what `python`, `json` and `msgpack_numpy` share.

A plain value is made of None, booleans, numbers, text, lists and dictionaries (and, where an
encoding has them, bytes and tuples), and is nested at most `MAX_DEPTH` deep.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..model.datatypes import Data, DataSpec, Kind

MAX_DEPTH = 100
"""How deep lists and mappings may be nested in a datum, written or read."""

ROOM_FOR_TEXT = 16 * 2**20
"""Bytes that an array of text may take however small its payload is."""

_SCALARS = (type(None), bool, int, float, str)
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def plain(value: object, also: tuple[type, ...] = (), depth: int = 0) -> Any:
    """An equal value made of plain ones: numpy's converted, subclasses replaced.

    Args:
        value: anything.
        also: types that are passed through as they are.
        depth: how deep *value* is nested itself.

    Raises:
        TypeError: something in it is not plain.
        ValueError: it is nested too deep, or has text that is none.
    """
    kind = type(value)
    if kind is str:
        value.encode()  # type: ignore[attr-defined]  # raises for a lone surrogate
        return value
    if kind in _SCALARS or isinstance(value, also):
        return value
    if depth >= MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        return {_key(key, also): plain(item, also, depth + 1) for key, item in value.items()}
    if isinstance(value, list):
        return [plain(item, also, depth + 1) for item in value]
    if isinstance(value, tuple):
        return tuple([plain(item, also, depth + 1) for item in value])
    if isinstance(value, np.ndarray | np.generic):
        return _unpacked(value, also, depth)
    for base in (bool, int, float, str):  # subclasses, such as those of enum
        if isinstance(value, base):
            return base(value)
    raise TypeError(f"a {kind.__name__} is not a plain value")


def _key(key: object, also: tuple[type, ...]) -> Any:
    if isinstance(key, tuple):
        raise TypeError("a key is not a scalar")
    return plain(key, also)


def _unpacked(value: np.ndarray[Any, Any] | np.generic, also: tuple[type, ...], depth: int) -> Any:
    """Lists for arrays, mappings for structs, Python's scalars for numpy's."""
    if depth + value.ndim > MAX_DEPTH:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep")
    if value.dtype.names is not None:
        if isinstance(value, np.ndarray) and value.ndim:
            return [_unpacked(row, also, depth + 1) for row in value]
        struct: Any = value
        return {name: plain(struct[name], also, depth + 1) for name in value.dtype.names}
    if value.dtype.kind in "biuf" and value.dtype.char != "g":
        return value.tolist()
    if value.dtype.kind == "U" or (value.dtype.kind == "c" and complex in also):
        return plain(value.tolist(), also, depth)
    raise TypeError(f"{value.dtype} has no plain equal")


def plain_data(value: Data, spec: DataSpec, also: tuple[type, ...] = ()) -> Any:
    """A datum as a plain value; arrays are lists."""
    if spec.kind is Kind.OBJECT:
        return plain(value, also)
    if spec.kind is Kind.STR:
        return plain(value.tolist() if spec.shape else str(value))
    return value.tolist()


_NUMBER = re.compile(rb"-?(?:0|[1-9][0-9]*+)(\.[0-9]++)?+([eE][+-]?+[0-9]++)?+")
_MAX_NUMBER = 64


def lone_number(payload: bytes) -> int | float | None:
    """A payload that is one number, in the grammar that JSON and Python share; else None."""
    if len(payload) > _MAX_NUMBER or (found := _NUMBER.fullmatch(payload)) is None:
        return None
    return int(payload) if found.lastindex is None else float(payload)


def lone_numbers(payloads: Sequence[bytes], spec: DataSpec) -> list[Data] | None:
    """Payloads of which each is one number of JSON, as scalars of *spec*; else None.

    They are read as one list. It has as many numbers as there are payloads only if none of them
    has a comma, and then each is one of the numbers.
    """
    if spec.shape or spec.labels or spec.dtype not in _NUMBERS_AT_ONCE:
        return None
    written = b",".join(payloads)
    if _MINUS_ZERO.search(written):  # JSON's is a whole number, which has no sign then
        return None
    try:
        numbers = json.loads(f"[{written.decode()}]", parse_constant=_no_number)
        kinds = set(map(type, numbers))
        wanted = {int, float} if spec.kind is Kind.FLOAT else {int}
        if len(numbers) != len(payloads) or not kinds <= wanted:
            return None
        return list(np.array(numbers, spec.dtype))
    except (ValueError, OverflowError, RecursionError):
        return None


_MINUS_ZERO = re.compile(rb"-0\s*(?:,|\Z)")
_NUMBERS_AT_ONCE = frozenset(map(np.dtype, ("f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")))


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number of JSON's")


def check_width(value: object, spec: DataSpec, size: int) -> None:
    """Refuse lists with text that numpy, which pads all to one width, would blow up.

    It would do so for numbers as well, before it is told that text does not fit them.

    Raises:
        MemoryError: the array would be far larger than the payload of *size* bytes.
    """
    if spec.kind is Kind.OBJECT or not isinstance(value, list | tuple):
        return
    count = width = 0
    pending: list[Any] = [value]
    while pending:
        item = pending.pop()
        if isinstance(item, list | tuple):
            pending.extend(item)
        elif isinstance(item, str | bytes):
            count += 1
            width = max(width, len(item) * 4)
        elif isinstance(item, np.ndarray):
            count += item.size
            width = max(width, item.dtype.itemsize)
        else:
            count += 1
            if isinstance(item, int) and spec.kind is Kind.STR:  # its text may have many digits
                width = max(width, item.bit_length() * 2)
    if count * width > ROOM_FOR_TEXT + 64 * size:
        raise MemoryError


def check_nesting(payload: bytes) -> None:
    """Refuse JSON that is nested more than `MAX_DEPTH` deep, before it is parsed.

    Raises:
        ValueError: it is, or its brackets do not match.
    """
    if payload.count(b"[") + payload.count(b"{") <= MAX_DEPTH:
        return
    brackets = (_STRING.sub(b"", payload) if b'"' in payload else payload).translate(
        None, _NOT_BRACKETS
    )
    for _ in range(MAX_DEPTH):
        if not brackets:
            return
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    if brackets:
        raise ValueError(f"it is nested more than {MAX_DEPTH} deep, or its brackets do not match")
