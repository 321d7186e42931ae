"""The Tango server as a process: how it begins, and how it ends.

* ends      at SIGINT or SIGTERM, from the first line on, or by the admin device's ``Kill``; in
            order, and in a bounded time
* status    0 ended in order; 1 it cannot run here, or did not end in time; 130 cut off by a second
            Ctrl-C; 255 Tango itself refused to begin, with a line that says why
* source    PyTango manual, "Server API"
"""

from __future__ import annotations

import faulthandler
import sys
from collections.abc import Callable, Sequence

import tango
from tango.server import Device, run

from .. import connectors
from ..runtime.logs import STDERR, configure_logging, level_of
from ..runtime.loop import CANCEL_GRACE
from ..runtime.process import Signals
from . import prerequisites
from .device import SDPQueueConnector
from .prerequisites import CannotStartError
from .trio_device import SHUTDOWN_MARGIN

ORB_GRACE = 10.0
"""Seconds in which the ORB must end, after the devices."""


def serve(
    arguments: Sequence[str],
    device_class: type[Device] = SDPQueueConnector,
    on_ready: Callable[[], None] = lambda: None,
) -> int:
    """Run the Tango server until it is told to end; *arguments* are Tango's, after the name."""
    connectors.import_clients()  # before anything runs that an import would hold up
    signals = Signals()
    try:
        prerequisites.check(arguments)
        signals.heed()
        configure_logging(level_of(list(arguments)))
        faulthandler.enable(STDERR)
        prerequisites.wait_for_database(arguments, lambda: signals.asked)
        if signals.asked:
            return 0
        arguments = [*arguments, *prerequisites.unix_transport(arguments)]
        _run(arguments, device_class, on_ready, signals)
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
    except RuntimeError as error:
        if "unknown exception" not in str(error):  # all that is known of a failure inside omniORB
            raise
        told = "omniORB cannot start; see its line above: is the port free, the host this one?"
        raise CannotStartError(told) from error


def _end() -> None:
    """End the devices, then do as the admin device's ``Kill`` does: delete them, and end the ORB.

    Tango deletes a device once no client is inside it, which demanding ones can put off.
    """
    with tango.EnsureOmniThread():
        for device in _devices():
            device.end()
        tango.Util.instance().get_dserver_device().kill()


def _devices() -> list[SDPQueueConnector]:
    devices = tango.Util.instance().get_device_list("*")
    return [device for device in devices if isinstance(device, SDPQueueConnector)]


def _longest_end() -> float:
    """Seconds in which the devices must have ended, one after the other."""
    graces = [device.settings.stop_grace for device in _devices()]
    return sum(grace + SHUTDOWN_MARGIN + CANCEL_GRACE for grace in graces) + ORB_GRACE
