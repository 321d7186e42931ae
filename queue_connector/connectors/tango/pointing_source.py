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
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np

from ...model.datatypes import Data, DataSpec, Kind, dtype_name
from ...model.endpoints import sources
from ...model.errors import DataError, Fault
from ...model.services import Services
from .pointings import ANGLES, Pointings, fields_of
from .subscription_source import TangoSubscriptionSourceDescriptor

if TYPE_CHECKING:
    from .pointing_events import TangoPointingSubscriptionSource

USUAL_DTYPE = (
    '[["antenna_name", "<U8"], ["ts", "datetime64[ns]"], ["az", "float64"], ["el", "float64"]]'
)
"""The dtype of pointings in JSON, as most configurations have it."""

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
        fields = fields_of(dtype)
        for name, kind in fields.items():
            base, shape = dtype[name].base, dtype[name].shape
            if shape:
                yield f"the field {name!r} has a shape, and a pointing has one value for it"
            elif name in ANGLES and (kind is not Kind.FLOAT or base.itemsize != 8):
                yield f"expected float64 for the angle {name!r}, found {dtype_name(base)!r}"
            elif name not in ANGLES and kind not in (Kind.DATETIME, Kind.STR):
                yield f"a pointing has nothing for the field {name!r} of {dtype_name(base)!r}"
        for name in ANGLES:
            if name not in fields:
                yield f"expected a field {name!r} for the angle, found {list(fields)}"
        times, texts = (
            [name for name, found in fields.items() if found is kind and name not in ANGLES]
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

    def datum(self, arriving: Any, spec: DataSpec) -> Data:
        """The struct of one value."""
        (outcome,) = Pointings(spec.dtype).of([arriving], [dish_name(self.device_name)])
        if isinstance(outcome, DataError):
            raise outcome
        return outcome

    @classmethod
    def build_many(
        cls,
        descriptors: Sequence[TangoSubscriptionSourceDescriptor],
        spec: DataSpec,
        services: Sequence[Services],
    ) -> TangoPointingSubscriptionSource:
        """The sources of these, as one."""
        from .pointing_events import TangoPointingSubscriptionSource

        return TangoPointingSubscriptionSource(descriptors, spec, services)
