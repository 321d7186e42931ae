"""What a descriptor asks of dtypes, shapes, labels and defaults, wherever they are written."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from .conform import conform, zero
from .datatypes import MAX_DIMENSIONS, Data, DataSpec, Kind
from .errors import ConformError, Fault, Finding

T = TypeVar("T")
F = TypeVar("F", bound=Finding)

MAX_DATUM_BYTES = 1_000_000_000
"""The largest datum that a dtype and shape may describe; Kafka carries no larger message."""

TEXT_BYTES = 64
"""What a text takes up at least, as the object that Python and Tango make of it."""


def parse_default(value: Data, spec: DataSpec) -> Data:
    """What a configuration means by the default of an attribute, as a datum that fits *spec*.

    ``""`` is the zero of every dtype but text; ``"nan"``, ``"inf"`` and ``"-inf"``, alone or in
    lists, are those numbers for floating dtypes, since JSON cannot write them; the rest is
    conformed and broadcast up to the shape, which is a maximum.

    Raises:
        ConformError: it does not fit, or nothing could because *spec* is too large.
    """
    try:
        if complaint := too_large(spec):
            raise ConformError(spec, repr(value)[:80], complaint)
        if value == "" and isinstance(value, str) and spec.kind is not Kind.STR:
            return zero(spec)
        if spec.kind in (Kind.FLOAT, Kind.COMPLEX):
            value = _numbers(value)
        return conform(value, spec, shorter=True)
    except (ValueError, TypeError, MemoryError, RecursionError, Warning) as error:
        raise ConformError(spec, type(value).__name__, str(error)) from error


def _numbers(value: Data) -> Data:
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(value) if isinstance(value, str) and value in ("nan", "inf", "-inf") else value


LABELS = (
    "Names of the numbers from 0 on, which make int16 an enumeration: no other number fits, and "
    "where a value is read, its label may stand for it. Numbers are written. DevEnum in Tango."
)


def label_faults(spec: DataSpec) -> Iterator[Fault]:
    """What is wrong with the labels of an enumeration."""
    if spec.labels and spec.dtype != np.int16:
        yield Fault("$.labels", "only int16 has labels", "write the dtype int16, or no labels")
    for index, label in enumerate(spec.labels):
        path = f"$.labels[{index}]"
        if not label:
            yield Fault(path, "a label is empty", "write a name for the number")
        elif label in spec.labels[:index]:
            yield Fault(path, f"the label {label!r} is written twice", "write another")


ANY_DTYPE = (
    "str", "bytes", "object", "bool", "int16", "float64", "complex128", "datetime64[ns]",
    (("name", "U8"), ("value", "float64")),
)  # fmt: skip
"""A dtype of every kind, the one first that takes the most."""
_ANY_SHAPE: tuple[tuple[int, ...], ...] = ((), (-1,), (2,), (2, 2), (1, 2, 3))


def specs_like(
    dtype: np.dtype[Any] | None = None,
    shape: tuple[int, ...] | None = None,
    labels: tuple[str, ...] = (),
) -> list[DataSpec]:
    """A spec of every make with this dtype and shape, where they are known."""
    return [
        DataSpec(kind, lengths, labels)
        for lengths in (_ANY_SHAPE if shape is None else (shape,))
        for kind in (ANY_DTYPE if dtype is None else (dtype,))
    ]


def common(judge: Callable[[T], Iterator[F]], candidates: Sequence[T]) -> Iterator[F]:
    """What is found wrong with every one of the candidates, one of which is meant."""
    found = list(judge(candidates[0]))
    for candidate in candidates[1:]:
        if not found:
            return
        other = set(judge(candidate))
        found = [finding for finding in found if finding in other]
    yield from found


def dynamic_complaint(spec: DataSpec) -> str:
    """Why a shape has too many dynamic dimensions; empty when it has not."""
    if sum(length < 0 for length in spec.shape) > 1:
        return f"found {list(spec.shape)}, expected at most one dynamic dimension"
    return ""


def too_large(spec: DataSpec) -> str:
    """Why no datum can have this dtype and shape; empty when one can."""
    if len(spec.shape) > MAX_DIMENSIONS:
        return f"expected at most {MAX_DIMENSIONS} dimensions, found {len(spec.shape)}"
    least = TEXT_BYTES if spec.kind is Kind.STR else 1
    size = max(spec.dtype.itemsize, least) * math.prod(n for n in spec.shape if n >= 0)
    if max(size, *spec.shape, 0) > MAX_DATUM_BYTES:
        return f"expected at most {MAX_DATUM_BYTES} bytes in one datum, found {spec}"
    return ""
