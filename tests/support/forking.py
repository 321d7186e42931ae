"""Programs as processes of their own, forked from one that has imported what they import first.

``python -m MODULE`` spends most of its start on imports: a second of a processor for the connector.
`Template` spends it once. What is forked from it runs ``MODULE`` as ``__main__``, in its own
process with its own signals, descriptors and environment, and ends as any program ends. What the
imports themselves do is told by the tests that start programs afresh, see `tests.device.processes`.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

LIMIT = 1 << 20
"""Bytes of an order; the environment is the most of it."""


class Forked:
    """A process, with what of `subprocess.Popen` the tests use."""

    def __init__(self, pid: int, status: int, stdout: IO[str] | None) -> None:
        self.pid = pid
        self.stdout = stdout
        self._status = os.fdopen(status)
        self._code: int | None = None

    def poll(self) -> int | None:
        """The exit status once it has ended, negative for a signal."""
        return self._code if self._ended(0) else None

    def wait(self, timeout: float | None = None) -> int:
        if not self._ended(timeout):
            raise subprocess.TimeoutExpired(f"process {self.pid}", timeout or 0.0)
        assert self._code is not None
        return self._code

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _ended(self, timeout: float | None) -> bool:
        if self._code is None and select.select([self._status], [], [], timeout)[0]:
            with self._status:
                self._code = int(self._status.read())  # empty: the template has ended, an error
        return self._code is not None


class Template:
    """The process that others are forked from."""

    def __init__(self, imports: Sequence[str], cwd: Path) -> None:
        self._cwd = cwd
        self._orders, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", __name__, str(theirs.fileno()), *imports],
                cwd=cwd,
                pass_fds=[theirs.fileno()],
            )

    def start(
        self,
        module: str,
        *arguments: str,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
        stdout: IO[Any] | None = None,
        stderr: IO[Any] | None = None,
    ) -> Forked:
        """Run ``python -m MODULE ARGUMENTS``; unless *stdout* is given, text comes by a pipe."""
        order = {
            "argv": [module, *arguments],
            "cwd": str(cwd or self._cwd),
            "environment": {**os.environ, **(env or {})},
        }
        error = stderr or sys.__stderr__
        assert error is not None
        status, their_status = os.pipe()
        out, their_out = (None, os.dup(stdout.fileno())) if stdout else os.pipe()
        try:
            descriptors = [their_status, their_out, error.fileno()]
            socket.send_fds(self._orders, [json.dumps(order).encode()], descriptors)
        finally:
            os.close(their_out)
            os.close(their_status)
        pid = int(self._orders.recv(LIMIT))
        return Forked(pid, status, None if out is None else os.fdopen(out))

    def close(self) -> None:
        """End the template; what has been forked from it lives on, and nobody waits for it."""
        self._orders.close()
        self._process.wait()


def _serve(orders: socket.socket) -> list[str]:
    """Fork for each order until the last; in each process that was forked, what it shall run."""
    waiting: dict[int, tuple[int, int]] = {}
    while True:
        for ready in select.select([orders, *waiting], [], [])[0]:
            if ready is orders:
                order, descriptors, *_ = socket.recv_fds(orders, LIMIT, 3)
                if not order:
                    sys.exit()
                status, *streams = descriptors
                pid = os.fork()
                if not pid:
                    return _become(json.loads(order), *streams)
                for stream in streams:
                    os.close(stream)
                waiting[os.pidfd_open(pid)] = pid, status
                orders.send(str(pid).encode())
            else:
                pid, status = waiting.pop(ready)
                os.close(ready)
                code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                os.write(status, str(code).encode())
                os.close(status)


def _become(order: dict[str, object], out: int, error: int) -> list[str]:
    os.dup2(out, 1)
    os.dup2(error, 2)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    # Those of the template know where they led to.
    sys.stdout = sys.__stdout__ = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", 1, errors="backslashreplace", closefd=False)
    sys.__stderr__ = sys.stderr
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["cwd"])
    signal.signal(signal.SIGINT, _interrupt)
    return order["argv"]


if __name__ == "__main__":
    # As the connector does before its imports, see `queue_connector.entry`.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # What Ctrl-C tells all is for those that were forked; this one ends when the tests do.
    _interrupt = signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in sys.argv[2:]:
        importlib.import_module(name)
    sys.argv = _serve(socket.socket(fileno=int(sys.argv[1])))
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
