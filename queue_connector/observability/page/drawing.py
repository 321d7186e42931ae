"""A datum as the page draws it: a text always; a spectrum or an image as few numbers, too.

What is drawn has at most `POINTS` points or `CELLS` × `CELLS` cells, whatever the datum has.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...engine.tap import rendered
from ...model.datatypes import Data

POINTS = 128
"""Points of a spectrum that are drawn."""

CELLS = 32
"""Rows and columns of an image that are drawn."""

SHADES = 255


def drawn(value: Data) -> dict[str, Any]:
    """``text``, and ``line`` or ``image`` for an array of numbers with one or two dimensions."""
    told: dict[str, Any] = {"text": rendered(value)}
    if isinstance(value, np.ndarray) and value.dtype.kind in "biufc" and value.size > 1:
        if value.ndim == 1:
            told["line"] = _numbers(_thinned(value, POINTS))
        elif value.ndim == 2:
            thin = _thinned(_thinned(value, CELLS).T, CELLS).T
            told["image"] = {"columns": thin.shape[1], "cells": _shades(thin)}
    return told


def _thinned(array: np.ndarray[Any, Any], most: int) -> np.ndarray[Any, Any]:
    """At most so many rows, evenly chosen."""
    return array[:: -(-len(array) // most)]


def _numbers(array: np.ndarray[Any, Any]) -> list[float | None]:
    """Real numbers; of complex ones the magnitude. None where one is not finite."""
    with np.errstate(all="ignore"):
        numbers = np.abs(array) if array.dtype.kind == "c" else array
        as_floats = numbers.astype("float64")
    return [float(each) if np.isfinite(each) else None for each in as_floats.ravel()]


def _shades(array: np.ndarray[Any, Any]) -> list[int | None]:
    """Numbers as whole ones from 0 to `SHADES`, the smallest to the largest."""
    numbers = _numbers(array)
    finite = [number for number in numbers if number is not None]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    span = high - low
    if not 0 < span < np.inf:
        return [None if number is None else SHADES // 2 for number in numbers]
    return [None if each is None else round(SHADES * (each - low) / span) for each in numbers]
