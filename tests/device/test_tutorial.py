"""The first lesson, done as it is written, on a laptop without any service."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from queue_connector.demo.embedded_broker import embedded_broker
from tests.services.process import free_port
from tests.support.lessons import Step, shape, steps
from tests.support.waiting import eventually

NOT_DONE = ("make demo", "embedded_broker")
"""Commands that another test does, or that has been done when the lesson begins."""

STAYS = (" serve ", "watch.py", " tap ")
"""Commands that go on until they are told to end, or have seen what they wait for."""

SHOWN_BY = {
    "^(state|temperature): ": "watch.py",
    "Ready to accept request": " serve ",
    " 8 B ": " tap ",
}
"""What an output looks like, and the command in whose terminal it stands: else of the last one."""

NOT_COMPARED = ("bootstrap_servers", "Streaming after", "All counts agree", "2 faults")
"""Words of outputs of what is not done."""


class Learner:
    """Somebody who does the lesson in some terminals."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self._port = port
        self._terminals: list[tuple[str, subprocess.Popen[bytes]]] = []
        self.printed = ""
        """By the latest command that has ended."""
        (directory / ".venv").symlink_to(sys.prefix)

    def do(self, commands: str) -> None:
        """Do what a block says: one command after the other."""
        for line in commands.splitlines():
            if any(each in line for each in STAYS):
                self._begin(line)
            else:
                done = subprocess.run(
                    ["bash", "-c", line], cwd=self._directory, capture_output=True, timeout=60
                )
                self.printed += done.stdout.decode() + done.stderr.decode()

    def _begin(self, line: str) -> None:
        if " serve " in line:
            self._end_those(" serve ")
        output = self._output(len(self._terminals))
        with output.open("wb") as out:
            running = subprocess.Popen(
                ["bash", "-c", f"exec {line}"],
                cwd=self._directory,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
            )
        self._terminals.append((line, running))
        if " serve " in line:
            eventually(lambda: "OPEN -> ON" in output.read_text(), 30, output.read_text)
        elif " tap " in line:
            process = psutil.Process(running.pid)
            eventually(lambda: self._connected(process), 30)
            time.sleep(0.5)  # it asks as soon as it is connected, and nobody can see that

    def _connected(self, process: psutil.Process) -> bool:
        peers = [each.raddr for each in process.net_connections() if each.raddr]
        return any(peer.port == self._port for peer in peers)

    def _output(self, number: int) -> Path:
        return self._directory / f"terminal-{number}"

    def shown(self, command: str) -> str:
        """What stands in the terminal in which this was done last."""
        lines = [line for line, _ in self._terminals]
        number = max(n for n, line in enumerate(lines) if command in line)
        return self._output(number).read_text()

    def _end_those(self, command: str) -> None:
        for line, running in self._terminals:
            if command in line and running.poll() is None:
                running.send_signal(signal.SIGINT)
                running.wait(30)

    def leave(self) -> None:
        """End what still runs."""
        for _, running in self._terminals:
            if running.poll() is None:
                running.kill()
                running.wait()


@pytest.fixture
def learner(tmp_path):
    port = free_port()
    someone = Learner(tmp_path, port)
    yield someone, port
    someone.leave()


def expect(step: Step, learner: Learner) -> None:
    """What a lesson shows has been printed, but for numbers and for lines that it cuts short."""
    wanted = {line for line in shape(step.text) if "…" not in line}
    command = next((by for words, by in SHOWN_BY.items() if re.search(words, step.text)), None)

    def shown() -> list[str]:
        return shape(learner.printed if command is None else learner.shown(command))

    eventually(lambda: wanted <= set(shown()), 20, lambda: f"expected {wanted}: {shown()}")


def test_the_first_lesson(learner, tmp_path):
    someone, port = learner
    compared = 0
    with embedded_broker(["temperatures"]) as servers:
        for step in steps("first-stream.md", broker=servers, device=f"127.0.0.1:{port}"):
            if step.name is not None:
                (tmp_path / step.name).write_text(step.text)
            elif step.kind == "bash" and not any(each in step.text for each in NOT_DONE):
                someone.printed = ""
                someone.do(step.text)
            elif '"on_error"' in step.text:
                file = tmp_path / "weather.json"
                beside = f'{step.text.strip()},\n"sink": {{'
                file.write_text(file.read_text().replace('"sink": {', beside))
            elif step.kind == "text" and not any(each in step.text for each in NOT_COMPARED):
                expect(step, someone)
                compared += 1
    assert compared == 9
