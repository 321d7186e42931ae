"""A datum that expressions look at: only what is looked at is made plain, and that once."""

from __future__ import annotations

import functools
from collections.abc import Hashable
from typing import Any

import numpy as np

from ..model.datatypes import Data
from .cells import Cell

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
