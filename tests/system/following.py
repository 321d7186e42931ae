"""The real device, in a process of its own, as it follows a real etcd."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.device.connector import DEVICE, Connector
from tests.device.servers import ROOT
from tests.services.etcd import EtcdServer


def variables(etcd: EtcdServer) -> dict[str, str]:
    """What names the database in the environment."""
    return {
        "SDP_CONFIG_BACKEND": "etcd3",
        "SDP_CONFIG_HOST": etcd.host,
        "SDP_CONFIG_PORT": str(etcd.port),
    }


class Follower(Connector):
    """``queue-connector serve`` with these options, which say what is followed."""

    def __init__(
        self,
        directory: Path,
        etcd: EtcdServer,
        *options: str,
        device: str = DEVICE,
        **environment: str,
    ) -> None:
        self._following = options
        self._environment = {**variables(etcd), **environment}
        super().__init__(directory, {}, device)

    def start(self) -> None:
        command = [sys.executable, "-m", self._module, "serve", *self._following]
        with self._log.open("a") as log:
            self._process = subprocess.Popen(
                [*command, "--device", self._device, "--port", str(self.port), "-v"],
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **self._environment},
            )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("tango://"):
                self.port = int(line.split(":")[2].split("/")[0])
                return
        raise RuntimeError(f"it ended with {self._end()}:\n{self.log()}")

    def monitoring(self) -> bool:
        return bool(self.proxy().IsMonitoringDB())
