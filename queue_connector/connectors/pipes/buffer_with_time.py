"""Collect what arrives within a span of time, and hand it on as one array.

* window    begins when the pipe takes the first datum, and is open for ``timespan`` seconds, the
            end not included; empty windows emit nothing. With 0 it is what is there at once
* output    one array per window, oldest datum first: a new leading dynamic dimension
* end       the stream's end, or its stop, closes the window: what was collected is emitted
* limit     a window that takes up `MAX_BYTES` closes early, and a new one begins: nothing is
            dropped. What a source hands over together goes into one window, so one such batch may
            come on top
* errors    `StackError` for a window whose data have different lengths, or are texts of so
            different lengths that their array would take more than `MAX_TEXT_BYTES`
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import trio

from ...model.datatypes import MAX_DIMENSIONS, Data, DataSpec, Kind
from ...model.endpoints import PipeDescriptor, pipes
from ...model.errors import DataError, Fault
from ...model.ledger import Batch
from ...model.option import option
from ...model.stream import DataPipe, Upstream

MAX_BYTES = 64 * 2**20
"""Memory that the data of an open window may take up: some 360,000 pointings."""

MAX_TEXT_BYTES = 4 * MAX_BYTES
"""The largest array of texts: numpy gives each the room of the longest, 4 B per character."""

_OVERHEAD = 128  # B of one Python object and the reference to it


@attrs.define(eq=False, slots=False)
class StackError(DataError):
    """The data of one window do not make an array."""

    count: int
    spec: DataSpec
    reason: str

    def __str__(self) -> str:
        return (
            f"a window of {self.count} data of {self.spec} does not make one array: {self.reason}; "
            "send data of equal lengths, or leave out the pipe"
        )


@pipes.register("BufferWithTimePipe")
@attrs.frozen(kw_only=True)
class BufferWithTimePipeDescriptor(PipeDescriptor):
    """Makes one array of all that arrives within a span of time."""

    timespan: float = option(
        default=0.0,
        ge=0.0,
        unit="s",
        doc="How long data are collected, from the first one on; 0 takes what is there at once.",
    )

    def output(self, spec: DataSpec) -> DataSpec:
        """The same dtype with a leading dynamic dimension."""
        return attrs.evolve(spec, shape=(-1, *spec.shape))

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """What does not stack: kinds without arrays, and data that have a dynamic dimension."""
        yield from super().faults(spec)
        name = "BufferWithTimePipe"
        if spec.kind in (Kind.BYTES, Kind.OBJECT):
            yield Fault(
                "$",
                f"{name} makes arrays, and there are none of {spec.kind.value}",
                "leave out the pipe, or give the exchange another dtype",
            )
        if spec.dynamic:
            yield Fault(
                "$",
                f"{name} adds a dynamic dimension, and {spec} has one already",
                "write lengths in the shape of the exchange",
            )
        if len(spec.shape) >= MAX_DIMENSIONS:
            yield Fault(
                "$",
                f"{name} adds a dimension, and {spec} has {len(spec.shape)} already",
                "write a shape with fewer",
            )

    def build(self, spec: DataSpec) -> BufferWithTimePipe:
        """The pipe."""
        return BufferWithTimePipe(self, spec)


class BufferWithTimePipe(DataPipe):
    """Runtime side of `BufferWithTimePipeDescriptor`."""

    def __init__(self, descriptor: BufferWithTimePipeDescriptor, spec: DataSpec) -> None:
        super().__init__(spec)
        self._timespan = descriptor.timespan

    @property
    def output_shape(self) -> list[int]:
        """The input's, with a leading dynamic dimension."""
        return [-1, *self._input.shape]

    async def transform(self, upstream: Upstream) -> Batch:
        """The next window, as a batch of one array."""
        window = _Window(self._input)
        window.add(await upstream.receive())
        try:
            if self._timespan:
                # Cancelled while it waits, `receive` has taken nothing.
                with trio.move_on_after(self._timespan):
                    while not window.full:
                        window.add(await upstream.receive())
            else:
                while not window.full:
                    window.add(upstream.receive_nowait())
        except (trio.WouldBlock, trio.EndOfChannel):
            pass  # the next window is told of the end
        return Batch([window.stack()], weights=[window.count])


class _Window:
    """What was collected, and what it takes up."""

    def __init__(self, spec: DataSpec) -> None:
        self.count = 0
        self._spec = spec
        self._values: list[Data] = []
        self._size = 0

    @property
    def full(self) -> bool:
        """Whether nothing more should be added."""
        return self._size >= MAX_BYTES

    def add(self, batch: Batch) -> None:
        self.count += batch.count
        self._values.extend(batch.values)
        self._size += sum(map(_size, batch.values))

    def stack(self) -> np.ndarray[Any, Any]:
        """One array.

        Raises:
            StackError: there is none.
        """
        dtype, values = self._spec.dtype, self._values
        try:
            if self._spec.kind is Kind.STR:
                _check_texts(values, dtype)
                return np.stack(values) if self._spec.shape else np.array(values, dtype)
            if self._spec.shape:
                return np.stack(values, dtype=dtype, casting="equiv")
            return np.array(values, dtype)
        except (ValueError, TypeError, OverflowError) as error:
            raise StackError(len(values), self._spec, str(error)) from error


def _size(value: Data) -> int:
    size = 4 * len(value) if isinstance(value, str) else getattr(value, "nbytes", 0)
    return int(size) + _OVERHEAD


def _check_texts(values: Sequence[Data], dtype: np.dtype[Any]) -> None:
    """Raise `ValueError` for texts that an array would cut or blow up."""
    longest = total = 0
    for value in values:
        if isinstance(value, str):
            if value.endswith("\0"):
                raise ValueError("numpy would strip the NUL at the end of a text")
            longest, total = max(longest, len(value)), total + 1
        else:
            longest, total = max(longest, value.dtype.itemsize // 4), total + value.size
    room = (dtype.itemsize or 4 * longest) * total
    if room > MAX_TEXT_BYTES:
        raise ValueError(f"the longest text has {longest} characters, {room} B for {total} texts")
