"""The events of dishes, received as pointings: the runtime side of `pointing_source`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...model.datatypes import DataSpec
from ...model.services import Services
from .event_source import TangoSubscriptionSource
from .member import Member
from .pointing_source import dish_name
from .pointings import POINTING, VALUES, Pointings
from .readings import Outcome
from .subscription_source import TangoSubscriptionSourceDescriptor


class TangoPointingSubscriptionSource(TangoSubscriptionSource):
    """Runtime side of `TangoPointingSubscriptionSourceDescriptor`: of one, or of several dishes."""

    def __init__(
        self,
        descriptors: Sequence[TangoSubscriptionSourceDescriptor],
        spec: DataSpec,
        services: Sequence[Services],
    ) -> None:
        super().__init__(descriptors, VALUES, services, expected=POINTING)
        self._pointings = Pointings(spec.dtype)
        self._dishes = {member: dish_name(member.device) for member in self._members}

    def _convert(self, found: Sequence[tuple[Member, Sequence[Any]]]) -> Sequence[Outcome]:
        """The pointings of all dishes that are there."""
        values = [value for _, several in found for value in several]
        dishes = [self._dishes[member] for member, several in found for _ in several]
        return self._pointings.of(values, dishes)
