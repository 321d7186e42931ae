"""What is wrong with an expression of a configuration, and what is likely not meant."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from ..model.datatypes import DataSpec, Kind
from ..model.errors import ConfigWarning, Fault
from ..model.texts import shortened
from .selection import ExpressionError, compile_expression, names_in_place_of_text


def expression_faults(path: str, text: str) -> Iterator[Fault]:
    """That the text at *path* is not JMESPath, if it is not."""
    try:
        compile_expression(text)
    except ExpressionError as error:
        hint = error.hint or "see https://jmespath.org for how expressions are written"
        yield Fault(path, f"not JMESPath: {error.message}", hint)


def unseen_faults(path: str, spec: DataSpec) -> Iterator[Fault]:
    """That data of *spec* are nothing to JMESPath, if they are not."""
    if spec.kind is Kind.BYTES:
        hint = "write another dtype; a source decodes bytes by its encoding"
        yield Fault(path, "JMESPath knows no bytes", hint)


def expression_warnings(path: str, text: str) -> Iterator[ConfigWarning]:
    """Names in the text at *path* where text is likely meant."""
    with contextlib.suppress(ExpressionError):
        compile_expression(text)
        for name in names_in_place_of_text(text):
            message = f'"{shortened(name, 40)}" in double quotes is the name of a field'
            hint = f"text stands in single quotes: '{shortened(name, 40)}'"
            yield ConfigWarning(path, message, hint)
