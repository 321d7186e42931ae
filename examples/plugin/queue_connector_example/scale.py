"""Multiply each number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs

import queue_connector as qc


@qc.pipes.register("ScalePipe")
@attrs.frozen(kw_only=True)
class ScalePipeDescriptor(qc.PipeDescriptor):
    """Multiplies numbers, or arrays of them, by a factor."""

    factor: float = qc.option(doc="By which number.")

    def faults(self, spec: qc.DataSpec) -> Iterator[qc.Fault]:
        """Data that are no floating point numbers."""
        if spec.kind is not qc.Kind.FLOAT:
            yield qc.Fault("$", f"ScalePipe does not scale {spec}", "write float32 or float64")

    def build(self, spec: qc.DataSpec) -> ScalePipe:
        """The pipe."""
        return ScalePipe(self, spec)


class ScalePipe(qc.DataPipe):
    """Runtime side of `ScalePipeDescriptor`."""

    def __init__(self, descriptor: ScalePipeDescriptor, spec: qc.DataSpec) -> None:
        super().__init__(spec)
        self._factor = descriptor.factor

    def apply(self, value: Any) -> Any:
        """The product."""
        return value * self._factor
