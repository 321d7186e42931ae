"""What events brought → data of an exchange, those that are there together in one go.

* values    the same, one for one, as `datatypes.conform` makes of each alone
* cost      numbers are conformed as one array, however many there are; arrays cost little anyway
* errors    a `DataError` stands in the place of a value that does not fit
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...model.conform import conform_batch
from ...model.datatypes import Data, DataSpec
from ...model.errors import DataError, untraced
from .types import lengthened

Outcome = Data | DataError


def converted(values: Sequence[Any], spec: DataSpec) -> list[Outcome]:
    """A datum for each value, or why there is none."""
    if spec.shape:
        values = [lengthened(value, spec) for value in values]
    return conform_batch(values, spec, shorter=True)


def one_by_one(convert: Callable[[Any], Data], values: Sequence[Any]) -> list[Outcome]:
    """What *convert* makes of each value alone."""
    outcomes: list[Outcome] = []
    for value in values:
        try:
            outcomes.append(convert(value))
        except DataError as error:
            outcomes.append(untraced(error))
    return outcomes
