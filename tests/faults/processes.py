"""The connector, the Tango devices and the telescope, each in a process that can be hurt."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import tango

from tests.device.servers import DEVICE, ROOT
from tests.faults.records import Records
from tests.faults.telescope import READY
from tests.services.process import LOOPBACK, ServiceProcess, free_port

CONNECTOR = "test-sdp/queueconnector/01"


class TangoProcess(ServiceProcess):
    """A server of one device, without a database, at a port that stays over restarts."""

    device: ClassVar[str] = DEVICE

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.port = free_port()

    @property
    def address(self) -> str:
        return f"tango://{LOOPBACK}:{self.port}/{self.device}#dbase=no"

    def proxy(self, timeout: float = 10.0) -> Any:
        """A new proxy: one that knew a dead server waits before it connects anew."""
        proxy = tango.DeviceProxy(self.address)
        proxy.set_timeout_millis(int(timeout * 1000))
        return proxy

    def probe(self) -> bool:
        try:
            self.proxy(1.0).ping()
        except tango.DevFailed:
            return False
        return True

    def environment(self) -> Mapping[str, str]:
        return {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}


class ConnectorProcess(TangoProcess):
    """``queue-connector serve``: a configuration from a file, or *arguments* in its place."""

    name: ClassVar[str] = "connector"
    device: ClassVar[str] = CONNECTOR

    def __init__(
        self,
        directory: Path,
        configuration: Any,
        *,
        arguments: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(directory)
        self.configuration = configuration
        self._arguments = arguments
        self.variables = dict(environment or {})

    def prepare(self) -> None:
        (self.directory / "config.json").write_text(json.dumps(self.configuration))

    def command(self) -> Sequence[str]:
        what = self._arguments or [str(self.directory / "config.json")]
        where = ["--device", self.device, "--port", str(self.port)]
        return [sys.executable, "-m", "queue_connector", "serve", *what, *where]

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), **self.variables}

    def statistics(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.proxy().statistics)
        return found

    def groups(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.proxy().groups)
        return found

    def states(self) -> dict[str, str]:
        return {name: group["state"] for name, group in self.groups().items()}


class SourceProcess(TangoProcess):
    """`tests.faults.source`; *type* is what its attribute ``number`` is of at the next launch."""

    name: ClassVar[str] = "source"
    type = "DevLong64"

    def command(self) -> Sequence[str]:
        module = "tests.faults.source"
        return [sys.executable, "-m", module, str(self.port), str(self.file), self.type]

    @property
    def file(self) -> Path:
        return self.directory / "pushed"


class TargetProcess(TangoProcess):
    """`tests.faults.target`."""

    name: ClassVar[str] = "target"

    def command(self) -> Sequence[str]:
        return [sys.executable, "-m", "tests.faults.target", str(self.port), str(self.file)]

    @property
    def file(self) -> Path:
        return self.directory / "written"


class TelescopeProcess(ServiceProcess):
    """`tests.faults.telescope`, subscribed to *attributes* of the device at *address*."""

    name: ClassVar[str] = "telescope"

    module: ClassVar[str] = "tests.faults.telescope"

    def __init__(
        self, directory: Path, address: str, attributes: Sequence[str], pondering: float = 0.0
    ) -> None:
        super().__init__(directory)
        self.file = directory / "seen"
        self._address = address
        self._attributes = attributes
        self._pondering = pondering

    def command(self) -> Sequence[str]:
        client = [sys.executable, "-m", self.module, str(self.file)]
        return [*client, self._address, *self._attributes]

    def environment(self) -> Mapping[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "CALLBACK_SECONDS": str(self._pondering),
        }

    def prepare(self) -> None:
        self._records = Records(self.file)
        for _ in self._records.read():  # of an earlier life
            pass

    def probe(self) -> bool:
        return any(record.name == READY for record in self._records.read())


class WatcherProcess(TelescopeProcess):
    """`tests.faults.watcher`, which asks the device at *address*."""

    name: ClassVar[str] = "watcher"
    module: ClassVar[str] = "tests.faults.watcher"
