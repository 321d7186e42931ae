"""Publish data as an attribute of the device itself, with change and archive events.

* values    the exchange's shape is a maximum: a shorter spectrum stays short
* delivery  a datum is delivered when the attribute reads as it and its events were pushed
* errors    `ConformError` for a value that does not fit, or is text that Tango cannot carry
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import attrs

from ...model.datatypes import Data, DataSpec
from ...model.endpoints import SinkDescriptor, sinks
from ...model.errors import ConformError, EndpointError, Fault
from ...model.option import option
from ...model.services import AttributeHost, Place, PublishedAttribute, Services
from ...model.specs import parse_default
from .publishing_sink import PublishingSink
from .types import TANGO_KINDS, fit, own_places, published_name_faults, type_faults


@sinks.register("TangoLocalAttributeSink")
@attrs.frozen(kw_only=True)
class TangoLocalAttributeSinkDescriptor(SinkDescriptor):
    """Publishes data as a read-only attribute of this device."""

    kinds = TANGO_KINDS
    dynamic_shapes = False
    max_dimensions = 2

    attribute_name: str = option(doc="The attribute's name on this device; case does not count.")
    default_value: Data = option(
        default="", doc="What it reads as before the first datum; '' is the zero of the dtype."
    )

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """What does not fit: kinds, dimensions, the name, the default."""
        found = [*super().faults(spec), *type_faults(spec)]
        yield from found
        yield from published_name_faults(self.attribute_name)
        if not found:
            try:
                fit(parse_default(self.default_value, spec), spec)
            except ConformError as error:
                yield Fault("$.default_value", str(error), "write a value of the exchange's dtype")

    def claims(self) -> Iterator[tuple[str, str]]:
        """The one name."""
        yield "$.attribute_name", self.attribute_name

    def places(self, device: str) -> Iterator[Place]:
        """The attributes, on the connector itself."""
        return own_places(device, (name for _, name in self.claims()))

    def publishes(self, spec: DataSpec) -> tuple[PublishedAttribute, ...]:
        """The one attribute."""
        default = fit(parse_default(self.default_value, spec), spec)
        return (PublishedAttribute(self.attribute_name, spec, default),)

    def build(self, spec: DataSpec, services: Services) -> TangoLocalAttributeSink:
        """The sink, not started; raises `EndpointError` where there is no device."""
        if services.attributes is None:
            raise EndpointError(self.attribute_name, "publishing", "there is no device to have it")
        return TangoLocalAttributeSink(self.attribute_name, spec, services.attributes)


class TangoLocalAttributeSink(PublishingSink):
    """Runtime side of `TangoLocalAttributeSinkDescriptor`."""

    def __init__(self, attribute_name: str, spec: DataSpec, host: AttributeHost) -> None:
        super().__init__(host)
        self._name = attribute_name
        self._spec = spec

    def parts(self, value: Data) -> Iterable[tuple[str, Data]]:
        """The value as the attribute carries it; raises `ConformError`."""
        return ((self._name, fit(value, self._spec)),)
