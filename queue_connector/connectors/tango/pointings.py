"""The pointings of dishes, received: `TangoPointingSubscriptionSource`, see `pointing_source`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import numpy as np

from ...model.datatypes import Data, DataSpec, Kind
from ...model.errors import ConformError, DataError
from ...model.services import Services
from ...model.timescale import TimeError, ska_ticks, tai_of_ska
from .event_source import TangoSubscriptionSource
from .member import Member
from .pointing_source import ANGLES, dish_name, fields_of
from .readings import Outcome, converted, one_by_one
from .subscription_source import TangoSubscriptionSourceDescriptor

Array = np.ndarray[Any, Any]

_POINTING = DataSpec("float64", (3,))
_VALUES = DataSpec("float64", (-1,))  # takes any length and broadcasts nothing
_FEW = 20
"""Pointings up to which each is made alone: what numpy takes for one array is more than that."""


class TangoPointingSubscriptionSource(TangoSubscriptionSource):
    """Runtime side of `TangoPointingSubscriptionSourceDescriptor`: of one, or of several dishes."""

    def __init__(
        self,
        descriptors: Sequence[TangoSubscriptionSourceDescriptor],
        spec: DataSpec,
        services: Sequence[Services],
    ) -> None:
        super().__init__(descriptors, _VALUES, services, expected=_POINTING)
        self._dtype = spec.dtype
        names = {kind: name for name, kind in fields_of(spec.dtype).items()}
        self._time = names[Kind.DATETIME]
        self._name = names.get(Kind.STR)
        self._ticks = spec.dtype[self._time]
        made = (self._time, *ANGLES, self._name)
        self._in_order = itemgetter(*(made.index(name) for name in spec.dtype.names or ()))
        self._dishes = {member: dish_name(member.device) for member in self._members}

    def _convert(self, found: Sequence[tuple[Member, Sequence[Any]]]) -> Sequence[Outcome]:
        """The pointings of all dishes that are there, as one array if they are all right."""
        values = [value for _, several in found for value in several]
        dishes = [self._dishes[member] for member, several in found for _ in several]
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
        for value, dish in zip(converted(values, _VALUES), dishes, strict=True):
            outcomes += one_by_one(partial(self._struct, dish), [value])
        return outcomes

    def _struct(self, dish: str, value: Any) -> Data:
        if isinstance(value, DataError):
            raise value
        if value.shape != (3,):
            raise ConformError(_POINTING, f"{value}"[:80], f"{value.size} numbers are no pointing")
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
