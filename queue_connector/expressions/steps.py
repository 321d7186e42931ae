"""The parts of JMESPath that need no interpreter, as functions of Python.

Their results are those of JMESPath on `as_json` of the datum. Only what is looked at is made plain,
and a list that is searched for rows by a field is read once.

* carried   names, indices, pipes, literals, lists and mappings of expressions, ``==`` and ``!=``
            between an expression and a text, ``&&``, ``||``, and ``[?name=='text']`` or a number
* source    https://jmespath.org/specification.html
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from .cells import Node, key_of
from .opened import Opened

Step = Callable[["Opened", Any], Any]
"""What an expression makes of a value that may be numpy's still; so may be what it gives."""


def step_of(node: Node) -> Step | None:
    """What a node does, as a function; None where that needs the interpreter."""
    make = _MAKERS.get(node["type"])
    return make(node) if make is not None else None


def _steps(nodes: list[Node]) -> list[Step] | None:
    steps: list[Step] = []
    for node in nodes:
        step = step_of(node)
        if step is None:
            return None
        steps.append(step)
    return steps


def _current(_node: Node) -> Step:
    return lambda _, value: value


def _field(node: Node) -> Step:
    name = node["value"]

    def field(opened: Opened, value: Any) -> Any:
        if type(value) is not dict:
            value = opened.open(value)
        return value.get(name) if isinstance(value, dict) else None

    return field


def _index(node: Node) -> Step:
    number = node["value"]

    def index(opened: Opened, value: Any) -> Any:
        value = opened.open(value)
        if isinstance(value, list) and -len(value) <= number < len(value):
            return value[number]
        return None

    return index


def _literal(node: Node) -> Step:
    literal = node["value"]
    return lambda _, _value: literal


def _chain(node: Node) -> Step | None:
    steps = _steps([each for each in node["children"] if each["type"] != "identity"])
    if steps is None:
        return None
    if len(steps) == 1:
        return steps[0]

    def chain(opened: Opened, value: Any) -> Any:
        for step in steps:
            value = step(opened, value)
        return value

    return chain


def _list(node: Node) -> Step | None:
    steps = _steps(node["children"])
    if steps is None:
        return None

    def select(opened: Opened, value: Any) -> Any:
        value = opened.open(value)
        return None if value is None else [step(opened, value) for step in steps]

    return select


def _mapping(node: Node) -> Step | None:
    names = [pair["value"] for pair in node["children"]]
    steps = _steps([pair["children"][0] for pair in node["children"]])
    if steps is None:
        return None
    pairs = list(zip(names, steps, strict=True))

    def select(opened: Opened, value: Any) -> Any:
        value = opened.open(value)
        return None if value is None else {name: step(opened, value) for name, step in pairs}

    return select


def _rows(node: Node) -> Step | None:
    whole, each, test = node["children"]
    key, steps = key_of(test), _steps([whole, each])
    if key is None or steps is None:
        return None
    (field, wanted), (all_of_them, select) = key, steps

    def rows(opened: Opened, value: Any) -> Any:
        items = opened.open(all_of_them(opened, value))
        if not isinstance(items, list):
            return None
        found = [select(opened, row) for row in opened.rows(items, field).get(wanted, ())]
        return [item for item in found if item is not None]

    return rows


def _comparison(node: Node) -> Step | None:
    """Whether something is a text, or is not."""
    left, right = node["children"]
    step, wanted = step_of(left), right.get("value")
    operator = node["value"]
    if step is None or right["type"] != "literal" or not isinstance(wanted, str):
        return None
    if operator not in ("eq", "ne"):
        return None
    equal = operator == "eq"

    def compare(opened: Opened, value: Any) -> bool:
        found = opened.open(step(opened, value))
        return (isinstance(found, str) and found == wanted) is equal

    return compare


def _both(node: Node) -> Step | None:
    steps = _steps(node["children"])
    if steps is None:
        return None
    first, second = steps
    and_ = node["type"] == "and_expression"

    def decide(opened: Opened, value: Any) -> Any:
        matched = first(opened, value)
        return matched if is_false(opened.open(matched)) is and_ else second(opened, value)

    return decide


_MAKERS: dict[str, Callable[[Node], Step | None]] = {
    "identity": _current,
    "current": _current,
    "field": _field,
    "index": _index,
    "literal": _literal,
    "subexpression": _chain,
    "index_expression": _chain,
    "pipe": _chain,
    "multi_select_list": _list,
    "multi_select_dict": _mapping,
    "filter_projection": _rows,
    "comparator": _comparison,
    "and_expression": _both,
    "or_expression": _both,
}


def is_false(value: Any) -> bool:
    """Whether JMESPath calls a value false: null, false, or empty; 0 is true."""
    return value is None or value is False or value == "" or value == [] or value == {}
