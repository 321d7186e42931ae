"""The broker's disk is full: a small file system of its own, which only root may mount.

It is mounted in a mount namespace that only a holder process and the broker are in, so that it goes
away with them, whatever becomes of the tests.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

import pytest

from tests.faults.guarantees import endure
from tests.faults.rig import Rig, eventually
from tests.services.fixtures import unavailable
from tests.services.kafka import KafkaServer
from tests.services.process import (
    ServiceFailed,
    ServiceProcess,
    ServiceUnavailable,
    find_program,
)

SIZE = 96 * 2**20
UNTOUCHED = ("tango_to_local", "tango_to_remote")


class SmallDisk(ServiceProcess):
    """Holds a small file system at *place*, which others see at *seen*."""

    name: ClassVar[str] = "disk"

    def __init__(self, directory: Path, place: Path) -> None:
        super().__init__(directory)
        self._place = place

    def command(self) -> Sequence[str]:
        mount = f"mount -t tmpfs -o size={SIZE} tmpfs '{self._place}' && exec sleep infinity"
        unshare = find_program("unshare", "of util-linux")
        return [unshare, "--mount", "--propagation", "private", "/bin/sh", "-c", mount]

    def probe(self) -> bool:
        return os.path.ismount(self.seen)

    @property
    def seen(self) -> Path:
        return Path(f"/proc/{self.pid}/root{self._place}")


class SmallKafka(KafkaServer):
    """A broker whose data are on a small disk."""

    def __init__(self, directory: Path, disk: SmallDisk) -> None:
        super().__init__(directory)
        self.disk = disk
        self._formatted = False

    def prepare(self) -> None:
        if not self._formatted:  # its data cannot be seen from here
            super().prepare()
            self._formatted = True

    def _java_command(self, main_class: str) -> list[str]:
        enter = [find_program("nsenter", "of util-linux"), f"--mount=/proc/{self.disk.pid}/ns/mnt"]
        return [*enter, *super()._java_command(main_class)]


@pytest.fixture
def small() -> Iterator[SmallKafka]:
    with tempfile.TemporaryDirectory(prefix="kafka-small-") as directory:
        data = Path(directory) / "data"
        data.mkdir()
        disk = SmallDisk(Path(directory) / "disk", data)
        try:
            disk.start()
            server = SmallKafka(Path(directory), disk)
        except (ServiceFailed, ServiceUnavailable) as error:
            disk.kill()
            unavailable(ServiceUnavailable(f"there can be no broker with a small disk: {error}"))
        try:
            with server:
                yield server
        finally:
            disk.kill()


def fill(path: Path) -> None:
    """Take all the room that there is."""
    with path.open("ab", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue  # no room for so many bytes


def test_disk_full(small, publish):
    with Rig(small.bootstrap_servers) as rig:

        def hurt() -> None:
            filler = small.disk.seen / "filler"
            fill(filler)
            begin = time.time()
            eventually(lambda: not small.running or "No space" in small.log_tail(), "no harm")
            rig.await_flow(begin, [route for route in rig.routes if route.name in UNTOUCHED])
            small.kill()
            filler.unlink()
            small.start()

        publish(endure(rig, "disk full at the broker", hurt))
