"""The broker's disk is full: a small file system of its own, which only root may mount."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.conftest import unavailable
from tests.faults.guarantees import endure
from tests.faults.rig import Rig, eventually
from tests.services.kafka import KafkaServer
from tests.services.process import ServiceUnavailable

SIZE = 96 * 2**20
UNTOUCHED = ("tango_to_local", "tango_to_remote")


@pytest.fixture
def small() -> Iterator[KafkaServer]:
    """A broker whose data are on a small file system."""
    with tempfile.TemporaryDirectory(prefix="kafka-small-") as directory:
        data = Path(directory) / "data"
        data.mkdir()
        mount = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(data)]
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            unavailable(ServiceUnavailable(f"no tmpfs can be mounted: {done.stderr.strip()}"))
        try:
            with KafkaServer(Path(directory)) as server:
                yield server
        finally:
            subprocess.run(["umount", str(data)], check=True)


def fill(path: Path) -> None:
    """Take all the room that there is."""
    with path.open("ab", buffering=0) as file:
        for size in (2**20, 4096, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                pass


def test_disk_full(small, publish):
    with Rig(small.bootstrap_servers) as rig:
        filler = small.directory / "data" / "filler"

        def hurt() -> None:
            fill(filler)
            begin = time.time()
            eventually(lambda: not small.running or small.log_tail().count("No space"), "no harm")
            rig.await_flow(begin, [route for route in rig.routes if route.name in UNTOUCHED])
            small.kill()
            os.unlink(filler)
            small.start()

        publish(endure(rig, "disk full at the broker", hurt))
