"""Values of pointings as structs: what `pointing_source` says of them, done."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np

from ...model.datatypes import Data, DataSpec, Kind
from ...model.errors import ConformError, DataError
from ...model.timescale import TimeError, ska_ticks, tai_of_ska
from .readings import Outcome, converted, one_by_one

Array = np.ndarray[Any, Any]

ANGLES = ("az", "el")
"""The fields of the angles."""

POINTING = DataSpec("float64", (3,))
"""What a value is expected to be."""

VALUES = DataSpec("float64", (-1,))
"""What is made of it first, which takes any length and broadcasts nothing."""

_FEW = 20
"""Pointings up to which each is made alone: what numpy takes for one array is more than that."""


def fields_of(dtype: np.dtype[Any]) -> dict[str, Kind]:
    """The fields of a struct and their kinds."""
    return {name: DataSpec(dtype[name].base).kind for name in dtype.names or ()}


class Pointings:
    """Makes structs of one dtype."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self._dtype = dtype
        names = {kind: name for name, kind in fields_of(dtype).items()}
        self._time = names[Kind.DATETIME]
        self._name = names.get(Kind.STR)
        self._ticks = dtype[self._time]
        made = (self._time, *ANGLES, self._name)
        self._in_order = itemgetter(*(made.index(name) for name in dtype.names or ()))

    def of(self, values: Sequence[Any], dishes: Sequence[str]) -> Sequence[Outcome]:
        """A struct for each value of a dish, or why there is none; as one array if it can."""
        if values and all(
            type(each) is np.ndarray and each.shape == (3,) and each.dtype == "f8"
            for each in values
        ):
            try:
                if len(values) <= _FEW:
                    return list(map(self._one, values, dishes))
                return list(self._structs(np.array(values), dishes))
            except TimeError:
                pass  # of some, which is to be found out
        outcomes: list[Outcome] = []
        for value, dish in zip(converted(values, VALUES), dishes, strict=True):
            outcomes += one_by_one(partial(self._struct, dish), [value])
        return outcomes

    def _struct(self, dish: str, value: Any) -> Data:
        if isinstance(value, DataError):
            raise value
        if value.shape != (3,):
            raise ConformError(POINTING, f"{value}"[:80], f"{value.size} numbers are no pointing")
        return self._one(value, dish)

    def _one(self, value: Array, dish: str) -> Data:
        seconds, az, el = value.tolist()
        made = (ska_ticks(seconds, self._ticks), az, el, dish)
        return np.array(self._in_order(made), self._dtype)[()]

    def _structs(self, values: Array, dishes: Sequence[str]) -> Array:
        made = np.empty(len(values), self._dtype)
        made[self._time] = tai_of_ska(values[:, 0], self._dtype[self._time])
        made["az"], made["el"] = values[:, 1], values[:, 2]
        if self._name is not None:
            made[self._name] = dishes
        return made
