"""Make another datum of each one, by an expression.

* made      what the expression yields, fitted to ``dtype`` and ``shape`` by the rules of all data
* nothing   a datum for which it yields null is left out, and counts as ``filtered``
* errors    `EvaluationError` for a datum on which the expression fails, `ConformError` where
            what it yields does not fit
* source    https://jmespath.org/specification.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np

from ...expressions.checks import expression_faults, expression_warnings, unseen_faults
from ...expressions.selection import Selector, compile_expression
from ...model.conform import conform
from ...model.datatypes import Data, DataSpec, parse_dtype
from ...model.endpoints import PipeDescriptor, pipes
from ...model.errors import ConfigWarning, Fault
from ...model.option import option
from ...model.specs import dynamic_complaint, too_large
from ...model.stream import DataPipe


@pipes.register("MapPipe")
@attrs.frozen(kw_only=True)
class MapPipeDescriptor(PipeDescriptor):
    """Makes another datum of each one; those for which there is none are left out."""

    path: str = option(doc="JMESPath of what becomes of a datum; null leaves it out.")
    dtype: np.dtype[Any] = option(converter=parse_dtype, doc="The type of what comes out.")
    shape: tuple[int, ...] = option(
        default=(), converter=tuple, doc="The largest dimensions of what comes out; [] is a scalar."
    )

    def output(self, spec: DataSpec) -> DataSpec:
        """What the keys dtype and shape say."""
        return DataSpec(self.dtype, self.shape)

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """What is no expression, data that are nothing to one, and too large a shape."""
        yield from expression_faults("$.path", self.path)
        output = self.output(spec)
        if complaint := dynamic_complaint(output) or too_large(output):
            yield Fault("$.shape", complaint, "write a smaller shape")
        yield from unseen_faults("$", spec)
        yield from unseen_faults("$.dtype", output)

    def warnings(self) -> Iterator[ConfigWarning]:
        """Names in the expression where text is likely meant."""
        yield from expression_warnings("$.path", self.path)

    def build(self, spec: DataSpec) -> MapPipe:
        """The pipe."""
        return MapPipe(self, spec)


class MapPipe(DataPipe):
    """Runtime side of `MapPipeDescriptor`."""

    def __init__(self, descriptor: MapPipeDescriptor, spec: DataSpec) -> None:
        super().__init__(spec)
        self._path = compile_expression(descriptor.path)
        self._output = descriptor.output(spec)

    @property
    def output_dtype(self) -> np.dtype[Any]:
        """What its descriptor says."""
        return self._output.dtype

    @property
    def output_shape(self) -> list[int]:
        """What its descriptor says."""
        return list(self._output.shape)

    def apply(self, value: Data) -> Data | None:
        """What the expression yields; raises `EvaluationError` and `ConformError`."""
        made = Selector(value).select(self._path)
        return None if made is None else conform(made, self._output)
