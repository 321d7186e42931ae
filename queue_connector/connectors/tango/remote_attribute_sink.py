"""Writing to an attribute of another device, as a configuration says it; see `attribute_writer`."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import TYPE_CHECKING

import attrs

from ...model.datatypes import Data, DataSpec
from ...model.endpoints import Sent, SinkDescriptor, sinks
from ...model.errors import Fault
from ...model.option import option
from ...model.probe import Probe
from ...model.services import Place, Services
from .types import (
    TANGO_KINDS,
    attribute_name_faults,
    attribute_place,
    device_name_faults,
    fit,
    type_faults,
)

if TYPE_CHECKING:
    from .attribute_writer import TangoRemoteAttributeSink

WRITE_TIMEOUT = 3.0
"""Seconds that a device has to take a value, which is Tango's own default."""

LONGEST_WAIT = 12.0
"""Seconds up to which that grows; a stop may have to wait for so long."""

WRITE_TRIES = 4
"""How often a value is written to a device that lives and does not say that it has it."""


@sinks.register("TangoRemoteAttributeSink")
@attrs.frozen(kw_only=True)
class TangoRemoteAttributeSinkDescriptor(SinkDescriptor):
    """Writes data to an attribute of another Tango device."""

    kinds = TANGO_KINDS
    dynamic_shapes = False
    max_dimensions = 2

    device_name: str = option(
        doc="The device: domain/family/member, or tango://host:port/domain/family/member#dbase=no."
    )
    attribute_name: str = option(doc="The attribute that is written.")
    timeout: float = option(
        default=WRITE_TIMEOUT,
        gt=0.0,
        unit="s",
        doc="How long the device has to take a value. It has twice as long with each further try, "
        f"up to {LONGEST_WAIT:g} s.",
    )
    tries: int = option(
        default=WRITE_TRIES,
        ge=1,
        doc="How often a value is written to a device that lives and gives no answer in time, "
        "before it is given up as a bad datum. A device that is away is waited for.",
    )

    @property
    def place(self) -> Place:
        """The attribute of the device, by the name that is written."""
        return attribute_place(self.device_name, self.attribute_name)

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """What does not fit: kinds, dimensions, names."""
        yield from super().faults(spec)
        yield from type_faults(spec)
        yield from device_name_faults(self.device_name)
        yield from attribute_name_faults(self.attribute_name)

    def probe(self) -> Iterator[Probe]:
        """Whether the device answers, and has an attribute that can be written."""
        from .probing import probe_attribute

        yield from probe_attribute(self.device_name, self.attribute_name, None)

    def sent(self, value: Data, spec: DataSpec) -> Sent:
        """The value, before it is cast to the type that the attribute has there."""
        return Sent(fit(value, spec))

    def writes(self) -> Iterable[Hashable]:
        """The attribute, whatever device it is of."""
        return [("attribute", self.attribute_name.lower())]

    def build(self, spec: DataSpec, services: Services) -> TangoRemoteAttributeSink:
        """The sink, not started."""
        from .attribute_writer import TangoRemoteAttributeSink

        return TangoRemoteAttributeSink(self, services)
