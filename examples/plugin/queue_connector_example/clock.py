"""Tell the time at regular intervals."""

from __future__ import annotations

import time
from typing import Any

import attrs
import numpy as np
import trio

import queue_connector as qc


@qc.sources.register("ClockSource")
@attrs.frozen(kw_only=True)
class ClockSourceDescriptor(qc.SourceDescriptor):
    """Sends the Unix time, in seconds."""

    kinds = frozenset({qc.Kind.FLOAT})
    max_dimensions = 0

    period: float = qc.option(default=1.0, gt=0.0, unit="s", doc="Time between two data.")

    def build(self, spec: qc.DataSpec, services: qc.Services) -> ClockSource:
        """The source, not started."""
        return ClockSource(self, spec)


class ClockSource(qc.DataSource):
    """Runtime side of `ClockSourceDescriptor`."""

    def __init__(self, descriptor: ClockSourceDescriptor, spec: qc.DataSpec) -> None:
        self._period = descriptor.period
        self._type = spec.dtype.type
        self._stopped = False

    async def start(self) -> None:
        """Begin; nothing has to be acquired."""
        self._stopped = False
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """End; nothing has to be released."""
        self._stopped = True
        await trio.lowlevel.checkpoint()

    async def receive(self) -> np.floating[Any]:
        """The time, when the next period is over."""
        if self._stopped:
            await trio.lowlevel.checkpoint()
            raise trio.EndOfChannel
        await trio.sleep(self._period)
        return np.float64(time.time()).astype(self._type)
