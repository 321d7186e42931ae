"""Publish parts of objects, arrays and structs as attributes of the device, chosen by JMESPath.

* filter    decides whether an attribute takes anything of a datum; without one it always does
* path      selects what it takes; null leaves the attribute as it is, without an event
* values    are conformed to the attribute's own dtype and shape, which is a maximum
* order     of attributes within a datum as configured, and datum after datum
* errors    `SelectionError`: where one attribute's part does not fit, the whole datum is refused
            and nothing of it is published, since the ledger has no word for half a datum
* thread    one hop for each write, since an expression may take any time
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import attrs
import numpy as np

from ...expressions.cells import Cell
from ...expressions.checks import expression_faults, expression_warnings
from ...expressions.selection import (
    EvaluationError,
    Expression,
    Selector,
    compile_expression,
)
from ...model.datatypes import Data, DataSpec, Kind, parse_dtype
from ...model.endpoints import EndpointDescriptor, SinkDescriptor, sinks
from ...model.errors import ConfigWarning, ConformError, DataError, EndpointError, Fault
from ...model.option import option, step
from ...model.services import AttributeHost, Place, PublishedAttribute, Services
from ...model.specs import LABELS, label_faults, parse_default, too_large
from ...runtime.worker import Worker, check_cancelled
from .publishing_sink import PublishingSink, Taken
from .types import TANGO_KINDS, fit, own_places, published_name_faults, type_faults

CHECK = 16
"""Attributes after which the worker looks whether it was cancelled."""


@attrs.define(eq=False, slots=False)
class SelectionError(DataError):
    """What a datum has for one attribute does not fit it."""

    attribute: str
    reason: str

    def __str__(self) -> str:
        return (
            f"attribute {self.attribute!r}: {self.reason}; compare its path, dtype and shape with "
            "what the source sends"
        )


@attrs.frozen(kw_only=True)
class TangoAttributeDescriptor(EndpointDescriptor):
    """An attribute, and which part of the data it shows."""

    kinds = TANGO_KINDS
    dynamic_shapes = False
    max_dimensions = 2

    attribute_name: str = option(doc="The attribute's name on this device; case does not count.")
    dtype: np.dtype[Any] = option(converter=parse_dtype, doc="The attribute's type of data.")
    shape: tuple[int, ...] = option(
        default=(), converter=tuple, doc="The attribute's largest dimensions; [] is a scalar."
    )
    labels: tuple[str, ...] = option(default=(), converter=tuple, doc=LABELS)
    path: str = option(
        default="@", doc="JMESPath of what it shows; null leaves it as it is, '@' is all."
    )
    filter: str | None = option(
        default=None, doc="JMESPath of what must be true of a datum for it to be shown."
    )
    default_value: Data = option(
        default="", doc="What it reads as before the first datum; '' is the zero of the dtype."
    )

    @property
    def spec(self) -> DataSpec:
        """The dtype and largest shape of the attribute."""
        return DataSpec(self.dtype, self.shape, self.labels)

    def own_faults(self) -> Iterator[Fault]:
        """What is wrong with it: name, dtype, shape, default, expressions."""
        spec = self.spec
        found = [*self.faults(spec), *type_faults(spec), *label_faults(spec)]
        if complaint := too_large(spec):
            found.append(Fault("$.shape", complaint, "write a smaller shape"))
        yield from found
        yield from published_name_faults(self.attribute_name)
        if not found:
            try:
                fit(parse_default(self.default_value, spec), spec)
            except ConformError as error:
                yield Fault("$.default_value", str(error), "write a value of the attribute's dtype")
        for key, text in self._expressions():
            yield from expression_faults(f"$.{key}", text)

    def _expressions(self) -> Iterator[tuple[str, str]]:
        yield "path", self.path
        if self.filter is not None:
            yield "filter", self.filter

    def warnings(self) -> Iterator[ConfigWarning]:
        """Names in its expressions where text is likely meant."""
        for key, text in self._expressions():
            yield from expression_warnings(f"$.{key}", text)


@sinks.register("TangoObjectScatterAttributeSink", alias="TangoJsonScatterAttributeSink")
@attrs.frozen(kw_only=True)
class TangoObjectScatterAttributeSinkDescriptor(SinkDescriptor):
    """Publishes parts of each datum as read-only attributes of this device."""

    kinds = frozenset({Kind.OBJECT, Kind.INT, Kind.FLOAT, Kind.STRUCT})

    attributes: list[TangoAttributeDescriptor] = option(
        min_length=1, doc="The attributes, in the order in which they are published."
    )

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """Also what is wrong with the attributes."""
        yield from super().faults(spec)
        for index, attribute in enumerate(self.attributes):
            for fault in attribute.own_faults():
                yield fault.below(f"$.attributes{step(index)}")

    def warnings(self) -> Iterator[ConfigWarning]:
        """Those of the attributes."""
        for index, attribute in enumerate(self.attributes):
            for warning in attribute.warnings():
                yield warning.below(f"$.attributes{step(index)}")

    def claims(self) -> Iterator[tuple[str, str]]:
        """The name of each attribute."""
        for index, attribute in enumerate(self.attributes):
            yield f"$.attributes{step(index)}.attribute_name", attribute.attribute_name

    def places(self, device: str) -> Iterator[Place]:
        """The attributes, on the connector itself."""
        return own_places(device, (name for _, name in self.claims()))

    def publishes(self, spec: DataSpec) -> tuple[PublishedAttribute, ...]:
        """The attributes, as configured."""
        return tuple(
            PublishedAttribute(
                wanted.attribute_name,
                wanted.spec,
                fit(parse_default(wanted.default_value, wanted.spec), wanted.spec),
            )
            for wanted in self.attributes
        )

    def build(self, spec: DataSpec, services: Services) -> TangoObjectScatterAttributeSink:
        """The sink, not started; raises `EndpointError` where there is no device."""
        if services.attributes is None:
            name = self.attributes[0].attribute_name
            raise EndpointError(name, "publishing", "there is no device to have it")
        return TangoObjectScatterAttributeSink(self, services.attributes)


@attrs.frozen
class _Target:
    """One attribute with its expressions compiled."""

    name: str
    spec: DataSpec
    path: Expression
    filter: Expression | None
    cell: Cell | None
    """What it takes of a table, where it is numbers."""

    def _of_table(self, datum: Selector, cell: Cell) -> Data | None:
        numbers = datum.numbers(cell.names)
        if numbers is None or not datum.has_keys(cell):
            raise _NotTaken
        row = datum.row(cell)
        return None if row is None else fit(numbers[row], self.spec)

    @classmethod
    def of(cls, described: TangoAttributeDescriptor) -> _Target:
        spec, text = described.spec, described.filter
        path = compile_expression(described.path)
        numbers = spec.kind in (Kind.INT, Kind.FLOAT) and not spec.labels
        return cls(
            described.attribute_name,
            spec,
            path,
            None if text is None else compile_expression(text),
            path.cell if numbers else None,
        )

    def take(self, datum: Selector) -> Data | None:
        """The attribute's value in a datum; None where it has none.

        Raises:
            SelectionError: what is there does not fit.
        """
        try:
            if self.filter is not None and not datum.holds(self.filter):
                return None
            if self.cell is not None and datum.table is not None:
                try:
                    return self._of_table(datum, self.cell)
                except (_NotTaken, ConformError):
                    pass  # as JMESPath sees it, which also says what is wrong with it
            selected = datum.select(self.path)
            return None if selected is None else fit(selected, self.spec)
        except EvaluationError as error:
            raise SelectionError(self.name, str(error)) from None
        except ConformError as error:
            reason = (
                f"{self.path.text!r} selects {error.found}, expected {error.expected}: "
                f"{error.reason}"
            )
            raise SelectionError(self.name, reason) from None


class _NotTaken(Exception):
    """A cell of a table that the sink leaves to JMESPath."""


class TangoObjectScatterAttributeSink(PublishingSink):
    """Runtime side of `TangoObjectScatterAttributeSinkDescriptor`."""

    def __init__(
        self, descriptor: TangoObjectScatterAttributeSinkDescriptor, host: AttributeHost
    ) -> None:
        super().__init__(host)
        self._targets = [_Target.of(attribute) for attribute in descriptor.attributes]
        self._worker = Worker()

    async def _take(self, data: Sequence[Data]) -> Taken:
        return await self._worker.run(self.take, data)

    def parts(self, value: Data) -> Iterable[tuple[str, Data]]:
        """What the attributes show of one datum, in the worker thread; raises `SelectionError`."""
        datum, taken = Selector(value), []
        for number, target in enumerate(self._targets):
            if not number % CHECK:
                check_cancelled()
            if (found := target.take(datum)) is not None:
                taken.append((target.name, found))
        return taken
