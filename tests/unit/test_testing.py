"""What the test kit offers to authors of connectors holds for what they are told to write."""

import time

import pytest
import trio

import queue_connector as qc
from queue_connector.testing import SourceContract, run_on_virtual_clock


class Lines(qc.DataSource):
    """The lines of a file that grows, read in a thread, as a client library that blocks would."""

    def __init__(self, path):
        self._path = path
        self._worker = qc.Worker()
        self._read = 0
        self._finished = False

    async def start(self):
        await trio.lowlevel.checkpoint()

    async def stop(self):
        self._finished = True
        await trio.lowlevel.checkpoint()

    def _fresh(self):
        time.sleep(0.02)  # a slow disk
        return self._path.read_text().splitlines()[self._read :]

    async def receive(self):
        while not self._finished:
            if lines := await self._worker.run(self._fresh):
                self._read += 1
                return lines[0]
            await trio.sleep(0.1)
        raise trio.EndOfChannel


class TestASourceWithAWorker(SourceContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self._path = tmp_path / "lines.txt"
        self._path.write_text("one\ntwo\nthree\n")

    def source(self):
        return Lines(self._path)


def test_a_thread_takes_real_time_and_a_sleep_none():
    async def scenario():
        begun = trio.current_time()
        with trio.fail_after(3):
            await qc.Worker().run(time.sleep, 0.05)
        worked = trio.current_time() - begun
        await trio.sleep(3600)
        return worked, trio.current_time() - begun

    begun = time.monotonic()
    worked, passed = run_on_virtual_clock(scenario)
    assert 0.04 < worked < 3
    assert passed > 3600
    assert time.monotonic() - begun < 60
