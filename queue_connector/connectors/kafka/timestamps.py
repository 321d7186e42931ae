"""The timestamp of a Kafka message, taken from the datum that it carries.

A number counts milliseconds since the Unix epoch; a ``datetime64`` is on the TAI scale and is
converted to UTC with its leap seconds.

* order     the value of ``key``, of that the ``slices``, of what is left the ``reducer``
* rounding  to whole milliseconds: a float to the nearest, ``datetime64`` and every mean of whole
            numbers down
* gaps      a reducer leaves NaN and NaT out, as long as there is something else
* errors    `TimestampError` for a datum without one time. Among them are times up to 1970:
            Kafka has none before, and librdkafka takes 0 for the time of sending
* source    Kafka, "Message Format", ``CreateTime``; librdkafka, ``rd_kafka_producev``
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import attrs
import numpy as np

from ...model.datatypes import Data, DataSpec, Kind
from ...model.errors import DataError, Fault
from ...model.option import Descriptor, option
from ...model.registry import did_you_mean
from ...model.timescale import unix_ms

Slice = tuple[int | None, int | None, int | None]

SENDING_TIME = 0
"""What librdkafka takes for the time at which the message is sent."""

_TIMES = frozenset({Kind.INT, Kind.FLOAT, Kind.DATETIME})
_LATEST = 2**63 - 1


@attrs.define(eq=False, slots=False)
class TimestampError(DataError):
    """A datum has no time that its message could carry."""

    reason: str

    def __str__(self) -> str:
        return f"no timestamp: {self.reason}; compare timestamp_options with what the source sends"


@attrs.frozen(kw_only=True)
class TimestampOptions(Descriptor):
    """Takes the timestamp of each message from its datum: a number of ms, or datetime64 as TAI."""

    slices: list[int | Slice] = option(
        default=[],
        doc="What to take of an array: for each dimension an index, or [start, stop, step]. "
        "Without any, all of it.",
    )
    key: str | None = option(
        default=None, doc="The field of a struct, or the key of an object, that holds the time."
    )
    reducer: Literal["min", "max", "mean"] | None = option(
        default=None, doc="Which time to take of several; without it, one element must be left."
    )

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """What cannot make a time of any datum; paths are relative to these options."""
        yield from self._zero_steps()
        shape: tuple[int, ...] | None = spec.shape
        if spec.kind is Kind.STRUCT:
            shape = None
            if complaint := self._field_complaint(spec):
                yield complaint
            else:
                shape = (*spec.shape, *spec.dtype[str(self.key)].shape)
        elif spec.kind is Kind.OBJECT:
            shape = None  # nothing is known of an object
        elif spec.kind not in _TIMES:
            hint = "times are numbers, datetime64, or such fields of structs and objects"
            yield Fault("$", f"{spec} holds no time", f"{hint}; leave out timestamp_options")
            return
        elif self.key is not None:
            yield Fault("$.key", f"{spec} has no keys, found {self.key!r}", "leave it out")
        if shape is not None:
            yield from self._shape_faults(shape)

    def _zero_steps(self) -> Iterator[Fault]:
        for index, written in enumerate(self.slices):
            if isinstance(written, tuple) and written[2] == 0:
                yield Fault(f"$.slices[{index}][2]", "a step of 0 leads nowhere", "write null")

    def _field_complaint(self, spec: DataSpec) -> Fault | None:
        fields = spec.dtype.names or ()
        times = [name for name in fields if _is_time(spec.dtype[name].base)]
        hint = f"fields that hold one: {', '.join(times)}" if times else "no field holds one"
        if self.key is None:
            return Fault("$.key", f"expected the field of {spec} that holds the time", hint)
        if self.key not in fields:
            message = f"{spec} has no field {self.key!r}"
            return Fault("$.key", message, did_you_mean(self.key, fields, times or fields))
        if self.key not in times:
            held = DataSpec(spec.dtype[self.key].base)
            message = f"the field {self.key!r} holds no time, but {held}"
            return Fault("$.key", message, hint)
        return None

    def _shape_faults(self, shape: tuple[int, ...]) -> Iterator[Fault]:
        if self.slices and len(self.slices) != len(shape):
            yield Fault(
                "$.slices",
                f"expected one for each of the dimensions {list(shape)}, found {len(self.slices)}",
                "write an index or [start, stop, step] for each, or none at all",
            )
            return
        left: list[int] = []
        for index, (length, written) in enumerate(zip(shape, self._written(shape), strict=True)):
            if isinstance(written, tuple):
                if length < 0 or written[2] == 0:
                    left.append(-1)
                else:
                    left.append(len(range(*slice(*written).indices(length))))
            elif length >= 0 and not -length <= written < length:
                message = f"{written} is no index of a dimension of {length}"
                yield Fault(f"$.slices[{index}]", message, f"write {-length} to {length - 1}")
        known = math.prod(length for length in left if length >= 0)
        if known == 0:
            yield Fault("$.slices", f"nothing is left of {list(shape)}", "take more of it")
        elif known > 1 and self.reducer is None:
            yield Fault(
                "$.reducer",
                f"{known} elements or more are left, expected one without a reducer",
                "write 'min', 'max' or 'mean', or slices that leave one",
            )

    def _written(self, shape: tuple[int, ...]) -> list[int | Slice]:
        return self.slices or [(None, None, None)] * len(shape)

    def timestamp(self, value: Data) -> int:
        """The time that a datum holds, in ms since the Unix epoch.

        Raises:
            DataError: it holds none, several, or one that Kafka does not have.
        """
        times = self._times(value)
        if times.dtype.kind == "M":
            milliseconds = int(unix_ms(self._reduce(times)))
        else:
            reduced = self._reduce(times)
            if isinstance(reduced, float) and not math.isfinite(reduced):
                raise TimestampError(f"{reduced} is no time")
            milliseconds = round(reduced)
        if not 0 < milliseconds <= _LATEST:
            raise TimestampError(
                f"{milliseconds} ms since 1970 is none that can be sent; 0 would become now"
            )
        return milliseconds

    def _times(self, value: Data) -> np.ndarray[Any, Any]:
        """All that is left of the datum when key and slices are taken, in one dimension."""
        if self.key is not None:
            keyed = isinstance(value, Mapping) or getattr(value, "dtype", np.dtype("i8")).names
            if not keyed:
                raise TimestampError(f"{type(value).__name__} has no keys")
            try:
                value = value[self.key]
            except (KeyError, ValueError, IndexError):
                raise TimestampError(f"there is no key {self.key!r}") from None
        try:
            array = np.asarray(value)
            if self.slices:
                if len(self.slices) != array.ndim:
                    raise TimestampError(f"{array.ndim} dimensions, {len(self.slices)} slices")
                array = np.asarray(array[tuple(map(_index, self.slices))])
        except (ValueError, TypeError, IndexError, OverflowError, RecursionError) as error:
            raise TimestampError(str(error)) from None
        if not _is_time(array.dtype):
            raise TimestampError(f"{array.dtype} is neither a number nor datetime64")
        return array.reshape(-1)

    def _reduce(self, times: np.ndarray[Any, Any]) -> Any:
        """The one time of many: a ``datetime64``, an ``int`` or a ``float``."""
        if self.reducer is None:
            if times.size != 1:
                raise TimestampError(f"{times.size} elements are left, and no reducer is given")
            return _plain(times[0])
        if times.dtype.kind in "fM":
            missing = np.isnat(times) if times.dtype.kind == "M" else np.isnan(times)
            times = times[~missing]
        if not times.size:
            raise TimestampError("nothing is left for the reducer")
        match self.reducer:
            case "min":
                return _plain(times.min())
            case "max":
                return _plain(times.max())
        if times.dtype.kind == "f":
            return float(times.mean(dtype="f8"))
        if times.dtype.kind == "M":
            numbers = times.astype("M8[ms]").astype("i8").tolist()
            return np.datetime64(sum(numbers) // len(numbers), "ms")
        return sum(times.tolist()) // times.size


def _is_time(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iufM"


def _index(written: int | Slice) -> int | slice:
    return slice(*written) if isinstance(written, tuple) else written


def _plain(time: Any) -> Any:
    return time if isinstance(time, np.datetime64) else time.item()
