"""Tango as a client: the calls of proxies and subscriptions, which block.

They belong into a `worker.Worker` whose context is `thread_context`. Events come in threads of
Tango's, which must never wait: all that is done there is to copy the value and put it into a
mailbox.

What was seen of Tango, and shaped this:

* A call to a peer that is frozen or mute takes three to nine seconds, whatever the timeout.
* ``set_timeout_millis`` connects first, and holds Python's lock meanwhile: it is called after a
  ``ping``, which does not.
* Subscribing and unsubscribing stop the events of all subscriptions until they are done. So the
  server has answered on its admin device just before, nothing is read inside, and one is
  done after the other: two at once crashed Tango, or doubled every event from then on.
* Tango's own recovery looks at the servers every ten seconds, and whoever subscribes or
  unsubscribes while it tries to reach a frozen one stops all events for three to nine seconds. So
  the subscriptions of a server that is silent are taken down before.
* Subscribing returns before the connection that the events come by is made, and what the device
  pushes in between is lost without a word. So the value is read a while after.
* Where an attribute is removed and made again, nothing comes any more, until the subscription is
  confirmed. That its device has changed so comes as an event of its own.

* units     seconds
* errors    `EndpointError`; nothing of Tango's escapes
* source    PyTango manual, "Event API"; cppTango, ``EventConsumer``, ``DServer``
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import tango

from ...model.errors import EndpointError
from ...runtime.foreign import remember_this_thread
from ...runtime.worker import OneAtATime, check_cancelled
from .failures import CONNECTION_LOST, endpoint_error, no_answer, told
from .subscription import NoValue, Subscription
from .types import from_tango

CALL_TIMEOUT = 3.0
"""Seconds that a device has for an answer, such as the value that an attribute has."""

thread_context = tango.EnsureOmniThread
"""What a thread must be inside while it calls Tango."""

_ON_THE_WIRE = {
    "CHANGE_EVENT": "idl5_change",
    "PERIODIC_EVENT": "idl5_periodic",
    "ARCHIVE_EVENT": "idl5_archive",
    "USER_EVENT": "idl5_user_event",
    "ALARM_EVENT": "idl5_alarm",
}
"""How a subscription to a type of event is confirmed."""


class ServerClient:
    """Tango's calls to the devices of one server; one thread at a time, and in `thread_context`."""

    def __init__(self) -> None:
        self._proxies: dict[str, Any] = {}
        self._admin: Any = None
        self._watched: dict[str, int] = {}

    def reach(self, devices: Iterable[str]) -> dict[str, EndpointError]:
        """Make the proxies that are missing, and see that the server takes subscriptions.

        Gives the devices that cannot be reached.

        Raises:
            EndpointError: its admin device does not answer.
        """
        failed: dict[str, EndpointError] = {}
        for device in devices:
            check_cancelled()
            if device not in self._proxies:
                try:
                    self._proxies[device] = connected(device, CALL_TIMEOUT)
                except tango.DevFailed as error:
                    failed[device] = endpoint_error(device, "connecting", error)
        for device, proxy in self._proxies.items():
            try:
                if self._admin is None:
                    self._admin = connected(proxy.adm_name(), CALL_TIMEOUT)
                self._admin.command_inout("ZmqEventSubscriptionChange", ["info"])
            except tango.DevFailed as error:
                self._admin = None
                raise endpoint_error(device, "asking its server", error) from None
            break
        return failed

    def subscribe(self, wanted: Sequence[Subscription]) -> dict[Subscription, EndpointError]:
        """Subscribe, and give what could not be. Values may come before this returns."""
        failed: dict[Subscription, EndpointError] = {}
        for subscription in wanted:
            if not subscription.wanted:
                continue
            self.unsubscribe([subscription])  # one that is broken is subscribed still
            subscription.has_value = subscription.broken = False
            try:
                self._subscribe(subscription)
            except tango.DevFailed as error:
                failed[subscription] = endpoint_error(subscription.name, "subscription", error)
        return failed

    def _subscribe(self, subscription: Subscription) -> None:
        proxy = self._proxies[subscription.device]
        receive = _receiver(subscription)
        kind = tango.EventType.values[subscription.event_type]
        with _changing_events:
            identifier: int = proxy.subscribe_event(
                subscription.attribute, kind, receive, tango.EventSubMode.Sync
            )
        subscription.proxy, subscription.identifier = proxy, identifier
        receive_plainly(proxy, identifier, receive)

    def unsubscribe(self, subscriptions: Iterable[Subscription]) -> None:
        """Unsubscribe; what still comes goes nowhere. The server is not asked."""
        for subscription in subscriptions:
            identifier, subscription.identifier = subscription.identifier, None
            if identifier is not None:
                # An error says that it knows the subscription no more.
                with contextlib.suppress(tango.DevFailed), _changing_events:
                    subscription.proxy.unsubscribe_event(identifier)
            subscription.proxy = None

    def read(self, device: str, attributes: Sequence[str]) -> list[Any]:
        """The values that attributes have now, or why there is none."""
        names = list(dict.fromkeys(name.lower() for name in attributes))  # asked twice, one fails
        try:
            found = self._proxies[device].read_attributes(names)
        except tango.DevFailed as error:
            return [NoValue(*told(error.args))] * len(attributes)
        by_name = dict(zip(names, found, strict=True))
        return [_outcome_of(by_name[name.lower()]) for name in attributes]

    def confirm(self, subscriptions: Sequence[Subscription]) -> dict[Subscription, EndpointError]:
        """Say that they are still wanted, all at once; gives what the server does not know.

        An attribute that was removed and made again sends its events from then on. A server that
        does not answer is taken to know them; whether it lives is asked otherwise.
        """
        lines = {subscription: list(self._line(subscription)) for subscription in subscriptions}
        failed: dict[Subscription, EndpointError] = {}
        try:
            self._confirm([text for line in lines.values() for text in line])
        except tango.DevFailed as error:  # it stops at the first that it does not know
            for subscription, line in lines.items():
                if no_answer(error):
                    break
                try:
                    self._confirm(line)
                except tango.DevFailed as refusal:
                    error = refusal
                    if not no_answer(error):
                        name = subscription.name
                        failed[subscription] = endpoint_error(name, "subscription", error)
        return failed

    def _confirm(self, lines: list[str]) -> None:
        self._admin.command_inout("EventConfirmSubscription", lines)

    def _line(self, subscription: Subscription) -> Iterator[str]:
        yield self._proxies[subscription.device].dev_name()
        yield subscription.attribute.lower()
        yield _ON_THE_WIRE[str(tango.EventType.values[subscription.event_type])]

    def watch(self, device: str, changed: Callable[[Any], None]) -> None:
        """Have *changed* called when attributes of the device come or go, where it tells that."""
        if device in self._watched or device not in self._proxies:
            return
        kind = tango.EventType.INTERFACE_CHANGE_EVENT
        with contextlib.suppress(tango.DevFailed), _changing_events:
            self._watched[device] = self._proxies[device].subscribe_event(
                kind, changed, tango.EventSubMode.Sync
            )

    def close(self, subscriptions: Iterable[Subscription]) -> None:
        """Take everything down, and drop the connections. The server is not asked."""
        self.unsubscribe(subscriptions)
        for device, identifier in self._watched.items():
            with contextlib.suppress(tango.DevFailed), _changing_events:
                self._proxies[device].unsubscribe_event(identifier)
        self._watched.clear()
        self._proxies.clear()
        self._admin = None


_changing_events = OneAtATime()


def connected(device: str, timeout: float) -> Any:
    """A proxy that has reached its device; raises ``DevFailed``."""
    proxy = tango.DeviceProxy(device)
    proxy.ping()
    proxy.set_timeout_millis(min(int(timeout * 1000), 2**31 - 1))
    return proxy


def _receiver(subscription: Subscription) -> Callable[[Any], None]:
    """What Tango calls with each event, in a thread of its own."""
    put = subscription.mailbox.put

    def receive(event: Any) -> None:
        remember_this_thread()
        subscription.heard = True
        if event.err:
            error = NoValue(*told(event.errors))
            subscription.broken = subscription.broken or error.reason == CONNECTION_LOST
            put(error)
            return
        value = _value_of(event.attr_value)
        if not isinstance(value, NoValue):
            subscription.has_value, subscription.last = True, value
        put(value)

    return receive


def _value_of(data: Any) -> Any:
    if data.quality is tango.AttrQuality.ATTR_INVALID:
        return NoValue()
    value = data.value
    if isinstance(value, np.ndarray):
        return value.copy()  # a view of a buffer that lives as long as the event
    if value is None or value == ():
        return from_tango(value, _DIMENSIONS[data.data_format])
    return value


def _outcome_of(read: Any) -> Any:
    return NoValue(*told(read.get_err_stack())) if read.has_failed else _value_of(read)


def same(one: Any, other: Any) -> bool:
    """Whether two values of an attribute are the same, NaN for NaN."""
    if isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        alike = one.dtype == other.dtype and one.shape == other.shape
        return alike and one.tobytes() == other.tobytes()
    return type(one) is type(other) and repr(one) == repr(other)


_DIMENSIONS = {
    tango.AttrDataFormat.SCALAR: 0,
    tango.AttrDataFormat.SPECTRUM: 1,
    tango.AttrDataFormat.IMAGE: 2,
}


def receive_plainly(proxy: Any, identifier: int, receive: Callable[[Any], None]) -> bool:
    """Have Tango call *receive* itself, where PyTango would wrap it anew for every event.

    That costs a fifth of an event. Where PyTango keeps its callbacks otherwise than expected, all
    stays as it is; whether it was done.
    """
    entry = proxy.__dict__.get("_subscribed_events", {}).get(identifier, (None,))
    if not hasattr(entry[0], "push_event"):
        return False
    entry[0].push_event = receive
    return True
