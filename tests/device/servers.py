"""Tango device servers in processes of their own, without a database, for tests and benchmarks.

A server module is run as ``python -m MODULE PORT`` and prints ``READY <port>`` when it has started
(see `serve`). What the tests send it is pickled: it is exact for every type.
"""

from __future__ import annotations

import base64
import contextlib
import faulthandler
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import tango
from tango.server import run
from tango.test_context import get_server_host_port

from tests.services.process import freeze
from tests.support.forking import Forked, Template
from tests.support.waiting import eventually

ROOT = Path(__file__).resolve().parents[2]
DEVICE = "test/queueconnector/01"


def pack(*message: Any) -> str:
    return base64.b64encode(pickle.dumps(message)).decode()


def unpack(text: str) -> Any:
    return pickle.loads(base64.b64decode(text))


def serve(device_class: type, *devices: str) -> None:
    """Run the server on the main thread; PORT is the first argument of the program."""
    faulthandler.enable()
    name, port = device_class.__name__, sys.argv[1]
    endpoint = f"giop:tcp:127.0.0.1:{port}"
    arguments = [name, "test", "-nodb", "-dlist", ",".join(devices), "-ORBendPoint", endpoint]
    run(
        (device_class,),
        args=arguments,
        raises=True,
        post_init_callback=lambda: threading.Thread(target=_announce).start(),
    )


def _announce() -> None:
    """Tell the port once Tango has started: it answers before."""
    eventually(lambda: not tango.Util.instance().is_svr_starting())
    print("READY", get_server_host_port()[1], flush=True)


_template: Template | None = None


@contextlib.contextmanager
def forked(*imports: str) -> Iterator[None]:
    """Fork the servers that start while inside from a process that has imported these modules."""
    global _template
    _template = Template(imports, ROOT)
    try:
        yield
    finally:
        _template.close()
        _template = None


def fork(module: str, *arguments: str, **conditions: Any) -> Forked:
    """Run ``python -m MODULE ARGUMENTS``, see `Template.start`."""
    assert _template is not None, "inside of `forked` only"
    return _template.start(module, *arguments, **conditions)


def launch(
    module: str, *arguments: str, wrapper: Sequence[str] = (), stderr: IO[str] | None = None
) -> Forked | subprocess.Popen[str]:
    """Run ``python -m MODULE ARGUMENTS`` under *wrapper*; what it prints comes by ``stdout``."""
    if _template is not None and not wrapper:
        return fork(module, *arguments, stderr=stderr)
    return subprocess.Popen(
        [*wrapper, sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=stderr,
        text=True,
    )


class Server:
    """One server process.

    One that shall be started again after `kill` is given its port: where the ORB chose the port
    itself, it cannot be had again while clients hold on to their dead connections.
    """

    def __init__(self, module: str, device: str = DEVICE, port: int = 0) -> None:
        self._module = module
        self._device = device
        self.port = port
        self.start()

    def start(self) -> None:
        self._process = launch(self._module, str(self.port))
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("READY"):
                self.port = int(line.split()[1])
                return
        raise RuntimeError(f"{self._module} ended with {self._end()}")

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def device_name(self) -> str:
        return f"tango://127.0.0.1:{self.port}/{self._device}#dbase=no"

    @property
    def admin_name(self) -> str:
        return str(self.proxy().adm_name())

    def proxy(self) -> Any:
        return tango.DeviceProxy(self.device_name)

    def ask(self, *message: Any, timeout: float = 10.0) -> Any:
        """Send a pickled message to the device's command ``Do`` and unpickle the answer."""
        proxy = self.proxy()
        proxy.set_timeout_millis(int(timeout * 1000))
        return unpack(proxy.command_inout("Do", pack(*message)))[0]

    def kill(self) -> None:
        self._process.kill()
        self._end()

    def terminate(self) -> int:
        """SIGTERM; the exit status."""
        self._process.send_signal(signal.SIGTERM)
        return self._end()

    def freeze(self) -> None:
        freeze(self._process.pid)

    def thaw(self) -> None:
        self._process.send_signal(signal.SIGCONT)

    def running(self) -> bool:
        return self._process.poll() is None

    def _end(self) -> int:
        try:
            status = self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise
        assert self._process.stdout is not None
        self._process.stdout.close()
        return status


@contextlib.contextmanager
def server(module: str, device: str = DEVICE, port: int = 0) -> Iterator[Server]:
    running = Server(module, device, port)
    try:
        yield running
    finally:
        running.kill()
