"""The programs that take part, as processes that are spoken to, and what they cost."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs
import psutil
import tango

from tests.device.servers import ROOT
from tests.services.process import LOOPBACK, free_port

DEVICE = "test-sdp/queueconnector/01"
_ROLES = "benchmarks.blackbox.roles"
_ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "PYTHONUNBUFFERED": "1",
    # Otherwise Tango drops what a burst brings beyond a thousand events, wherever it comes from.
    "TANGO_DS_EVENT_BUFFER_HWM": "100000",
    "TANGO_EVENT_BUFFER_HWM": "100000",
}


class Role:
    """``python -m benchmarks.blackbox.roles.NAME ARGUMENTS``, which answers in lines of JSON."""

    def __init__(self, name: str, *arguments: object) -> None:
        self._name = name
        self._process = subprocess.Popen(
            [sys.executable, "-m", f"{_ROLES}.{name}", *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=_ENVIRONMENT,
        )
        self.told = self._answer()

    def __enter__(self) -> Role:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for end in (self._process.stdin, self._process.stdout):
            assert end is not None
            end.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def do(self, command: str, *arguments: object) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps([command, *arguments]) + "\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with contextlib.suppress(ValueError):  # what a library prints
                return json.loads(line)
        raise RuntimeError(f"{self._name} ended with {self._process.wait()}")


@attrs.frozen
class Cost:
    """What a process took between two moments."""

    seconds: float
    cpu: float
    """Seconds of processor time."""
    threads: int
    rss: float
    """MiB, the most that was seen since the process began."""


class Meter:
    """Measures a process from now on."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._began, self._cpu = time.monotonic(), self._used()

    def read(self) -> Cost:
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        peak = next(line for line in status.splitlines() if line.startswith("VmHWM"))
        return Cost(
            seconds=time.monotonic() - self._began,
            cpu=self._used() - self._cpu,
            threads=self._process.num_threads(),
            rss=int(peak.split()[1]) / 1024,
        )

    def _used(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)


class Connector:
    """``queue-connector serve``, and what it says of itself."""

    def __init__(self, config: Path, port: int, *options: str) -> None:
        self._began = time.monotonic()
        self.log = config.with_suffix(".log")
        command = [sys.executable, "-m", "queue_connector", "serve", str(config)]
        with self.log.open("a") as log:
            self._process = subprocess.Popen(
                [*command, "--device", DEVICE, "--port", str(port), *options],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                cwd=ROOT,
                env=_ENVIRONMENT,
            )
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("tango://"):
                break
        else:
            raise RuntimeError(f"the connector ended:\n{self.log.read_text()}")
        self._proxy = tango.DeviceProxy(address(port))
        self._proxy.set_timeout_millis(20_000)

    def __enter__(self) -> Connector:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_open(self, first_values: int = 0, timeout: float = 120.0) -> dict[str, float]:
        """Until it is ON and has got so many values that are read at subscriptions."""
        deadline = time.monotonic() + timeout
        while True:
            state = self._proxy.State()
            received = sum(ledger["received"] for ledger in self.statistics().values())
            if state == tango.DevState.ON and received >= first_values:
                return {"seconds": time.monotonic() - self._began}
            if time.monotonic() > deadline:
                raise RuntimeError(f"{state}, {received} received\n{self.log.read_text()[-3000:]}")
            time.sleep(0.05)

    def statistics(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._proxy.statistics)
        return found

    def wait_settled(self, delivered: int, timeout: float = 60.0) -> None:
        """Until so many data were delivered."""
        deadline = time.monotonic() + timeout
        while sum(ledger["delivered"] for ledger in self.statistics().values()) < delivered:
            if time.monotonic() > deadline:
                raise RuntimeError(f"not delivered: {str(self.statistics())[:2000]}")
            time.sleep(0.1)


def address(port: int, device: str = DEVICE) -> str:
    return f"tango://{LOOPBACK}:{port}/{device}#dbase=no"


@attrs.frozen
class Running:
    """A contender at work."""

    name: str
    pid: int
    port: int
    opened: float
    """Seconds until all that it reads was open: of the connector, since its process was started."""
    connector: Connector | None = None


@contextlib.contextmanager
def contender(
    name: str, directory: Path, exchanges: Any, first_values: int = 0
) -> Iterator[Running]:
    """The connector, or another program that does the same."""
    config, port = directory / f"{name}.json", free_port()
    config.write_text(json.dumps({"exchanges": exchanges}))
    if name == "connector":
        with Connector(config, port) as running:
            opened = running.wait_open(first_values)["seconds"]
            yield Running(name, running.pid, port, opened, running)
    else:
        module = {"bare": "bare", "asyncio": "asynchronous"}[name]
        with Role(module, config, port) as role:
            yield Running(name, role.pid, port, (role.told or {}).get("seconds", 0.0))


@contextlib.contextmanager
def dishes(count: int, per_server: int = 20) -> Iterator[tuple[list[Role], list[str]]]:
    """Servers of so many dishes, and the names of their devices."""
    with contextlib.ExitStack() as stack:
        servers, names = [], []
        for first in range(1, count + 1, per_server):
            number, port = min(per_server, count + 1 - first), free_port()
            servers.append(stack.enter_context(Role("dishes", port, first, number)))
            names += [
                address(port, f"mid-dish/dish-manager/SKA{n:03}")
                for n in range(first, first + number)
            ]
        yield servers, names


def each(roles: Sequence[Role], command: str, *arguments: object) -> list[Any]:
    return [role.do(command, *arguments) for role in roles]
