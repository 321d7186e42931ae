"""Events of the device's own attributes, for its own sources: without Tango and the network.

* order     as the attribute changes; the present value comes first, and again when the attribute
            is there again
* threads   whoever changes an attribute only appends to mailboxes, which are bounded; it waits for
            nobody but for the moment in which another one does the same
* local     CHANGE and ARCHIVE events of what exchanges and the property ``attributes`` publish;
            other events, and what the device tells of itself, come by the network
"""

from __future__ import annotations

import socket
from typing import Any, Protocol, runtime_checkable

import tango
from tango.test_context import get_server_host_port

from ...model.datatypes import Data
from ...model.errors import EndpointError
from ...runtime.worker import OneAtATime
from .locate import DeviceName
from .subscription import NoValue, Subscription
from .types import EVENT_TYPES, OWN_ATTRIBUTES

NOT_THERE = NoValue("API_AttrNotFound", "the device has no such attribute at present")

_LOCAL = frozenset({EVENT_TYPES["CHANGE_EVENT"], EVENT_TYPES["ARCHIVE_EVENT"]})
_OWN = frozenset(name.lower() for name in OWN_ATTRIBUTES)


class OwnEvents:
    """Who listens to which attribute, and what each reads as; names are in lower case."""

    def __init__(self) -> None:
        self._changing = OneAtATime()
        self._values: dict[str, Data] = {}
        self._listening: dict[str, list[Subscription]] = {}

    def show(self, name: str, value: Data, *, event: bool = True) -> None:
        """The attribute reads as this from now on; whoever listens is told. From any thread."""
        with self._changing:
            self._values[name] = value
            for subscription in self._listening.get(name, ()) if event else ():
                subscription.mailbox.put(value)

    def hide(self, name: str) -> None:
        """The attribute is not there any more. From any thread."""
        with self._changing:
            if name in self._values:
                del self._values[name]
                for subscription in self._listening.get(name, ()):
                    subscription.mailbox.put(NOT_THERE)

    def listen(self, subscription: Subscription) -> None:
        """Hand on the present value, and each one from now on. On the Trio thread."""
        name = subscription.attribute.lower()
        with self._changing:
            self._listening.setdefault(name, []).append(subscription)
            there = name in self._values
            if there:
                subscription.mailbox.put(self._values[name])
        if there:
            subscription.opened()
        else:
            subscription.failed(not_there(subscription))

    def leave(self, subscription: Subscription) -> None:
        """Hand on nothing more."""
        name = subscription.attribute.lower()
        with self._changing:
            left = [each for each in self._listening.pop(name, ()) if each is not subscription]
            if left:
                self._listening[name] = left


@runtime_checkable
class OwnEventsHost(Protocol):
    """A host of attributes whose events need not go by the network."""

    def own_events(self, device: str, attribute: str, event_type: int) -> OwnEvents | None:
        """Where the events of this attribute come from; None: they come by the network."""
        ...


def own_events(host: object, wish: Subscription) -> OwnEvents | None:
    """Where the events come from that are wished for, if not by the network."""
    if not isinstance(host, OwnEventsHost):
        return None
    return host.own_events(wish.device, wish.attribute, wish.event_type)


def not_there(subscription: Subscription) -> EndpointError:
    """Why there are no events."""
    return EndpointError(subscription.name, "subscription", NOT_THERE.message)


def is_local(device: Any, name: str, attribute: str, event_type: int) -> bool:
    """Whether these are events of *device* itself that need no network."""
    if event_type not in _LOCAL or attribute.lower() in _OWN:
        return False
    try:
        written = DeviceName.parse(name)
    except EndpointError:
        return False
    if written.device != device.get_name().lower():
        return False
    if written.at is None:
        return True
    if written.database:  # where it is the database of this server, the name says no more
        return str(written.at).lower() in _databases()
    host, port = get_server_host_port()
    here = {host.lower(), "localhost", "127.0.0.1", socket.gethostname().lower()}
    return written.at.port == int(port) and written.at.host.lower() in here


def _databases() -> list[str]:
    """The addresses of the database that this server is in; none without one."""
    if not tango.Util._UseDb:
        return []
    return str(tango.ApiUtil.get_env_var("TANGO_HOST") or "").lower().split(",")
