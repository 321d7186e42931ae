"""Write data to the log."""

from __future__ import annotations

import attrs
import trio

import queue_connector as qc


@qc.sinks.register("LogSink")
@attrs.frozen(kw_only=True)
class LogSinkDescriptor(qc.SinkDescriptor):
    """Logs each datum, at level INFO."""

    def build(self, spec: qc.DataSpec, services: qc.Services) -> LogSink:
        """The sink, not started."""
        return LogSink(services)


class LogSink(qc.DataSink):
    """Runtime side of `LogSinkDescriptor`."""

    def __init__(self, services: qc.Services) -> None:
        self._log = services.log
        self._exchange = services.exchange

    async def start(self) -> None:
        """Begin; nothing has to be acquired."""
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """End; nothing has to be released."""
        await trio.lowlevel.checkpoint()

    async def awrite(self, value: object) -> None:
        """Log one datum."""
        await trio.lowlevel.checkpoint()
        self._log.info("%s: %s", self._exchange, value)
