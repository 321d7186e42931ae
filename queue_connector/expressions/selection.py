"""JMESPath over data: which part of a datum an attribute shows, and whether it does.

* seen      numpy's values as plain ones: arrays and tuples as lists, structs as mappings, times as
            ISO 8601 text on the TAI scale; NaN and infinities as they are
* checked   syntax, and the names and argument counts of functions, when an expression is compiled
* cost      names, indices, lists and mappings of them, comparisons with a text, ``&&`` and ``||``
            go without JMESPath's interpreter, see `steps`. Rows with a field equal to a literal,
            ``[?name=='SKA001']``, are looked up: a list of n rows is read once for a datum, not
            once for each of n expressions. All else is JMESPath's own
* errors    `ExpressionError` for what is no expression, `EvaluationError` for one that a datum
            makes fail
* source    https://jmespath.org/specification.html
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import attrs
import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions
from jmespath.lexer import Lexer
from jmespath.visitor import TreeInterpreter

from ..model.errors import DataError
from ..model.registry import did_you_mean
from .cells import Cell, Node, cell_of
from .opened import Opened, as_json
from .steps import Step, is_false, step_of

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
    step: Step | None = attrs.field(repr=False, eq=False)
    """What it does, where that needs no interpreter."""
    cell: Cell | None = attrs.field(repr=False, eq=False)
    """What it selects of a table, where it selects one row."""


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
        compiled = Expression(text, root, step_of(root), cell_of(root))
    except (JMESPathError, ValueError, Warning) as error:
        raise ExpressionError(" ".join(str(error).split())[:300]) from None
    except (RecursionError, MemoryError):
        raise ExpressionError("it is nested too deep", "write a flatter one") from None
    if complaint is not None:
        raise complaint
    return compiled


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


class Selector(Opened):
    """Evaluates many expressions on one datum, which must not change meanwhile."""

    def select(self, expression: Expression) -> Any:
        """What the expression yields; None for nothing.

        Raises:
            EvaluationError: it fails on this datum.
        """
        try:
            if expression.step is not None:
                return as_json(expression.step(self, self.datum))
            return _interpreter.visit(expression.root, self.json)
        except (
            *(JMESPathError, ValueError, TypeError, AttributeError, LookupError),
            *(ArithmeticError, RecursionError, MemoryError),
        ) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            raise EvaluationError(expression.text, reason[:300]) from None

    def holds(self, expression: Expression) -> bool:
        """Whether what it yields is true: not null, false, or empty; 0 is true."""
        return not is_false(self.select(expression))


_interpreter = TreeInterpreter()
