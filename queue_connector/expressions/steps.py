"""The parts of JMESPath that need no interpreter, as functions of Python.

Their results are those of JMESPath on `as_json` of the datum. Only what is looked at is made plain,
and a list that is searched for rows by a field is read once.

* carried   names, indices, pipes, literals, lists and mappings of expressions, ``==`` and ``!=``
            between an expression and a text, ``&&``, ``||``, and ``[?name=='text']`` or a number
* tables    arrays of structs with one dimension, of which one row is taken: a `Cell`
* source    https://jmespath.org/specification.html
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Hashable
from typing import Any

import attrs
import numpy as np

from ..model.datatypes import Data

Node = Any
"""A node of the tree that JMESPath's parser makes: a mapping of type, value and children."""

Step = Callable[["Opened", Any], Any]
"""What an expression makes of a value that may be numpy's still; so may be what it gives."""

_LEAVES = frozenset({str, int, float, bool, type(None)})
_OPEN = _LEAVES | {dict, list}


class Opened:
    """A datum, and what was made of it for one expression and serves the next."""

    def __init__(self, datum: Data) -> None:
        self.datum = datum
        # By identity. The values are kept, so that an identity stays its own.
        self._plain: dict[int, tuple[Any, Any]] = {}
        self._rows: dict[tuple[int, str], tuple[Any, dict[Hashable, list[Any]]]] = {}
        self._numbers: dict[tuple[str, ...], np.ndarray[Any, Any] | None] = {}
        self._columns: dict[str, list[Any]] = {}

    @functools.cached_property
    def json(self) -> Any:
        """The whole datum as JMESPath sees it."""
        return as_json(self.datum)

    def open(self, value: Any) -> Any:
        """A value as JMESPath sees it, though what is in it may be numpy's still."""
        if type(value) in _OPEN or isinstance(value, dict | list):
            return value
        if value is self.datum:
            return self.json
        known = self._plain.get(id(value))
        if known is None:
            known = self._plain[id(value)] = (value, as_json(value))
        return known[1]

    def rows(self, items: list[Any], field: str) -> dict[Hashable, list[Any]]:
        """The rows of a list by the text or number that they have in a field."""
        known = self._rows.get((id(items), field))
        if known is not None:
            return known[1]
        index: dict[Hashable, list[Any]] = {}
        for item in items:
            row = self.open(item)
            key = row.get(field) if isinstance(row, dict) else None
            if isinstance(key, np.generic):
                key = key.item()
            if isinstance(key, str | int | float) and not isinstance(key, bool):
                index.setdefault(key, []).append(row)
        self._rows[id(items), field] = (items, index)
        return index

    # -- tables

    @functools.cached_property
    def table(self) -> np.ndarray[Any, Any] | None:
        """The datum, if it is a table."""
        datum = self.datum
        return (
            datum
            if isinstance(datum, np.ndarray) and datum.ndim == 1 and datum.dtype.names is not None
            else None
        )

    def row(self, cell: Cell) -> int | None:
        """The number of the row in the table that a cell is in; None: there is none."""
        assert self.table is not None
        length = len(self.table)
        if cell.field is None:
            return cell.wanted if -length <= cell.wanted < length else None
        known = self._rows.get((0, cell.field))
        if known is None:
            index: dict[Hashable, list[Any]] = {}
            for number, key in enumerate(self.column(cell.field)):
                index.setdefault(key, [number])
            known = self._rows[0, cell.field] = (None, index)
        found = known[1].get(cell.wanted)
        return found[0] if found else None

    def has_keys(self, cell: Cell) -> bool:
        """Whether the table has a column of texts or numbers by which the row is found."""
        assert self.table is not None
        names: Any = self.table.dtype.fields
        return cell.field is None or (cell.field in names and names[cell.field][0].kind in "Uiuf")

    def column(self, name: str) -> list[Any]:
        """A column of the table as plain values."""
        assert self.table is not None
        found = self._columns.get(name)
        if found is None:
            found = self._columns[name] = self.table[name].tolist()
        return found

    def numbers(self, names: tuple[str, ...]) -> np.ndarray[Any, Any] | None:
        """Columns of numbers of one dtype beside each other; None where they are none."""
        if names not in self._numbers:
            self._numbers[names] = self._beside(names)
        return self._numbers[names]

    def _beside(self, names: tuple[str, ...]) -> np.ndarray[Any, Any] | None:
        table = self.table
        assert table is not None
        fields: Any = table.dtype.fields
        dtypes = {fields[name][0] if name in fields else None for name in names}
        if len(dtypes) != 1 or (dtype := dtypes.pop()) not in _NUMBERS:
            return None
        beside = np.empty((len(table), len(names)), dtype)
        for number, name in enumerate(names):
            beside[:, number] = table[name]
        return beside


_NUMBERS = frozenset(map(np.dtype, ("f8", "f4", "i8", "i4", "i2", "i1", "u4", "u2", "u1")))
"""Those of which a list of Python's numbers becomes the same array."""


@attrs.frozen
class Cell:
    """One row of a table, and fields of it: ``[?name=='SKA001'] | [0].[a, b]``, ``[3].[a, b]``."""

    field: str | None
    """The column by which the row is found; None: by its number."""
    wanted: Any
    names: tuple[str, ...]


def cell_of(root: Node) -> Cell | None:
    """What an expression selects of a table, where it is one row's list of fields; else None."""
    match root:
        case {
            "type": "pipe",
            "children": [
                {"type": "filter_projection", "children": [whole, {"type": "identity"}, test]},
                {"type": "subexpression", "children": [first, selection]},
            ],
        } if whole["type"] in ("identity", "current") and _index_in(first) == 0:
            key, names = _key_of(test), _names_in(selection)
            return Cell(*key, names) if key and names else None
        case {"type": "subexpression", "children": [one, selection]}:
            number, names = _index_in(one), _names_in(selection)
            return Cell(None, number, names) if number is not None and names else None
    return None


def _index_in(node: Node) -> int | None:
    match node:
        case {
            "type": "index_expression",
            "children": [{"type": "identity" | "current"}, {"type": "index", "value": int(number)}],
        }:
            return number
    return None


def _names_in(node: Node) -> tuple[str, ...]:
    if node["type"] != "multi_select_list":
        return ()
    if any(child["type"] != "field" for child in node["children"]):
        return ()
    return tuple(child["value"] for child in node["children"])


def _key_of(node: Node) -> tuple[str, Any] | None:
    """The field and the literal that it is to equal."""
    match node:
        case {
            "type": "comparator",
            "value": "eq",
            "children": [
                {"type": "field", "value": str(field)},
                {"type": "literal", "value": str() | int() | float() as wanted},
            ],
        } if not isinstance(wanted, bool):
            return field, wanted
    return None


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
    key, steps = _key_of(test), _steps([whole, each])
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


def as_json(value: Data) -> Any:
    """A datum as JMESPath sees it, made of plain Python values; see `selection`."""
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
