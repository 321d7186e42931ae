"""Publish the parts of an array, cut along one axis, as attributes of the device.

* parts     equal ones, as many as there are names; or, with indices, those between them
* shapes    a part of length one along the axis loses it where a scalar or a spectrum remains, so
            ``[7, 3]`` makes seven spectra of 3, and ``[7]`` seven scalars; a part of more than two
            dimensions is published row by row as a spectrum
* told      ``attribute_shape_names`` publish the shapes of the parts as they are cut, before an
            axis is lost: one length for each dimension of the exchange, each before its part
* values    the exchange's shape is a maximum but along the axis, where a missing entry would move
            all others; a flattened part may be shorter only where its shape is told
* errors    `ConformError` for an array that does not fit, or text that Tango cannot carry
* source    numpy manual, ``numpy.split``
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import numpy as np

from ...model.datatypes import Data, DataSpec, Kind
from ...model.endpoints import SinkDescriptor, sinks
from ...model.errors import ConformError, EndpointError, Fault
from ...model.option import option, step
from ...model.services import AttributeHost, Place, PublishedAttribute, Services
from ...model.specs import MAX_DATUM_BYTES, parse_default
from .publishing_sink import PublishingSink
from .types import fit, own_places, published_name_faults, type_faults

_LENGTH = np.dtype("int64")


@attrs.frozen
class Part:
    """What one attribute shows of an array."""

    name: str
    shape_name: str | None
    axis: int
    begin: int
    end: int
    cut: DataSpec
    """As it is cut."""

    @property
    def loses_axis(self) -> bool:
        """Whether the axis goes, being of length one."""
        return self.end - self.begin == 1 and len(self.cut.shape) <= 2

    @property
    def flat(self) -> bool:
        """Whether the part has too many dimensions for Tango."""
        return len(self.cut.shape) > 2

    @property
    def spec(self) -> DataSpec:
        """As it is published."""
        shape = self.cut.shape
        if self.loses_axis:
            return attrs.evolve(self.cut, shape=shape[: self.axis] + shape[self.axis + 1 :])
        return attrs.evolve(self.cut, shape=(math.prod(shape),)) if self.flat else self.cut

    def attributes(self, default_value: Data) -> Iterator[PublishedAttribute]:
        """The attributes of the shape and the part; raises `ConformError` for the default."""
        spec, before = self.spec, self.cut if self.flat else self.spec
        default = fit(parse_default(default_value, before), before)
        if self.flat and default.nbytes > MAX_DATUM_BYTES:  # made flat, nothing is shared any more
            reason = f"flat it would take {default.nbytes} bytes"
            raise ConformError(spec, f"a default of {default.dtype}", reason)
        lengths = list(np.shape(default))
        if self.loses_axis:
            lengths.insert(self.axis, 1)
        if self.shape_name is not None:
            shape = DataSpec(_LENGTH, (len(lengths),))
            yield PublishedAttribute(self.shape_name, shape, np.array(lengths, _LENGTH))
        yield PublishedAttribute(self.name, spec, default.reshape(-1) if self.flat else default)

    def values(self, array: np.ndarray[Any, Any]) -> Iterator[tuple[str, Data]]:
        """The names of the attributes and what they show of an array that fits."""
        where: tuple[slice | int, ...] = (slice(None),) * self.axis
        if self.shape_name is not None:
            lengths = list(array.shape)
            lengths[self.axis] = self.end - self.begin
            yield self.shape_name, np.array(lengths, _LENGTH)
        if self.loses_axis:
            value: Data = array[(*where, self.begin)]
            yield self.name, str(value) if isinstance(value, np.str_) else value
        else:
            part = array[(*where, slice(self.begin, self.end))]
            yield self.name, part.reshape(-1) if self.flat else part


@sinks.register("TangoArrayScatterAttributeSink", alias="TangoSplitAttributeSink")
@attrs.frozen(kw_only=True)
class TangoArrayScatterAttributeSinkDescriptor(SinkDescriptor):
    """Cuts arrays along an axis, and publishes each part as a read-only attribute of this device.

    A part of length one along the axis loses it where a scalar or a spectrum remains. A part with
    more than two dimensions is published as a spectrum, row by row.
    """

    kinds = frozenset({Kind.STR, Kind.BOOL, Kind.INT, Kind.FLOAT})
    dynamic_shapes = False

    attribute_names: list[str] = option(
        min_length=1, doc="The attributes of the parts, in order; case does not count."
    )
    axis: int = option(default=0, doc="The dimension that is cut: 0 is the first, -1 the last one.")
    default_value: Data = option(
        default="", doc="What each reads as before the first datum; '' is the zero of the dtype."
    )
    attribute_shape_names: list[str] | None = option(
        default=None,
        doc="Attributes, as many, for the shapes of the parts as they are cut: spectra of int64.",
    )
    indices: list[int] | None = option(
        default=None,
        doc="Where to cut: the first entry of each part but the first. Without, parts are equal.",
    )

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """Also names, and cuts that the shape does not allow."""
        kinds = [*super().faults(spec), *type_faults(spec)]
        yield from kinds
        for path, name in self.claims():
            yield from published_name_faults(name, path)
        shapes = self.attribute_shape_names
        if shapes is not None and len(shapes) != len(self.attribute_names):
            yield Fault(
                "$.attribute_shape_names",
                f"expected as many as attribute_names, {len(self.attribute_names)}, "
                f"found {len(shapes)}",
                "write a name for the shape of each part, or none at all",
            )
            return
        cuts = list(self._cut_faults(spec))
        yield from cuts
        if not kinds and not cuts:
            try:
                self.publishes(spec)
            except ConformError as error:
                yield Fault("$.default_value", str(error), "write a value that fits every part")

    def _cut_faults(self, spec: DataSpec) -> Iterator[Fault]:
        dimensions, count = len(spec.shape), len(self.attribute_names)
        if not spec.shape:
            yield Fault("$", f"a scalar cannot be cut, found {spec}", "write shape in the exchange")
            return
        if not -dimensions <= self.axis < dimensions:
            yield Fault(
                "$.axis",
                f"found {self.axis}, expected {-dimensions} to {dimensions - 1} for {spec}",
                "0 is the first dimension, -1 the last one",
            )
            return
        length = spec.shape[self.axis]
        if length < 0:
            return  # told already
        if self.indices is not None:
            yield from self._index_faults(self.indices, length, spec)
        elif length % count or not length:
            yield Fault(
                "$.attribute_names",
                f"{length} along axis {self.axis} of {spec} do not make {count} equal parts",
                f"write a number of names that divides {length}, or indices",
            )

    def _index_faults(self, indices: list[int], length: int, spec: DataSpec) -> Iterator[Fault]:
        least = 1
        for number, index in enumerate(indices):
            if not least <= index < length:
                yield Fault(
                    f"$.indices{step(number)}",
                    f"found {index}, expected {least} to {length - 1}"
                    if least < length
                    else f"found {index}, but nothing is left to cut off",
                    f"indices rise, and lie within the {length} along axis {self.axis} of {spec}",
                )
            least = max(least, index + 1)
        if len(indices) + 1 != len(self.attribute_names):
            yield Fault(
                "$.attribute_names",
                f"{len(indices)} indices make {len(indices) + 1} parts, "
                f"found {len(self.attribute_names)} names",
                "write a name for each part",
            )

    def parts(self, spec: DataSpec) -> list[Part]:
        """The parts of an array of *spec*, of which `faults` finds none."""
        axis = self.axis % len(spec.shape)
        length, names = spec.shape[axis], self.attribute_names
        if self.indices is None:
            bounds = [*range(0, length + 1, length // len(names))]
        else:
            bounds = [0, *self.indices, length]
        return [
            Part(
                name,
                shape_name,
                axis,
                begin,
                end,
                attrs.evolve(
                    spec, shape=(*spec.shape[:axis], end - begin, *spec.shape[axis + 1 :])
                ),
            )
            for name, shape_name, (begin, end) in zip(
                names,
                self.attribute_shape_names or itertools.repeat(None, len(names)),
                itertools.pairwise(bounds),
                strict=True,
            )
        ]

    def claims(self) -> Iterator[tuple[str, str]]:
        """The names of the parts and of their shapes."""
        for key in ("attribute_names", "attribute_shape_names"):
            for index, name in enumerate(getattr(self, key) or ()):
                yield f"$.{key}{step(index)}", name

    def places(self, device: str) -> Iterator[Place]:
        """The attributes, on the connector itself."""
        return own_places(device, (name for _, name in self.claims()))

    def publishes(self, spec: DataSpec) -> tuple[PublishedAttribute, ...]:
        """Each part, after its shape where that is told."""
        parts = self.parts(spec)
        return tuple(wanted for part in parts for wanted in part.attributes(self.default_value))

    def build(self, spec: DataSpec, services: Services) -> TangoArrayScatterAttributeSink:
        """The sink, not started; raises `EndpointError` where there is no device."""
        if services.attributes is None:
            name = self.attribute_names[0]
            raise EndpointError(name, "publishing", "there is no device to have it")
        return TangoArrayScatterAttributeSink(self.parts(spec), spec, services.attributes)


class TangoArrayScatterAttributeSink(PublishingSink):
    """Runtime side of `TangoArrayScatterAttributeSinkDescriptor`."""

    def __init__(self, parts: list[Part], spec: DataSpec, host: AttributeHost) -> None:
        super().__init__(host)
        self._parts = parts
        self._spec = spec
        self._axis = parts[0].axis
        self._whole = any(part.flat and part.shape_name is None for part in parts)

    def parts(self, value: Data) -> Iterable[tuple[str, Data]]:
        """The parts of one array; raises `ConformError` when it does not fit."""
        array = fit(value, self._spec)
        if array.shape != self._spec.shape:
            found, length = f"the shape {list(array.shape)}", self._spec.shape[self._axis]
            if array.shape[self._axis] != length:
                reason = f"axis {self._axis} is cut, and wants its whole length of {length}"
                raise ConformError(self._spec, found, reason)
            if self._whole:
                reason = "a part that is published flat may be shorter only if its shape is told"
                raise ConformError(self._spec, found, reason)
        return [item for part in self._parts for item in part.values(array)]
