"""A dtype as it is written: its form is structure, the names in it are meaning."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import numpy as np
from cattrs.errors import (
    IterableValidationError,
)

from .complaint import Complaint, describe, shown
from .datatypes import DtypeError, parse_dtype
from .hooks import MAX_FAULTS, MAX_LENGTH, whole_hook
from .option import step

_stand_in: ContextVar[tuple[np.dtype[Any], list[object]] | None]
_stand_in = ContextVar("stand_in", default=None)


@contextlib.contextmanager
def dtypes_taken_for(stand_in: np.dtype[Any]) -> Iterator[list[object]]:
    """Inside, whatever is written as a dtype and is none is read as this one; gives the former."""
    replaced: list[object] = []
    token = _stand_in.set((stand_in, replaced))
    try:
        yield replaced
    finally:
        _stand_in.reset(token)


def dtype_hook(value: object, _: Any) -> np.dtype[Any]:
    """A dtype, by a name or as a list of fields."""
    errors = list(itertools.islice(_dtype_complaints(value, ""), MAX_FAULTS))
    if not errors:
        try:
            return parse_dtype(_whole_lengths(value))
        except DtypeError as error:
            errors = [Complaint(error.message, error.hint, meaning=True)]
        except _NUMPY_REFUSES as error:
            errors = [Complaint(f"not a dtype: {error}", meaning=True)]
    if (standing_in := _stand_in.get()) is not None:
        standing_in[1].append(value)
        return standing_in[0]
    raise IterableValidationError("while reading a dtype", errors, list)


_NUMPY_REFUSES = (ArithmeticError, TypeError, ValueError, MemoryError, Warning)

_STRUCT = 'for example "float64", or [["name", "U8"], ["offsets", "float64", [2]]] for a struct'


def _dtype_complaints(value: object, where: str) -> Iterator[Complaint]:
    """What is wrong with the form of a dtype, and with each name in it."""

    def unlike(expected: str, found: str, at: str) -> Complaint:
        return Complaint(f"expected {expected}, found {found}", _STRUCT, where=at)

    if isinstance(value, str):
        yield from _dtype_name_complaints(value, where)
        return
    if not isinstance(value, list) or not value:
        yield unlike("the name of a dtype, or a list of [name, dtype]", describe(value), where)
        return
    for index, entry in enumerate(value):
        at = where + step(index)
        if not isinstance(entry, list) or len(entry) not in (2, 3):
            yield unlike("[name, dtype] or [name, dtype, shape]", describe(entry), at)
            continue
        if not isinstance(entry[0], str) or not entry[0]:
            yield unlike("the name of a field", describe(entry[0]), at + "[0]")
        yield from _dtype_complaints(entry[1], at + "[1]")
        if not all(map(_is_length, _lengths(entry))):
            yield unlike("a positive length or a list of them", shown(entry[2]), at + "[2]")


def _dtype_name_complaints(name: str, where: str) -> Iterator[Complaint]:
    try:
        parse_dtype(name)
    except DtypeError as error:
        yield Complaint(error.message, error.hint, where=where, meaning=True)


def _lengths(entry: list[Any]) -> list[Any]:
    """The lengths in the field of a struct; none for a scalar."""
    shape = entry[2] if len(entry) == 3 else None
    return shape if isinstance(shape, list) else [] if shape is None else [shape]


def _is_length(value: object) -> bool:
    try:
        return 1 <= whole_hook(value, int) <= MAX_LENGTH
    except Complaint:
        return False


def _whole_lengths(value: Any) -> Any:
    """A dtype of the right form with every length as Python's own whole number: 2.0 is 2."""
    if isinstance(value, str):
        return value
    return [
        [entry[0], _whole_lengths(entry[1]), [int(length) for length in _lengths(entry)]]
        for entry in value
    ]
