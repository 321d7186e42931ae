"""What events brought → data of an exchange, those that are there together in one go.

* values    the same, one for one, as `datatypes.conform` makes of each alone
* cost      numbers are conformed as one array, however many there are; arrays cost little anyway
* errors    a `DataError` stands in the place of a value that does not fit
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...datatypes import Data, DataSpec, Kind, conform
from ...errors import ConformError, DataError
from .types import lengthened

Outcome = Data | DataError

_NUMBERS = (Kind.BOOL, Kind.INT, Kind.FLOAT)


def converted(values: Sequence[Any], spec: DataSpec) -> list[Outcome]:
    """A datum for each value, or why there is none."""
    kinds = set(map(type, values))
    plain = len(kinds) == 1 and kinds <= {float, int, bool}
    if plain and len(values) > 1 and not spec.shape and not spec.labels and spec.kind in _NUMBERS:
        try:
            return list(conform(list(values), DataSpec(spec.dtype, (-1,))))
        except ConformError:
            pass  # some do not fit: which ones?
    return one_by_one(lambda value: conform(lengthened(value, spec), spec, shorter=True), values)


def one_by_one(convert: Callable[[Any], Data], values: Sequence[Any]) -> list[Outcome]:
    """What *convert* makes of each value alone."""
    outcomes: list[Outcome] = []
    for value in values:
        try:
            outcomes.append(convert(value))
        except DataError as error:
            outcomes.append(error)
    return outcomes
