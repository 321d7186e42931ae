"""The Tango server as a process: what it needs before it begins, and how it ends.

* needs     threads, a directory for omniORB's Unix sockets, and the Tango database, which is
            waited for
* ends      at SIGINT or SIGTERM, from the first line on, or by the admin device's ``Kill``; in
            order, and in a bounded time
* status    0 ended in order; 1 it cannot run here, or did not end in time; 130 cut off by a second
            Ctrl-C; 255 Tango itself refused to begin, with a line that says why
* source    omniORB's manual, "unixTransportDirectory"; CORBA 3.3, "GIOP Message Formats"
"""

from __future__ import annotations

import faulthandler
import logging
import os
import pwd
import socket
import struct
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import tango
from tango.server import Device, run

from .bridge import CANCEL_GRACE
from .device import SHUTDOWN_MARGIN, SDPQueueConnector
from .errors import counted
from .logs import STDERR, configure_logging, level_of
from .process import Signals, measure_threads

THREADS = 24
"""Threads without which it does not begin: some 12 when idle, and some for its clients."""

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


def serve(
    arguments: Sequence[str],
    device_class: type[Device] = SDPQueueConnector,
    on_ready: Callable[[], None] = lambda: None,
) -> int:
    """Run the Tango server until it is told to end; *arguments* are Tango's, after the name."""
    signals = Signals()
    try:
        _need_threads()
        signals.heed()
        configure_logging(level_of(list(arguments)))
        faulthandler.enable(STDERR)
        _wait_for_database(arguments, signals)
        if signals.asked:
            return 0
        _run([*arguments, *unix_transport(arguments)], device_class, on_ready, signals)
    except CannotStartError as error:
        print(f"SDPQueueConnector: {error}", file=sys.stderr)
        return 1
    return 0


def main() -> int:
    """Run it with the arguments of the process."""
    return serve(sys.argv[1:])


def _run(
    arguments: Sequence[str],
    device_class: type[Device],
    on_ready: Callable[[], None],
    signals: Signals,
) -> None:
    def ready() -> None:
        on_ready()
        signals.ready(_end, _longest_end())

    try:
        run(
            {"SDPQueueConnector": device_class},
            args=["SDPQueueConnector", *arguments],
            post_init_callback=ready,
            raises=True,
        )
    except tango.DevFailed as error:
        raise CannotStartError(" ".join(error.args[0].desc.split())) from error
    except RuntimeError as error:  # all that is known of a failure inside omniORB
        told = "omniORB cannot start; see its line above: is the port free, the host this one?"
        raise CannotStartError(told) from error


def _end() -> None:
    """Do as the admin device's ``Kill`` does: delete the devices, then end the ORB."""
    with tango.EnsureOmniThread():
        tango.Util.instance().get_dserver_device().kill()


def _longest_end() -> float:
    """Seconds in which the devices must have ended, one after the other."""
    devices = tango.Util.instance().get_device_list("*")
    graces = [float(one.stop_grace) for one in devices if isinstance(one, SDPQueueConnector)]
    return sum(graces) + (len(graces) + 1) * (SHUTDOWN_MARGIN + CANCEL_GRACE)


# -- what it needs ---------------------------------------------------------------------------------


def _need_threads() -> None:
    found = measure_threads()
    if found < THREADS:
        raise CannotStartError(
            f"no more than {counted(found, 'thread')} can be started here, and it needs "
            f"{THREADS}, and some 5 more for each broker: raise the limit (ulimit -u, TasksMax of "
            "systemd, the pids limit of the container)"
        )


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


def _wait_for_database(arguments: Sequence[str], signals: Signals) -> None:
    """Wait until the Tango database is where it should be, or a signal has come.

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
    while addresses and not signals.asked:
        reasons = []
        for host, port in addresses:
            reason = _database_complaint(host, port)
            if not reason:
                return
            reasons.append(f"{host}:{port}: {reason}")
        if time.monotonic() - told >= REMINDER:
            told = time.monotonic()
            _log.warning("waiting for the Tango database: %s", "; ".join(reasons))
        time.sleep(DATABASE_RETRY)


def _database_complaint(host: str, port: int) -> str:
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
