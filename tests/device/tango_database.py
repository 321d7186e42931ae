"""A real Tango database in a process of its own."""

from __future__ import annotations

import subprocess
import sys

import tango

from queue_connector.device.prerequisites import database_complaint
from tests.services.process import free_port
from tests.support.waiting import eventually


class Database:
    """A Tango database of one's own, which may come late."""

    def __init__(self, directory):
        self._directory = directory
        self._port = free_port()
        self._process = None
        self.address = f"127.0.0.1:{self._port}"

    def start(self):
        command = [sys.executable, "-m", "tango.databaseds.database"]
        command += ["--host", "127.0.0.1", "--port", str(self._port), "2"]
        with (self._directory / "database.log").open("ab") as log:
            self._process = subprocess.Popen(command, cwd=self._directory, stdout=log, stderr=log)
        eventually(lambda: not database_complaint("127.0.0.1", self._port), 30.0)

    def register(self, server, device):
        found = tango.DbDevInfo()
        found.name, found._class, found.server = device, "SDPQueueConnector", server
        tango.Database("127.0.0.1", self._port).add_device(found)

    def put(self, device, **properties):
        tango.Database("127.0.0.1", self._port).put_device_property(device, properties)

    def stop(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
