"""Time scales: TAI as ``datetime64`` → Unix time in milliseconds; the SKA's pointing times → TAI.

A ``datetime64`` of this package counts on the TAI scale: ``1970-01-01`` is midnight TAI, and no
second is ever left out or inserted. Unix time is UTC without its leap seconds.

* units     whole milliseconds of Unix time; what is finer is cut off, as numpy does it. SKA times
            are SI seconds since 2000-01-01T00:00:00 TAI, which is 1999-12-31T23:59:28 UTC
* range     from 1972 on: before that, UTC was no whole number of seconds away from TAI
* leap      Unix time runs through the millisecond numbers of a leap second twice, as POSIX says:
            23:59:60.5 has the number of the following 00:00:00.5
* errors    `TimeError` for what has no such time; arrays are converted whole or not at all
* source    IERS Bulletin C, in the table that comes with pyerfa (``erfa.leap_seconds``): a leap
            second that is announced comes with a new pyerfa; POSIX, "Seconds Since the Epoch"
"""

from __future__ import annotations

import datetime
import functools
import math
from typing import Any

import attrs
import erfa
import numpy as np

from .errors import DataError

Array = np.ndarray[Any, Any]

SKA_EPOCH = np.datetime64("2000-01-01T00:00:00", "s")
"""The instant, on the TAI scale, that SKA times count from."""

_EPOCH_SECONDS = int(SKA_EPOCH.astype("i8"))
_UNITS = ("s", "ms", "us", "ns", "ps", "fs", "as")
_PER_SECOND = {unit: 1000**index for index, unit in enumerate(_UNITS)}
_MAX = 2**63 - 1
_FURTHEST = 2.0**53  # s; beyond it, consecutive floats are more than a second apart


@attrs.define(eq=False, slots=False)
class TimeError(DataError):
    """A time cannot be told on the other scale, or in the unit that is wanted."""

    found: str
    reason: str

    def __str__(self) -> str:
        return f"{self.found} cannot be converted: {self.reason}"


@functools.cache
def _steps() -> tuple[Array, Array]:
    """When TAI - UTC changed, in ms on the TAI scale, and to how many ms."""
    table = erfa.leap_seconds.get()
    table = table[table["year"] >= 1972]
    months = (table["year"].astype("i8") - 1970) * 12 + table["month"] - 1
    unix = months.astype("M8[M]").astype("M8[ms]").astype("i8")
    ahead = np.round(table["tai_utc"] * 1000).astype("i8")
    return unix + ahead, ahead


def unix_ms(tai: object) -> Any:
    """Unix time in ms of ``datetime64`` on the TAI scale: an ``int64``, or an array of them.

    Raises:
        TimeError: NaT, before 1972, or out of the range of milliseconds.
    """
    given = np.asarray(tai)
    if given.dtype.kind != "M":
        raise TimeError(f"{given.dtype}", "only datetime64 is on the TAI scale")
    if np.any(np.isnat(given)):
        raise TimeError("NaT", "it is no time")
    whole = given.astype("M8[ms]")
    if np.can_cast(given.dtype, whole.dtype, "safe") and np.any(whole.astype(given.dtype) != given):
        raise TimeError(_excerpt(given), "it is out of the range of milliseconds")
    numbers = whole.astype("i8")
    steps, ahead = _steps()
    index = np.searchsorted(steps, numbers, side="right") - 1
    if np.any(index < 0):
        early = given.reshape(-1)[np.argmax(np.ravel(index) < 0)]
        raise TimeError(str(early), "before 1972, UTC was no whole number of seconds from TAI")
    return (numbers - ahead[index])[()]


def tai_of_ska(seconds: object, dtype: np.dtype[Any] | str = "datetime64[ns]") -> Any:
    """``datetime64`` on the TAI scale of SKA times, to the nearest unit; NaN is NaT.

    A float of today's SKA time is exact to some 0.1 µs. It is taken for what it is and rounded
    once, so that 0.3 s is 300 ms and not 299. Units above the second are cut off, as numpy does.

    Args:
        seconds: SI seconds since 2000-01-01T00:00:00 TAI; a number, or an array of them.
        dtype: the ``datetime64`` wanted.

    Raises:
        TimeError: infinite, or out of the range of the dtype.
    """
    dtype = np.dtype(dtype)
    given = np.asarray(seconds, "f8")
    nothing = np.isnan(given)
    unit, _ = np.datetime_data(dtype)
    per_second = _PER_SECOND.get(unit, 1)
    whole = np.floor(np.where(nothing, 0.0, given))
    limit = min(_MAX // per_second - _EPOCH_SECONDS - 1, int(_FURTHEST))
    if not np.all(np.abs(whole) <= limit):
        raise TimeError(_excerpt(given), f"it is out of the range of {dtype}")
    numbers = (whole.astype("i8") + _EPOCH_SECONDS) * per_second
    if unit in _PER_SECOND:  # the floor and the rest are exact; the rest is rounded once
        numbers += np.rint((np.where(nothing, 0.0, given) - whole) * per_second).astype("i8")
    times = numbers.astype(f"M8[{unit if unit in _PER_SECOND else 's'}]").astype(dtype)
    return np.where(nothing, np.array("NaT", dtype), times)[()]


def ska_ticks(seconds: float, dtype: np.dtype[Any]) -> int:
    """The number that stands for `tai_of_ska` of one number: twenty times as fast.

    Raises:
        TimeError: as `tai_of_ska` does.
    """
    unit, step = np.datetime_data(dtype)
    per_second = _PER_SECOND.get(unit, 0)
    limit = 0.0
    if per_second and step == 1:  # beyond it, and of NaN, `tai_of_ska` is the judge
        limit = min(_MAX // per_second - _EPOCH_SECONDS - 1, _FURTHEST)
    if not abs(seconds) < limit:
        return int(tai_of_ska(seconds, dtype).astype("i8"))
    whole = math.floor(seconds)
    ticks: int = (whole + _EPOCH_SECONDS) * per_second + round((seconds - whole) * per_second)
    return ticks


def _excerpt(values: Array) -> str:
    return f"{values.dtype} {values}"[:80]


def utc_now() -> str:
    """The time, as records carry it: ISO 8601, UTC, ms."""
    return _written(datetime.datetime.now(datetime.UTC))


def utc_text(unix: float) -> str:
    """A Unix time in s, as records carry it."""
    return _written(datetime.datetime.fromtimestamp(unix, datetime.UTC))


def _written(when: datetime.datetime) -> str:
    return when.isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"
