"""Replay configured values as a source: for tests and demonstrations, no I/O."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator

import attrs
import trio

from ...model.conform import conform
from ...model.datatypes import Data, DataSpec
from ...model.endpoints import SourceDescriptor, sources
from ...model.errors import ConformError, Fault
from ...model.hooks import MAX_FAULTS
from ...model.ledger import Batch
from ...model.option import option
from ...model.services import Services
from ...model.stream import DataSource

SLICE = 1000
"""Values that are dealt with in one go, before others have their turn."""


@sources.register("InMemorySource")
@attrs.frozen(kw_only=True)
class InMemorySourceDescriptor(SourceDescriptor):
    """Sends a fixed list of values, then ends."""

    data: list[Data] = option(doc="Values to send, oldest first.")
    delay: float = option(default=0.0, ge=0.0, unit="s", doc="Wait before each value.")

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """Also values that do not fit; of many, the first `MAX_FAULTS`."""
        found = list(super().faults(spec))
        yield from found
        if not found:
            yield from itertools.islice(self._misfits(spec), MAX_FAULTS)

    def _misfits(self, spec: DataSpec) -> Iterator[Fault]:
        for index, value in enumerate(self.data):
            try:
                conform(value, spec, shorter=True)
            except ConformError as error:
                hint = "write values of the exchange's dtype and shape"
                reason = f"expected {error.expected}, found {error.found}: {error.reason}"
                yield Fault(f"$.data[{index}]", reason, hint)

    def build(self, spec: DataSpec, services: Services) -> InMemorySource:
        """The source, not started."""
        return InMemorySource(self, spec)


class InMemorySource(DataSource):
    """Runtime side of `InMemorySourceDescriptor`."""

    def __init__(self, descriptor: InMemorySourceDescriptor, spec: DataSpec) -> None:
        self._descriptor = descriptor
        self._spec = spec
        self._pending: deque[Data] = deque()

    async def start(self) -> None:
        """Check that every value fits; raises `ConformError` for the first that does not."""
        await trio.lowlevel.checkpoint()
        for index, value in enumerate(self._descriptor.data, 1):
            self._pending.append(conform(value, self._spec, shorter=True))
            if not index % SLICE:  # there may be so many that others would wait for long
                await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """Forget what was not sent yet: nobody has handed it over."""
        self._pending.clear()
        await trio.lowlevel.checkpoint()

    async def receive(self) -> Data:
        """The next value, after the delay."""
        if not self._pending:
            await trio.lowlevel.checkpoint()
            raise trio.EndOfChannel
        await trio.sleep(self._descriptor.delay)
        if not self._pending:  # stopped while it slept
            raise trio.EndOfChannel
        return self._pending.popleft()  # after the sleep: a cancelled wait loses nothing

    async def receive_batch(self) -> Batch:
        """Up to `SLICE` values at once when there is no delay between them."""
        values = [await self.receive()]
        if not self._descriptor.delay:
            values += [self._pending.popleft() for _ in range(min(SLICE - 1, len(self._pending)))]
        return Batch(values)
