"""What the server needs before it begins; what is not there is told in one sentence.

* threads, files   enough of them: librdkafka and ZeroMQ end the process where they get none
* ports            for events, where the environment fixes them; Tango would send events nowhere
* directory        for omniORB's Unix sockets, for a user without a name too
* database         waited for: Tango ends the process where it does not answer
* source           omniORB's manual, "unixTransportDirectory"; CORBA 3.3, "GIOP Message Formats"
"""

from __future__ import annotations

import logging
import os
import pwd
import resource
import socket
import struct
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import tango

from ..model.errors import counted
from ..runtime.process import measure_threads

THREADS = 24
"""Threads without which it does not begin: some 12 when idle, and some for its clients."""

FILES = 128
"""Files and sockets without which it does not begin: some 40 when idle, and its clients' own."""

USUAL_FILES = 1024
"""What a lower limit is raised to, where that is allowed: what systems give when nobody asks."""

EVENT_PORTS = ("TANGO_ZMQ_EVENT_PORT", "TANGO_ZMQ_HEARTBEAT_PORT")
"""The variables by which Tango is told where to send events from."""

DATABASE_RETRY = 1.0
"""Seconds between two looks whether the Tango database is there."""

ANSWER = 3.0
"""Seconds in which it must answer."""

REMINDER = 60.0
"""Seconds after which the log says again what is waited for."""

SOCKET_DIRECTORIES = ("/tmp", os.environ.get("TMPDIR", ""), "/dev/shm", "/var/tmp", ".")
"""Where omniORB's Unix sockets may be, the best first."""

_log = logging.getLogger(__name__)


class CannotStartError(Exception):
    """Something that the server needs is not there; the text is for who started it."""


def check(arguments: Sequence[str]) -> None:
    """Look for all that can be looked for before Tango begins, with its *arguments*.

    Raises:
        CannotStartError: something is missing.
    """
    _need_threads()
    _need_files()
    _need_event_ports(arguments)


def _need_threads() -> None:
    found = measure_threads()
    if found < THREADS:
        raise CannotStartError(
            f"no more than {counted(found, 'thread')} can be started here, and it needs "
            f"{THREADS}, and some 5 more for each broker: raise the limit (ulimit -u, TasksMax of "
            "systemd, the pids limit of the container)"
        )


def _need_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= FILES:
        return
    if hard != resource.RLIM_INFINITY and hard < FILES:
        raise CannotStartError(
            f"no more than {hard} files and sockets may be open here, and it needs {FILES}, and "
            "some 10 more for each broker: raise the limit (ulimit -n, LimitNOFILE of systemd)"
        )
    usual = USUAL_FILES if hard == resource.RLIM_INFINITY else min(hard, USUAL_FILES)
    resource.setrlimit(resource.RLIMIT_NOFILE, (usual, hard))


def _need_event_ports(arguments: Sequence[str]) -> None:
    host = ""
    for text in arguments:
        if text.startswith("giop:tcp:"):
            host = text.removeprefix("giop:tcp:").rpartition(":")[0]
    for variable in EVENT_PORTS:
        text = os.environ.get(variable, "*")
        if text == "*":
            continue
        if not (text.isascii() and text.isdecimal()) or not 0 < int(text[:6]) < 1 << 16:
            raise CannotStartError(f"{variable}: expected a port, 1 to 65535, found {text!r}")
        if complaint := listening_complaint(host, int(text)):
            raise CannotStartError(f"{variable}: cannot listen at port {text}: {complaint}")


def listening_complaint(host: str, port: int) -> str:
    """Why nobody can listen at an address, of any host for an empty one; empty where one can."""
    try:
        found = socket.getaddrinfo(
            host or None, port, socket.AF_INET, socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as omniORB does
            probe.bind(found[0][4])
            probe.listen(1)
    except (OSError, UnicodeError, OverflowError) as error:
        return getattr(error, "strerror", None) or str(error)
    return ""


def unix_transport(arguments: Sequence[str]) -> list[str]:
    """Options for omniORB, so that it finds a directory for the Unix sockets that it wants.

    Without them it asks for ``/tmp/omni-USER``, which a user without a name cannot have.

    Raises:
        CannotStartError: none can be written.
    """
    option = "ORBunixTransportDirectory"
    if option in os.environ or any(text.lstrip("-") == option for text in arguments):
        return []
    uid = os.getuid()
    try:
        names = [pwd.getpwuid(uid).pw_name, str(uid)]
    except KeyError:
        names = [str(uid)]
    for base in filter(None, SOCKET_DIRECTORIES):
        for name in names:
            directory = Path(base).absolute() / f"omni-{name}"
            if _usable(directory):
                return [f"-{option}", str(directory)]
    tried = ", ".join(filter(None, SOCKET_DIRECTORIES))
    raise CannotStartError(
        f"omniORB needs a directory for its Unix sockets, and none of {tried} can be written; "
        "mount a writable /tmp or set TMPDIR"
    )


def _usable(directory: Path) -> bool:
    try:
        directory.mkdir(mode=0o755, exist_ok=True)
    except OSError:
        return False
    return os.access(directory, os.W_OK | os.X_OK)


def wait_for_database(arguments: Sequence[str], given_up: Callable[[], bool]) -> None:
    """Wait until the Tango database is where it should be, or it is *given_up*.

    Tango itself ends the process where it is not; and asked by Tango's client the ORB would be
    made without the server's options.
    """
    options = [text.lstrip("-") for text in arguments if text.startswith("-")]
    if not arguments or any(
        text.startswith(("nodb", "file")) or text in ("h", "help", "?") for text in options
    ):
        return
    addresses = list(_database_addresses())
    told = -REMINDER
    while addresses and not given_up():
        reasons = []
        for host, port in addresses:
            reason = database_complaint(host, port)
            if not reason:
                return
            reasons.append(f"{host}:{port}: {reason}")
        if time.monotonic() - told >= REMINDER:
            told = time.monotonic()
            _log.warning("waiting for the Tango database: %s", "; ".join(reasons))
        time.sleep(DATABASE_RETRY)


def database_complaint(host: str, port: int) -> str:
    """Why the object ``database`` is not at this address; empty where it is."""
    key = b"database"
    asked = struct.pack("<II", 1, len(key)) + key  # a GIOP 1.0 LocateRequest, little-endian
    try:
        with socket.create_connection((host, port), timeout=ANSWER) as connection:
            connection.sendall(b"GIOP\1\0\1\3" + struct.pack("<I", len(asked)) + asked)
            answer = b""
            while len(answer) < 20:
                if not (part := connection.recv(20)):
                    return "something else than a Tango database is there"
                answer += part
    except (OSError, OverflowError, UnicodeError) as error:
        return getattr(error, "strerror", None) or str(error)
    order = "<" if answer[6] & 1 else ">"
    if not answer.startswith(b"GIOP") or answer[7] != 4:
        return "something else than a Tango database is there"
    unknown = struct.unpack_from(f"{order}I", answer, 16)[0] == 0
    return "it is starting" if unknown else ""


def _database_addresses() -> list[tuple[str, int]]:
    """What ``TANGO_HOST`` says; nothing where it says nothing that can be, as Tango will tell."""
    found = []
    for address in (tango.ApiUtil.get_env_var("TANGO_HOST") or "").split(","):
        host, _, port = address.strip().rpartition(":")
        if not host or not port.isdecimal():
            return []
        found.append((host, int(port)))
    return found
