"""Keep what arrives in memory, readable by a key: for tests and trials, no I/O."""

from __future__ import annotations

from typing import ClassVar

import attrs
import trio

from ...model.conform import conform
from ...model.datatypes import Data, DataSpec
from ...model.endpoints import SinkDescriptor, sinks
from ...model.option import option
from ...model.services import Services
from ...model.stream import DataSink


@sinks.register("InMemorySink")
@attrs.frozen(kw_only=True)
class InMemorySinkDescriptor(SinkDescriptor):
    """Keeps every value in this process's memory, without limit: not for production."""

    key: str = option(doc="The name that the values can be read by.")

    def build(self, spec: DataSpec, services: Services) -> InMemorySink:
        """The sink, not started."""
        return InMemorySink(self, spec)


class InMemorySink(DataSink):
    """Runtime side of `InMemorySinkDescriptor`."""

    _kept: ClassVar[dict[str, list[Data]]] = {}

    def __init__(self, descriptor: InMemorySinkDescriptor, spec: DataSpec) -> None:
        self._key = descriptor.key
        self._spec = spec

    @classmethod
    def data(cls, key: str) -> list[Data]:
        """What was kept under *key* so far, oldest first; the list itself, so that it can be
        emptied.
        """
        return cls._kept.setdefault(key, [])

    async def start(self) -> None:
        """Make the key readable; what an earlier sink left under it stays."""
        self.data(self._key)
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """What was kept stays readable."""
        await trio.lowlevel.checkpoint()

    async def awrite(self, value: Data) -> None:
        """Keep one value; raises `ConformError` when it does not fit."""
        await trio.lowlevel.checkpoint()
        self.data(self._key).append(conform(value, self._spec))
