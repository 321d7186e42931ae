"""JMESPath over data: which part of a datum an attribute shows, and whether it does.

* seen      numpy's values as plain ones: arrays and tuples as lists, structs as mappings, times as
            ISO 8601 text on the TAI scale; NaN and infinities as they are
* checked   syntax, and the names and argument counts of functions, when an expression is compiled
* cost      the rows of a list that have a field equal to a text, ``[?name=='SKA001']``, are looked
            up: a list of n rows is read once for a datum, not once for each of n expressions
* errors    `ExpressionError` for what is no expression, `EvaluationError` for one that a datum
            makes fail
* source    https://jmespath.org/specification.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import jmespath
import numpy as np
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.lexer import Lexer
from jmespath.visitor import TreeInterpreter

from ...datatypes import Data
from ...errors import DataError
from ...registry import did_you_mean

Node = Any
"""A node of the tree that JMESPath's parser makes: a mapping of type, value and children."""


MAX_LENGTH = 10_000
"""Characters of an expression; real ones have some hundred."""


class ExpressionError(ValueError):
    """A text is not a JMESPath expression; ``hint`` says more where there is more to say."""

    def __init__(self, message: str, hint: str = "") -> None:
        self.message = message
        self.hint = hint
        super().__init__(message)


@attrs.define(eq=False, slots=False)
class EvaluationError(DataError):
    """An expression cannot be evaluated on one datum."""

    expression: str
    reason: str

    def __str__(self) -> str:
        return f"{self.expression!r} fails: {self.reason}"


@attrs.frozen
class Expression:
    """A compiled expression."""

    text: str
    root: Node = attrs.field(repr=False, eq=False)


def compile_expression(text: str) -> Expression:
    """The expression that a text holds.

    Raises:
        ExpressionError: it holds none.
    """
    if len(text) > MAX_LENGTH:
        message = f"expected at most {MAX_LENGTH} characters, found {len(text)}"
        raise ExpressionError(message, "write a shorter one, or share the work out")
    try:
        root: Node = jmespath.compile(text).parsed
        complaint = next(_function_complaints(root), None)
    except (JMESPathError, ValueError, Warning) as error:
        raise ExpressionError(" ".join(str(error).split())[:300]) from None
    except (RecursionError, MemoryError):
        raise ExpressionError("it is nested too deep", "write a flatter one") from None
    if complaint is not None:
        raise complaint
    return Expression(text, root)


def _function_complaints(node: Node) -> Iterator[ExpressionError]:
    """Functions that there are not, and calls with too few or too many arguments."""
    if node["type"] == "function_expression":
        name, given = node["value"], len(node["children"])
        known: dict[str, Any] = Functions.FUNCTION_TABLE
        if name not in known:
            yield ExpressionError(f"no function is called {name!r}", did_you_mean(name, known))
        else:
            signature = known[name]["signature"]
            variadic = bool(signature) and signature[-1].get("variadic", False)
            if given < len(signature) or (given > len(signature) and not variadic):
                wanted = f"at least {len(signature)}" if variadic else str(len(signature))
                yield ExpressionError(f"{name}() takes {wanted} arguments, found {given}")
    for child in node["children"]:
        if isinstance(child, dict):  # the others are the numbers of a slice
            yield from _function_complaints(child)


_COMPARATORS = frozenset({"eq", "ne", "lt", "lte", "gt", "gte"})
_OPENING = frozenset({"lparen", "lbracket", "filter", "lbrace"})
_CLOSING = frozenset({"rparen", "rbracket", "rbrace"})
_TEXT_WANTED = frozenset({("starts_with", 1), ("ends_with", 1), ("contains", 1), ("join", 0)})
"""Functions, and which of their arguments is a text that people write out."""


def names_in_place_of_text(text: str) -> Iterator[str]:
    """Names in double quotes that stand where text is likely meant, in single quotes.

    *text* is an expression. JMESPath takes ``type=="x"`` for a comparison of two fields.
    """
    tokens = list(Lexer().tokenize(text))
    calls: list[tuple[str, int]] = []
    for index, token in enumerate(tokens[:-1]):
        kind, before = token["type"], tokens[index - 1] if index else {"type": ""}
        after = tokens[index + 1]["type"]
        if kind in _OPENING:
            function = kind == "lparen" and before["type"] == "unquoted_identifier"
            calls.append((before["value"] if function else "", 0))
        elif kind in _CLOSING and calls:
            calls.pop()
        elif kind == "comma" and calls:
            calls[-1] = (calls[-1][0], calls[-1][1] + 1)
        elif kind == "quoted_identifier" and after not in ("dot", "lbracket", "filter", "flatten"):
            compared = before["type"] in _COMPARATORS or (
                after in _COMPARATORS
                and before["type"] != "dot"
                and tokens[index + 2]["type"] not in ("literal", "quoted_identifier")
            )
            argument = before["type"] in ("lparen", "comma") and after in ("comma", "rparen")
            if compared or (argument and calls and calls[-1] in _TEXT_WANTED):
                yield token["value"]


class Selector:
    """Evaluates many expressions on one datum, which must not change meanwhile."""

    def __init__(self, datum: Data) -> None:
        self._datum = as_json(datum)
        self._interpreter = _Interpreter()

    def select(self, expression: Expression) -> Any:
        """What the expression yields; None for nothing.

        Raises:
            EvaluationError: it fails on this datum.
        """
        try:
            return self._interpreter.visit(expression.root, self._datum)
        except (
            *(JMESPathError, ValueError, TypeError, AttributeError, LookupError),
            *(ArithmeticError, RecursionError, MemoryError),
        ) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise EvaluationError(expression.text, reason[:300]) from None

    def holds(self, expression: Expression) -> bool:
        """Whether what it yields is true: not null, false, or empty; 0 is true."""
        value = self.select(expression)
        return not (value is None or value is False or value == "" or value == [] or value == {})


class _Interpreter(TreeInterpreter):
    """JMESPath's own interpreter, which looks rows up instead of comparing each of them."""

    def __init__(self) -> None:
        super().__init__()
        # By list and field. The list is kept, so that its identity stays its own.
        self._rows: dict[tuple[int, str], tuple[list[Any], dict[str, list[Any]]]] = {}

    def visit_filter_projection(self, node: Node, value: Any) -> Any:
        match node["children"]:
            case [
                whole,
                each,
                {
                    "type": "comparator",
                    "value": "eq",
                    "children": [
                        {"type": "field", "value": str(field)},
                        {"type": "literal", "value": str(wanted)},
                    ],
                },
            ]:
                rows = self.visit(whole, value)
                if not isinstance(rows, list):
                    return None
                found = [self.visit(each, row) for row in self._index(rows, field).get(wanted, ())]
                return [item for item in found if item is not None]
        return super().visit_filter_projection(node, value)

    def _index(self, rows: list[Any], field: str) -> dict[str, list[Any]]:
        """The rows by the text that they have in a field."""
        known = self._rows.get((id(rows), field))
        if known is not None:
            return known[1]
        index: dict[str, list[Any]] = {}
        for row in rows:
            text = row.get(field) if isinstance(row, dict) else None
            if isinstance(text, str):
                index.setdefault(text, []).append(row)
        self._rows[id(rows), field] = (rows, index)
        return index


_LEAVES = frozenset({str, int, float, bool, type(None)})


def as_json(value: Data) -> Any:
    """A datum as JMESPath sees it, made of plain Python values; see the module's docstring."""
    if type(value) in _LEAVES:
        return value
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return _from_array(np.asarray(value))
    return value


def _from_array(array: np.ndarray[Any, Any]) -> Any:
    if array.dtype.names is not None:
        if array.ndim > 1:
            return [_from_array(row) for row in array]
        columns = [_from_array(np.atleast_1d(array)[name]) for name in array.dtype.names]
        rows = [
            dict(zip(array.dtype.names, row, strict=True)) for row in zip(*columns, strict=True)
        ]
        return rows if array.ndim else rows[0]
    if array.dtype.kind == "M":
        return np.datetime_as_string(array).tolist()
    return array.tolist()
