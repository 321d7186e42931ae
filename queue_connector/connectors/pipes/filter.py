"""Let through the data for which an expression is true.

* true      all but null, false, and what is empty: a text, a list, a mapping; 0 is true, as in
            JMESPath
* counts    what is left out counts as ``filtered``: a Kafka source's position moves past it
* errors    `EvaluationError` for a datum on which the expression fails
* source    https://jmespath.org/specification.html, "Or expressions"
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from ...expressions.checks import expression_faults, expression_warnings, unseen_faults
from ...expressions.selection import Selector, compile_expression
from ...model.datatypes import Data, DataSpec
from ...model.endpoints import PipeDescriptor, pipes
from ...model.errors import ConfigWarning, Fault
from ...model.option import option
from ...model.stream import DataPipe


@pipes.register("FilterPipe")
@attrs.frozen(kw_only=True)
class FilterPipeDescriptor(PipeDescriptor):
    """Lets through the data for which an expression is true, and leaves out the others."""

    condition: str = option(doc="JMESPath of what must be true of a datum; '@' is the datum.")

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """What is no expression, and data that are nothing to one."""
        yield from expression_faults("$.condition", self.condition)
        yield from unseen_faults("$", spec)

    def warnings(self) -> Iterator[ConfigWarning]:
        """Names in the expression where text is likely meant."""
        yield from expression_warnings("$.condition", self.condition)

    def build(self, spec: DataSpec) -> FilterPipe:
        """The pipe."""
        return FilterPipe(self, spec)


class FilterPipe(DataPipe):
    """Runtime side of `FilterPipeDescriptor`."""

    def __init__(self, descriptor: FilterPipeDescriptor, spec: DataSpec) -> None:
        super().__init__(spec)
        self._condition = compile_expression(descriptor.condition)

    def apply(self, value: Data) -> Data | None:
        """The datum itself, or None; raises `EvaluationError`."""
        return value if Selector(value).holds(self._condition) else None
