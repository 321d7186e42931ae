"""Pointings of a dish, events of a DevDouble[3], as structs that say which dish and when.

* values    ``[t, az, el]``; ``t`` in SI seconds since 2000-01-01T00:00:00 TAI
* struct    the field of kind datetime64 takes ``t``, on the TAI scale and to its nearest unit; the
            fields ``az`` and ``el`` take the angles as they are. A field of text, if there is one,
            takes the dish: the last member of the device's name, in capitals when it is the
            identifier of an SKA or MeerKAT dish
* gaps      NaN for ``t`` is NaT, and NaN angles stay: a dish may point before it knows the time
* errors    `ConformError` for a value that is not three numbers, `TimeError` for an infinite time;
            everything else is `TangoSubscriptionSource`'s
* source    SKA Mid dish manager, ``achievedPointing``
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import Any

import attrs
import numpy as np

from ...model.datatypes import Data, DataSpec, Kind, dtype_name
from ...model.endpoints import sources
from ...model.errors import ConformError, DataError, Fault
from ...model.services import Services
from ...model.timescale import TimeError, ska_ticks, tai_of_ska
from .member import Member
from .readings import Outcome, converted, one_by_one
from .subscription_source import TangoSubscriptionSource, TangoSubscriptionSourceDescriptor

USUAL_DTYPE = (
    '[["antenna_name", "<U8"], ["ts", "datetime64[ns]"], ["az", "float64"], ["el", "float64"]]'
)
"""The dtype of pointings in JSON, as most configurations have it."""

Array = np.ndarray[Any, Any]

_POINTING = DataSpec("float64", (3,))
_VALUES = DataSpec("float64", (-1,))  # takes any length and broadcasts nothing
_ANGLES = ("az", "el")
_FEW = 20
"""Pointings up to which each is made alone: what numpy takes for one array is more than that."""
_DISH = re.compile(r"(ska|mkt)\d{3}", re.IGNORECASE | re.ASCII)


def dish_name(device_name: str) -> str:
    """Which dish a device belongs to: ``mid-dish/dish-manager/ska001`` to ``SKA001``."""
    member = device_name.partition("#")[0].rpartition("/")[2]
    return member.upper() if _DISH.fullmatch(member) else member


@sources.register("TangoPointingSubscriptionSource")
@attrs.frozen(kw_only=True)
class TangoPointingSubscriptionSourceDescriptor(TangoSubscriptionSourceDescriptor):
    """Receives the pointings of a dish, as structs with its name and the time on the TAI scale."""

    kinds = frozenset({Kind.STRUCT})
    max_dimensions = 0

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """What does not fit: fields that a pointing does not fill, or has nowhere to go."""
        for fault in super().faults(spec):
            if fault.path == "$" and spec.kind is not Kind.STRUCT:
                fault = attrs.evolve(fault, hint=f"the usual dtype is {USUAL_DTYPE}")
            yield fault
        if spec.kind is Kind.STRUCT:
            for complaint in self._complaints(spec.dtype):
                yield Fault("$", complaint, f"the usual dtype is {USUAL_DTYPE}")

    def _complaints(self, dtype: np.dtype[Any]) -> Iterator[str]:
        fields = _fields(dtype)
        for name, kind in fields.items():
            base, shape = dtype[name].base, dtype[name].shape
            if shape:
                yield f"the field {name!r} has a shape, and a pointing has one value for it"
            elif name in _ANGLES and (kind is not Kind.FLOAT or base.itemsize != 8):
                yield f"expected float64 for the angle {name!r}, found {dtype_name(base)!r}"
            elif name not in _ANGLES and kind not in (Kind.DATETIME, Kind.STR):
                yield f"a pointing has nothing for the field {name!r} of {dtype_name(base)!r}"
        for name in _ANGLES:
            if name not in fields:
                yield f"expected a field {name!r} for the angle, found {list(fields)}"
        times, texts = (
            [name for name, found in fields.items() if found is kind and name not in _ANGLES]
            for kind in (Kind.DATETIME, Kind.STR)
        )
        if len(times) != 1:
            yield f"expected one field of datetime64 for the time, found {times or 'none'}"
        if len(texts) > 1:
            yield f"expected at most one field of text for the dish, found {texts}"
        dish = dish_name(self.device_name)
        for name in texts:
            room = dtype[name].base.itemsize // 4
            if len(dish) > room:
                yield f"{dish!r} does not go into the {room} characters of the field {name!r}"

    @classmethod
    def build_many(
        cls,
        descriptors: Sequence[TangoSubscriptionSourceDescriptor],
        spec: DataSpec,
        services: Sequence[Services],
    ) -> TangoPointingSubscriptionSource:
        """The sources of these, as one."""
        return TangoPointingSubscriptionSource(descriptors, spec, services)


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
        names = {kind: name for name, kind in _fields(spec.dtype).items()}
        self._time = names[Kind.DATETIME]
        self._name = names.get(Kind.STR)
        self._ticks = spec.dtype[self._time]
        made = (self._time, *_ANGLES, self._name)
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


def _fields(dtype: np.dtype[Any]) -> dict[str, Kind]:
    """The fields of a struct and their kinds."""
    return {name: DataSpec(dtype[name].base).kind for name in dtype.names or ()}
