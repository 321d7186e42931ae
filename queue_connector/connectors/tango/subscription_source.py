"""Events of an attribute of another device, as a configuration names them; see `event_source`."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from ...model.datatypes import Data, DataSpec
from ...model.endpoints import SourceDescriptor, sources
from ...model.errors import DataError, Fault
from ...model.option import option
from ...model.probe import Probe
from ...model.services import Place, Services
from .readings import converted
from .types import (
    EVENT_TYPES,
    TANGO_KINDS,
    attribute_name_faults,
    device_name_faults,
    read_place,
    type_faults,
)

if TYPE_CHECKING:
    from .event_source import TangoSubscriptionSource


def event_type_faults(etype: int | str) -> Iterator[Fault]:
    """What is wrong with a type of event, written as number or name."""
    if etype in EVENT_TYPES or etype in EVENT_TYPES.values():
        return
    listed = ", ".join(f"{number} {name}" for name, number in EVENT_TYPES.items())
    yield Fault(
        "$.etype",
        f"{etype!r} is not a type of event that carries a value",
        f"write one of {listed}",
    )


@sources.register("TangoSubscriptionSource")
@attrs.frozen(kw_only=True)
class TangoSubscriptionSourceDescriptor(SourceDescriptor):
    """Receives the events of an attribute of another Tango device."""

    kinds = TANGO_KINDS
    max_dimensions = 2
    divisible = True

    device_name: str = option(
        doc="The device: domain/family/member, or tango://host:port/domain/family/member#dbase=no."
    )
    attribute_name: str = option(doc="The attribute whose events are received.")
    etype: int | str = option(
        default=0,
        doc="The type of event, as number or name: 0 CHANGE_EVENT, 2 PERIODIC_EVENT, "
        "3 ARCHIVE_EVENT, 4 USER_EVENT, 9 ALARM_EVENT.",
    )
    stateless: bool = option(
        default=True,
        doc="Whether to go on trying while the device cannot be subscribed to; "
        "otherwise the first failure is an error.",
    )

    @property
    def place(self) -> Place:
        """The attribute of the device, by the name that is written."""
        return read_place(self.device_name, self.attribute_name)

    @property
    def event_type(self) -> int:
        """The number of the type of event."""
        return EVENT_TYPES[self.etype] if isinstance(self.etype, str) else self.etype

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """What does not fit: kinds, dimensions, names, the type of event."""
        yield from super().faults(spec)
        yield from type_faults(spec)
        yield from device_name_faults(self.device_name)
        yield from attribute_name_faults(self.attribute_name)
        yield from event_type_faults(self.etype)

    def probe(self) -> Iterator[Probe]:
        """Whether the device answers, and sends events of the attribute."""
        from .probing import probe_attribute

        yield from probe_attribute(self.device_name, self.attribute_name, self.event_type)

    def datum(self, arriving: Any, spec: DataSpec) -> Data:
        """What it makes of the value of an event."""
        (outcome,) = converted([arriving], spec)
        if isinstance(outcome, DataError):
            raise outcome
        return outcome

    def reads(self) -> Iterable[Hashable]:
        """The attribute, whatever device it is of: this one may be written in several ways."""
        return [("attribute", self.attribute_name.lower())]

    def build(self, spec: DataSpec, services: Services) -> TangoSubscriptionSource:
        """The source, not started."""
        return self.build_many([self], spec, [services])

    @property
    def merge_key(self) -> Hashable:
        """All subscriptions of an exchange are received together."""
        return "events"

    @classmethod
    def build_many(
        cls,
        descriptors: Sequence[TangoSubscriptionSourceDescriptor],
        spec: DataSpec,
        services: Sequence[Services],
    ) -> TangoSubscriptionSource:
        """The sources of these, as one."""
        from .event_source import TangoSubscriptionSource

        return TangoSubscriptionSource(descriptors, spec, services)
