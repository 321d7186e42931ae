"""Attributes that a device has from its start, whatever its exchanges are: what describes them.

They are the entries of the device property ``attributes``, with Tango's own names of keys.

* types     Tango's, by their names; ``DevEnum`` is int16 with labels
* shapes    lengths are maxima, as those of an exchange that is published
* errors    `Fault` for each thing that is wrong, with its path in the entry
* source    PyTango manual, "Attribute data types"; Tango Controls RFC 4 (attributes)
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Literal

import attrs

from ...model.datatypes import Data, DataSpec, Kind
from ...model.errors import ConformError, Fault
from ...model.option import Descriptor, option
from ...model.services import PublishedAttribute
from ...model.specs import label_faults, parse_default, too_large
from .types import fit, legible, published_name_faults, type_faults

DataType = Literal[
    "DevBoolean", "DevUChar", "DevShort", "DevUShort", "DevLong", "DevULong", "DevLong64",
    "DevULong64", "DevFloat", "DevDouble", "DevString", "DevEncoded", "DevEnum",
]  # fmt: skip
DataFormat = Literal["SCALAR", "SPECTRUM", "IMAGE"]
Access = Literal["READ", "WRITE", "READ_WRITE", "READ_WITH_WRITE"]

_TEXTS = ("unit", "label", "description")


@attrs.frozen(kw_only=True)
class StaticAttribute(Descriptor):
    """An attribute that the device has from its start, and that no exchange removes."""

    name: str = option(doc="The attribute's name on this device; case does not count.")
    data_type: DataType = option(doc="The type of its elements.")
    data_format: DataFormat = option(
        default="SCALAR", doc="A single element, a row of them, or rows of them."
    )
    max_dim_x: int = option(default=1, ge=0, doc="The most elements in a row.")
    max_dim_y: int = option(default=0, ge=0, doc="The most rows of an IMAGE; else 0.")
    enum_labels: tuple[str, ...] = option(
        default=(), converter=tuple, doc="Of a DevEnum: the names of its numbers, from 0 on."
    )
    writable: Access | None = option(
        default=None,
        doc="Who changes it: READ, the exchanges alone; READ_WRITE, clients too; WRITE, clients "
        "alone. READ_WITH_WRITE is taken for READ_WRITE. Without, READ.",
    )
    writeable: Access | None = option(default=None, doc="Another spelling of writable.")
    memorized: bool = option(
        default=False,
        doc="Whether the Tango database keeps what a client wrote, for the next start; for scalars "
        "that clients write. Without a Tango database nothing is kept, and Status says so.",
    )
    default_value: Data = option(
        default="", doc="What it reads as before anything was written; '' is the zero of its type."
    )
    unit: str = option(default="", doc="The unit that clients are told.")
    label: str = option(default="", doc="The label that clients are told; without, the name.")
    description: str = option(default="", doc="The description that clients are told.")

    @property
    def access(self) -> str:
        """READ, WRITE or READ_WRITE."""
        written = self.writable or self.writeable or "READ"
        return "READ_WRITE" if written == "READ_WITH_WRITE" else written

    @property
    def spec(self) -> DataSpec:
        """Dtype, largest shape and labels."""
        lengths = {"SCALAR": (), "SPECTRUM": (self.max_dim_x,)}
        shape = lengths.get(self.data_format, (self.max_dim_y, self.max_dim_x))
        dtype = "int16" if self.data_type == "DevEnum" else self.data_type
        return DataSpec(dtype, shape, self.enum_labels)

    @property
    def published(self) -> PublishedAttribute:
        """As what exchanges publish; asked for only where `faults` finds nothing."""
        default = fit(parse_default(self.default_value, self.spec), self.spec)
        return PublishedAttribute(self.name, self.spec, default)

    def alike(self, other: StaticAttribute) -> bool:
        """Whether the other one can stand in its place; defaults may differ."""
        return self._make == other._make

    @property
    def _make(self) -> tuple[object, ...]:
        told = (self.unit, self.label, self.description)
        return (self.name.lower(), self.access, self.spec, self.memorized, *told)

    def faults(self) -> Iterator[Fault]:
        """What does not go together; paths are relative to this entry."""
        spec = self.spec
        found = [*self._shape_faults(spec), *self._label_faults(spec), *type_faults(spec)]
        yield from published_name_faults(self.name, "$.name")
        yield from found
        yield from self._writing_faults(spec)
        for key in _TEXTS:
            text = getattr(self, key)
            if "\0" in text or legible(text) != text:
                hint = "Tango's strings are Latin-1 and end at a NUL character"
                yield Fault(f"$.{key}", f"Tango does not carry {text[:60]!r}", hint)
        if not found:
            try:
                fit(parse_default(self.default_value, spec), spec)
            except ConformError as error:
                yield Fault("$.default_value", str(error), "write a value of its type and shape")

    def _shape_faults(self, spec: DataSpec) -> Iterator[Fault]:
        x, y = self.max_dim_x, self.max_dim_y
        if self.data_format == "SCALAR" and x > 1:
            yield Fault("$.max_dim_x", f"a SCALAR has one element, found {x}", "write SPECTRUM")
        if self.data_format != "SCALAR" and x < 1:
            yield Fault("$.max_dim_x", "expected at least 1, found 0", "write the largest length")
        if self.data_format != "IMAGE" and y > 0:
            yield Fault("$.max_dim_y", f"only an IMAGE has rows, found {y}", "write IMAGE, or 0")
        if self.data_format == "IMAGE" and y < 1:
            yield Fault("$.max_dim_y", "expected at least 1, found 0", "write the most rows")
        if spec.shape and spec.kind is Kind.BYTES:
            message = f"DevEncoded is scalar only, found {self.data_format}"
            yield Fault("$.data_format", message, "write SCALAR")
        elif complaint := too_large(spec):
            yield Fault("$.max_dim_x", complaint, "write smaller lengths")

    def _label_faults(self, spec: DataSpec) -> Iterator[Fault]:
        if (self.data_type == "DevEnum") != bool(self.enum_labels):
            message = f"only a DevEnum has labels, and it needs some, found {self.data_type}"
            yield Fault("$.enum_labels", message, "write DevEnum with enum_labels, or neither")
        for fault in label_faults(spec) if self.data_type == "DevEnum" else ():
            yield attrs.evolve(fault, path=fault.path.replace("$.labels", "$.enum_labels"))

    def _writing_faults(self, spec: DataSpec) -> Iterator[Fault]:
        if self.writable is not None and self.writeable is not None:
            yield Fault("$.writeable", "writable is there too, and means the same", "remove one")
        if not self.memorized:
            return
        if self.access == "READ":
            hint = "write READ_WRITE, or leave memorized out"
            yield Fault("$.memorized", "what no client writes is not memorized", hint)
        if spec.shape or spec.kind is Kind.BYTES:
            message = f"Tango memorizes scalars only, found {self.data_format} {self.data_type}"
            yield Fault("$.memorized", message, "leave it out")


def refusal(static: StaticAttribute, wanted: DataSpec) -> str:
    """Why a static attribute cannot be fed with *wanted*, both sides named; empty when it can."""
    if static.access != "WRITE" and static.spec == wanted:
        return ""
    own = f"the property attributes defines it as {static.access} {static.spec}"
    return f"{own}, and an exchange would publish {wanted} there"


def unkept(static: Iterable[StaticAttribute]) -> list[str]:
    """A line that says which attributes should be memorized and are not, without a database."""
    names = [each.name for each in static if each.memorized]
    if not names:
        return []
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    which = ", ".join(names[:5]) + more
    return [
        f"there is no Tango database: what is written to {which} is not kept for the next start"
    ]
