"""Expressions that take one row of a table, an array of structs with one dimension: a `Cell`."""

from __future__ import annotations

from typing import Any

import attrs

Node = Any
"""A node of the tree that JMESPath's parser makes: a mapping of type, value and children."""


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
            key, names = key_of(test), _names_in(selection)
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


def key_of(node: Node) -> tuple[str, Any] | None:
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
