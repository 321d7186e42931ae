"""Which database, by environment variables: the only place that reads them.

=======================  ===========  ========================================================
variable                 default      meaning
=======================  ===========  ========================================================
``SDP_CONFIG_BACKEND``   etcd3        ``etcd3``, our own client; ``memory``, nothing outside
                                      this process; ``ska-sdp-config``, through that library
``SDP_CONFIG_HOST``      127.0.0.1    a name or address; several members, with commas between,
                                      each with a port of its own if need be: ``a,b:2380,[::1]``
``SDP_CONFIG_PORT``      2379         for each host without one
``SDP_CONFIG_PROTOCOL``  http         or ``https``
``SDP_CONFIG_CERT``      none         a PEM file. A private key in it makes its first
                                      certificate ours; without a key, its certificates are the
                                      authorities to trust instead of the system's
``SDP_CONFIG_USERNAME``  none         together with ``SDP_CONFIG_PASSWORD``
=======================  ===========  ========================================================

A variable that is empty counts as not set. Errors name the variable and never repeat a password.
"""

from __future__ import annotations

import os
import re
import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ..model.errors import ConfigError, Fault
from .database import ConfigDatabase
from .memory import MemoryDatabase
from .sdp import SdpDatabase

if TYPE_CHECKING:
    from .gateway import Credentials

BACKENDS = ("etcd3", "memory", "ska-sdp-config")
PROTOCOLS = ("http", "https")

_HOST = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_](?:[A-Za-z0-9_.-]*))(?::(?P<port>\d+))?"
)
_KEY = b"PRIVATE KEY-----"


def from_environment(environment: Mapping[str, str] | None = None) -> ConfigDatabase:
    """The database that *environment* names, not opened; the process's own unless given.

    Raises:
        ConfigError: with everything that is wrong with the variables.
        EndpointError: ``ska-sdp-config`` is asked for and not installed.
    """
    reader = _Reader(os.environ if environment is None else environment)
    backend = reader.choice("BACKEND", BACKENDS)
    if backend == "memory":
        reader.finish()
        return MemoryDatabase()
    endpoints, credentials = list(reader.endpoints()), reader.credentials()
    tls = reader.tls()
    reader.finish()
    if backend == "ska-sdp-config":
        return SdpDatabase.installed(secrets=[credentials.password] if credentials else [])
    # Late: httpx takes long, and who only checks a configuration asks no database.
    from .etcd import EtcdDatabase
    from .gateway import Gateway

    return EtcdDatabase(Gateway(endpoints, credentials=credentials, tls=tls))


class _Reader:
    """Reads variables and collects what is wrong with them."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._faults: list[Fault] = []

    def _get(self, name: str, default: str = "") -> str:
        return self._environment.get(f"SDP_CONFIG_{name}", "").strip() or default

    def _fault(self, name: str, message: str, hint: str = "") -> None:
        self._faults.append(Fault(f"SDP_CONFIG_{name}", message, hint))

    def finish(self) -> None:
        if self._faults:
            raise ConfigError(self._faults)

    def choice(self, name: str, allowed: tuple[str, ...]) -> str:
        value = self._get(name, allowed[0])
        if value not in allowed:
            self._fault(name, f"expected {' or '.join(allowed)}, found {value!r:.50}")
            return allowed[0]
        return value

    def endpoints(self) -> Iterator[str]:
        protocol = self.choice("PROTOCOL", PROTOCOLS)
        default = self._get("PORT", "2379")
        if not _is_port(default):
            self._fault("PORT", f"expected a number from 1 to 65535, found {default!r:.50}")
        for host in self._get("HOST", "127.0.0.1").split(","):
            found = _HOST.fullmatch(host.strip())
            port = (found and found["port"]) or default
            if found is None or (found["port"] and not _is_port(port)):
                # What is there may hold a password: it is not repeated.
                hint = "e.g. etcd-0, or 10.0.0.1, or [::1], or a,b:2380 for several"
                self._fault("HOST", "expected names or addresses, each with a port or not", hint)
            else:
                yield f"{protocol}://{found['host']}:{port}"

    def credentials(self) -> Credentials | None:
        # A password may begin or end with a space.
        password = self._environment.get("SDP_CONFIG_PASSWORD", "")
        username = self._get("USERNAME")
        if bool(username) is not bool(password):
            missing = "PASSWORD" if username else "USERNAME"
            self._fault(missing, "not set", "set both, or neither")
        if not username or not password:
            return None
        from .gateway import Credentials

        return Credentials(username, password)

    def tls(self) -> ssl.SSLContext | None:
        name = self._get("CERT")
        if not name:
            return None
        if self._get("PROTOCOL", PROTOCOLS[0]) != "https":
            self._fault("CERT", "it is for https only", "set SDP_CONFIG_PROTOCOL to https")
        try:
            return _tls(Path(name))
        except OSError as error:  # ssl.SSLError is one
            reason = error.strerror or str(error)
            self._fault("CERT", f"{name!r:.200} cannot be used: {reason}", "it is a PEM file")
        return None


def _is_port(text: str) -> bool:
    return text.isascii() and text.isdecimal() and 0 < int(text[:9]) < 2**16


def _tls(file: Path) -> ssl.SSLContext:
    if _KEY not in file.read_bytes():
        return ssl.create_default_context(cafile=str(file))
    context = ssl.create_default_context()
    context.load_verify_locations(cafile=str(file))
    # Without a function that gives a password, OpenSSL would ask for it at the terminal.
    context.load_cert_chain(str(file), password=lambda: "")
    return context
