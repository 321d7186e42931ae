"""The device that administers this server, asked as Tango's clients ask it.

None of this may be asked by a thread that is inside a call which the administering device waits
for, nor while the device's monitor is held. Each question takes `TIMEOUT` at most.

* errors    ``tango.DevFailed`` where the server does not answer
* source    PyTango manual, "Device server administration"
"""

from __future__ import annotations

from typing import Any

import tango
from tango.test_context import get_server_host_port

from .event_connections import Ports

TIMEOUT = 1000
"""Milliseconds in which the server has to answer itself."""

CLIENT_VERSION = "6"
"""The version of events that subscribers are given; those since Tango 9 read the same."""


class Administrator:
    """What is asked on behalf of one device."""

    def __init__(self, device: Any) -> None:
        self._device = device

    def ask(self, command: str, argument: Any) -> Any:
        """The answer to one of its commands."""
        proxy = tango.DeviceProxy(_name())
        proxy.set_timeout_millis(TIMEOUT)
        return proxy.command_inout(command, argument)

    def take_on(self, attribute: str, kind: str) -> None:
        """Have the server know that somebody has subscribed to events of that kind."""
        wanted = [self._device.get_name(), attribute, "subscribe", kind, CLIENT_VERSION]
        self.ask("ZmqEventSubscriptionChange", wanted)

    def open_event_socket(self) -> None:
        """Make the socket that events leave by, which Tango makes at the first subscription only.

        In the first ten minutes after the machine's start Tango takes a device that nobody has
        subscribed to for one that somebody subscribed to just now, for it compares with the time
        since then (``EVENT_RESUBSCRIBE_PERIOD``). It tells that somebody of each attribute that
        comes or goes, by a socket that is not there, and the server dies. So it is subscribed to
        once.
        """
        self.take_on("State", "change")

    def event_ports(self) -> Ports | None:
        """Where events are sent from, as clients are told it; None when that is not known yet."""
        _, endpoints = self.ask("ZmqEventSubscriptionChange", ["info"])
        ports = {}
        for endpoint in endpoints:  # such as "Event: tcp://127.0.0.1:33687"
            what, _, address = endpoint.partition(":")
            if "tcp://" in address:
                ports[what] = int(address.rpartition(":")[2])
        return Ports(ports["Event"], ports["Heartbeat"]) if len(ports) == 2 else None

    def poll(self, attribute: str, period: int) -> None:
        """Have Tango read an attribute every so many milliseconds."""
        self.ask("AddObjPolling", ([period], [self._device.get_name(), "attribute", attribute]))

    def stop_polling(self, attribute: str) -> None:
        """Have Tango not read it any more by itself."""
        self.ask("RemObjPolling", [self._device.get_name(), "attribute", attribute])


def _name() -> str:
    name: str = tango.Util.instance().get_dserver_device().get_name()
    if tango.Util._UseDb and not tango.Util._FileDb:
        return name  # by the database: such a server answers to no address of its own
    host, port = get_server_host_port()
    return f"tango://{host}:{port}/{name}#dbase=no"
