"""One attribute of the device: whose it is, what it reads as, and how Tango is told of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import attrs
import tango
from tango.server import attribute as tango_attribute

from ...model.datatypes import Data, Kind
from ...model.errors import EndpointError
from ...model.services import PublishedAttribute
from .static_attributes import StaticAttribute
from .types import dimensions, tango_type, wire

Answer = Callable[[Any, Any], None]
"""What Tango calls when a client reads or writes: with the device and Tango's attribute."""

_VALID = tango.AttrQuality.ATTR_VALID


@attrs.define(eq=False)
class Current:
    """One attribute of the device, and what it reads as."""

    attribute: PublishedAttribute
    owner: str
    reading: tuple[Any, ...]
    """Value, time and quality, as PyTango's ``set_value_date_quality`` takes them."""
    static: StaticAttribute | None = None
    """What the property says of it, where it is no exchange's."""
    made: Any = None
    """Tango's own attribute, while it is there."""
    published: bool = False

    @classmethod
    def new(
        cls, attribute: PublishedAttribute, owner: str, static: StaticAttribute | None = None
    ) -> Current:
        """One that reads as its default."""
        return cls(attribute, owner, _reading(attribute, attribute.default, time.time()), static)

    @property
    def written(self) -> bool:
        """Whether clients write it."""
        return self.static is not None and self.static.access != "READ"

    @property
    def value(self) -> Data:
        """What it reads as."""
        return self.reading[:2] if self.attribute.spec.kind is Kind.BYTES else self.reading[0]

    def take(self, value: Data, when: float) -> None:
        """Read as this fitting value from now on."""
        self.reading = _reading(self.attribute, value, when)
        self.published = True

    def keep(self, attribute: PublishedAttribute) -> None:
        """Stay as it is for one of the same type, whose default may be another."""
        self.attribute = attrs.evolve(attribute, name=self.attribute.name)
        if not self.published:
            self.reading = _reading(attribute, attribute.default, self.reading[-2])

    def declared(self, read: Answer, write: Answer) -> Any:
        """As PyTango's ``add_attribute`` takes it."""
        spec, static = self.attribute.spec, self.static
        keys: dict[str, Any] = {"fget": read, **dimensions(spec)}
        keys["dformat"] = tango.AttrDataFormat.names[keys["dformat"]]
        if static is not None:
            keys["access"] = getattr(tango.AttrWriteType, static.access)
            if static.access == "WRITE":
                del keys["fget"]
            if self.written:
                keys["fset"] = write
            if static.memorized:
                keys |= {"memorized": True, "hw_memorized": True}
            told = {"unit": static.unit, "label": static.label, "doc": static.description}
            keys |= {key: text for key, text in told.items() if text}
        keys["dtype"] = tango.CmdArgType.names[tango_type(spec)]
        return tango_attribute(name=self.attribute.name, **keys)

    def misfit(self) -> str:
        """What Tango made otherwise than it was declared; empty when nothing is."""
        wanted = dimensions(self.attribute.spec)
        made = self.made
        if (made.get_max_dim_x(), made.get_max_dim_y()) != (
            wanted.get("max_dim_x", 1),
            wanted.get("max_dim_y", 0),
        ):
            return "another device of this server has one with another shape"
        access = self.static.access if self.static is not None else "READ"
        if made.get_writable() is not getattr(tango.AttrWriteType, access):
            return f"another device of this server has one that is not {access}"
        return ""


def _reading(attribute: PublishedAttribute, value: Data, when: float) -> tuple[Any, ...]:
    parts = wire(value)
    return (*(parts if attribute.spec.kind is Kind.BYTES else (parts,)), when, _VALID)


def refused(device: Any, name: str, reason: str) -> EndpointError:
    """Why an attribute of a device cannot be had, or have a value, on one line."""
    return EndpointError(f"{device.get_name()}/{name}", "attribute", " ".join(reason.split()))
