"""A command in a terminal emulator of its own, and what stands on its screen."""

from __future__ import annotations

import contextlib
import copy
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyte

ROOT = Path(__file__).resolve().parents[2]


class Screen(pyte.Screen):
    """With what pyte lacks: the alternate screen, after which stands again what stood before."""

    ALTERNATE = 1049

    def set_mode(self, *modes: int, **options: Any) -> None:
        super().set_mode(*modes, **options)
        if self.ALTERNATE in modes:
            self._before = copy.deepcopy(self.buffer), copy.copy(self.cursor)
            self.erase_in_display(2)

    def reset_mode(self, *modes: int, **options: Any) -> None:
        super().reset_mode(*modes, **options)
        if self.ALTERNATE in modes:
            self.buffer, self.cursor = self._before
            self.dirty.update(range(self.lines))


def _ours() -> dict[str, str]:
    """Our environment without the size of our terminal, which goes before that of another."""
    return {key: text for key, text in os.environ.items() if key not in ("COLUMNS", "LINES")}


class Terminal:
    """*command* on a terminal of *rows* and *columns*, with its session and Ctrl-C."""

    def __init__(
        self,
        command: Sequence[str],
        rows: int,
        columns: int,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.screen = Screen(columns, rows)
        self._stream = pyte.ByteStream(self.screen)
        self._lock = threading.Lock()
        self._master, ends = pty.openpty()
        fcntl.ioctl(ends, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self._process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**(environment or _ours()), "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
            stdin=ends,
            stdout=ends,
            stderr=ends,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(ends)
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        with contextlib.suppress(OSError):  # the other end was closed
            while data := os.read(self._master, 65536):
                with self._lock:
                    self._stream.feed(data)

    @contextlib.contextmanager
    def still(self) -> Iterator[pyte.Screen]:
        """The screen, on which nothing is written meanwhile."""
        with self._lock:
            yield self.screen

    def press(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def lines(self) -> list[str]:
        with self.still() as screen:
            return [line.rstrip() for line in screen.display]

    def kill(self) -> None:
        """All that runs in it, unless it has ended."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self.end()

    def end(self) -> int:
        """The exit status."""
        status = self._process.wait(20)
        self._reader.join(10)
        os.close(self._master)
        return status
