"""Programs of this package as processes: started under conditions, signalled, and waited for."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from tests.device.servers import fork
from tests.support.forking import Forked

TOOL = "import sys; from queue_connector.entry import tool; sys.exit(tool())"
SERVER = "import sys; from queue_connector.entry import server; sys.exit(server())"
HELD = {signal.SIGINT, signal.SIGTERM}


def _may_make_namespaces() -> bool:
    if os.getuid() != 0 or not shutil.which("unshare") or not shutil.which("setpriv"):
        return False
    tried = subprocess.run(
        ["unshare", "--mount", "--net", "--pid", "--fork", "true"], capture_output=True, check=False
    )
    return tried.returncode == 0


needs_root = pytest.mark.skipif(
    not _may_make_namespaces(), reason="makes namespaces and users, which only root may"
)

STRANGER = "123456"
"""A user whom no passwd entry knows."""


def as_stranger(uid: str = STRANGER) -> list[str]:
    """Run what follows as a user without a name, who may read everything and write nothing."""
    capability = "-all,+dac_read_search"
    return [
        *("setpriv", f"--reuid={uid}", "--regid=0", "--clear-groups"),
        *(f"--inh-caps={capability}", f"--ambient-caps={capability}"),
        f"--bounding-set={capability}",
    ]


def holds_signals(thread: Path) -> bool:
    wanted = sum(1 << number - 1 for number in HELD)
    blocked = int((thread / "status").read_text().split("SigBlk:")[1].split()[0], 16)
    return blocked & wanted == wanted


class Process:
    """One of them; what it writes goes to a file each.

    With *imported* it is the tool, forked from a process that has imported all of it: there soon,
    by itself (*under* nothing), and with its own stderr.
    """

    def __init__(
        self,
        directory: Path,
        *arguments: str,
        program: str = TOOL,
        under: Sequence[str] = (),
        env: dict[str, str] | None = None,
        stdout: IO[Any] | int | None = None,
        stderr: IO[Any] | int | None = None,
        imported: bool = False,
    ) -> None:
        self._process: Forked | subprocess.Popen[bytes]
        self._out, self._err = directory / "stdout", directory / "stderr"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            if imported:
                self._process = fork(
                    "queue_connector",
                    *arguments,
                    cwd=directory,
                    env=env,
                    stdout=out if stdout is None else stdout,
                    stderr=err,
                )
                return
            self._process = subprocess.Popen(
                [*under, sys.executable, "-c", program, *arguments],
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=out if stdout is None else stdout,
                stderr=err if stderr is None else stderr,
                env={**os.environ, **(env or {})},
            )

    @property
    def pid(self) -> int:
        """Of Python, below whatever it runs under."""
        return self.until(self._find)

    def _find(self) -> int:
        me = psutil.Process(self._process.pid)
        family = [me, *me.children(recursive=True)]
        return next((one.pid for one in family if one.cmdline()[:1] == [sys.executable]), 0)

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    def until(self, condition: Any, seconds: float = 30.0) -> Any:
        end = time.monotonic() + seconds
        while not (value := condition()):
            assert self._process.poll() is None, f"ended: {self.out}{self.err}"
            assert time.monotonic() < end, f"still {value!r}: {self.out}{self.err}"
            time.sleep(0.002)
        return value

    def until_it_holds_signals(self) -> None:
        """Its first line has run: before it nothing of ours can heed anything."""
        self.until(lambda: holds_signals(Path(f"/proc/{self.pid}")))

    def threads_that_hold_signals(self) -> list[bool]:
        return [holds_signals(task) for task in Path(f"/proc/{self.pid}/task").iterdir()]

    def address(self) -> str:
        """The Tango name that it prints once it is up."""
        self.until(lambda: "tango://" in self.out and "#dbase=no\n" in self.out)
        return self.out.split("\n")[0]

    def signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def ends(self, seconds: float = 20.0) -> int:
        """Wait for the end; the exit status."""
        return self._process.wait(seconds)

    def kill(self) -> None:
        if self._process.poll() is None:
            for child in psutil.Process(self._process.pid).children(recursive=True):
                child.kill()
            self._process.kill()
            self._process.wait()


@contextmanager
def process(directory: Path, *arguments: str, **conditions: Any) -> Iterator[Process]:
    running = Process(directory, *arguments, **conditions)
    try:
        yield running
    finally:
        running.kill()
