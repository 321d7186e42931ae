"""A service in a process of its own: started, stopped, killed and frozen by the tests.

* start     `launch` and `wait_ready`; a service that dies or does not answer in time is a
  `ServiceFailed` that carries the tail of its log
* stop      SIGTERM, waited for; `kill` is SIGKILL; both leave the data for the next `start`
* freeze    SIGSTOP: the sockets stay open and nobody answers, until `thaw`
* orphans   each service has a watchdog that kills it when the tests' process is gone, by whatever
  means; only processes started here are ever signalled
"""

from __future__ import annotations

import abc
import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Self

from tests.support.waiting import eventually

LOOPBACK = "127.0.0.1"
_TAIL_LINES = 40
_handed_out: set[int] = set()


class ServiceUnavailable(RuntimeError):
    """The service cannot be had on this machine: a reason to skip, or to fail where CI is set."""


class ServiceFailed(RuntimeError):
    """The service is there and does not do what it should."""


class ServiceProcess(abc.ABC):
    """One service process with its data and its log in *directory*."""

    name: ClassVar[str]
    start_timeout: ClassVar[float] = 30.0
    stop_timeout: ClassVar[float] = 30.0

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.log_path = directory / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    @abc.abstractmethod
    def command(self) -> Sequence[str]:
        """Return the program and its arguments; it must be one process that does not fork."""

    @abc.abstractmethod
    def probe(self) -> bool:
        """Say whether the service answers its clients; may take up to about a second."""

    def environment(self) -> Mapping[str, str]:
        return dict(os.environ)

    def prepare(self) -> None:  # noqa: B027  (most services need nothing)
        """Make what must be there before each launch."""

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        return self._child().pid

    def start(self) -> None:
        """Launch and wait until clients are answered."""
        self.launch()
        self.wait_ready()

    def launch(self) -> None:
        """Start the process and return at once; members of a cluster wait for each other."""
        if self.running:
            raise ServiceFailed(f"{self.name} is running already")
        self._reap()
        self.directory.mkdir(parents=True, exist_ok=True)
        self.prepare()
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.directory,
                env=dict(self.environment()),
                start_new_session=True,
            )
        self._watchdog = subprocess.Popen(
            # Its stdin is a pipe that ends with this process.
            ["/bin/sh", "-c", f"read -r _; kill -KILL {self._process.pid}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def wait_ready(self, timeout: float | None = None) -> None:
        """Wait until clients are answered, for *timeout* seconds at most."""
        limit = self.start_timeout if timeout is None else timeout
        deadline = time.monotonic() + limit
        while not self.probe():
            if not self.running:
                raise ServiceFailed(
                    f"{self.name} ended while starting; its log:\n{self.log_tail()}"
                )
            if time.monotonic() > deadline:
                raise ServiceFailed(
                    f"{self.name} did not answer within {limit:g} s; its log:\n{self.log_tail()}"
                )
            time.sleep(0.02)

    def stop(self, timeout: float | None = None) -> None:
        """End it in order (SIGTERM); nothing happens when it is not running."""
        if not self.running:
            self._reap()
            return
        limit = self.stop_timeout if timeout is None else timeout
        process = self._child()
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)  # a frozen one would not see it
        try:
            process.wait(limit)
        except subprocess.TimeoutExpired:
            raise ServiceFailed(
                f"{self.name} did not end within {limit:g} s of SIGTERM, so it was killed; "
                f"its log:\n{self.log_tail()}"
            ) from None
        finally:
            self.kill()

    def kill(self) -> None:
        """End it at once (SIGKILL), frozen or not; nothing happens when it is not running."""
        if self._process is not None:
            self._process.kill()
        self._reap()

    def restart(self) -> None:
        """Stop in order and start again on the same ports with the same data."""
        self.stop()
        self.start()

    def freeze(self) -> None:
        """Suspend it (SIGSTOP); when this returns, it stands still."""
        freeze(self._child().pid)

    def thaw(self) -> None:
        """Let a frozen one go on; harmless when it is not frozen."""
        self._child().send_signal(signal.SIGCONT)

    def ensure_running(self) -> None:
        """Bring it back after a test that may have left it frozen, stopped or dead."""
        if self.running:
            self.thaw()
            self.wait_ready()
        else:
            self.start()

    def log_tail(self, lines: int = _TAIL_LINES) -> str:
        if not self.log_path.exists():
            return "(no log)"
        text = self.log_path.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.splitlines()[-lines:]) or "(empty)"

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()  # the data go too, so an orderly stop has nothing to save

    def _child(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            raise ServiceFailed(f"{self.name} was not started")
        return self._process

    def _reap(self) -> None:
        """Collect the ended process and dismiss its watchdog."""
        if self._process is not None:
            self._process.wait()
            self._process = None
        if self._watchdog is not None:
            self._watchdog.kill()
            self._watchdog.wait()
            assert self._watchdog.stdin is not None
            self._watchdog.stdin.close()
            self._watchdog = None


def freeze(pid: int) -> None:
    """Suspend a process (SIGSTOP); when this returns, each of its threads stands still."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: set(_states(pid)) <= set("TZX"))  # stopped, or it has ended


def _states(pid: int) -> Iterator[str]:
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):  # it has just ended
            yield (thread / "stat").read_text().rpartition(") ")[2][0]


def free_port() -> int:
    """Return a free loopback TCP port, another one at each call.

    It lies below the range from which the system gives ports to outgoing connections: a client
    that reconnects to a server that is down must neither take the server's port nor, by chance,
    connect to itself.
    """
    for _ in range(1000):
        port = random.randrange(20_000, _first_ephemeral_port())
        if port not in _handed_out and _can_bind(port):
            _handed_out.add(port)
            return port
    raise ServiceFailed("no free TCP port found on loopback")


def find_program(name: str, hint: str) -> str:
    """Return the path of program *name*, or raise `ServiceUnavailable` with *hint*."""
    path = shutil.which(name)
    if path is None:
        raise ServiceUnavailable(f"{name} is not installed ({hint})")
    return path


def _can_bind(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
    return True


def _first_ephemeral_port() -> int:
    try:
        first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError):
        first = 32_768
    return first if first > 21_000 else 32_768
