"""Tango as a client: the only importer of ``tango`` for proxies and subscriptions.

The methods of `Subscription` block, so they belong into a `bridge.Worker` whose context is
`thread_context`. Events come in threads of Tango's, which must never wait: all that is done there
is to copy the value and hand a `Reading` on.

Tango's own recovery of a subscription looks at the server every ten seconds, and while it tries to
reach a dead one it holds a lock that the events of all the others wait for. So a subscription
that broke is taken down here, its server is asked for a sign of life without that lock, and only a
server that answers is subscribed to again. A server that was restarted answers with another
address of its heartbeat.

Subscribing returns before the connection that the events come by is made, and what the device
pushes in between is lost without a word (5 of 100 first events on a busy machine). So a
subscription that is thrown away goes ahead of the one that counts.

The value that is read at the subscription overtakes events that are on their way already. So it is
held back until they are here, see `InOrder`.

* units     seconds
* errors    `EndpointError`; nothing of Tango's escapes
* source    PyTango manual, "Event API"; cppTango, ``ZmqEventSubscriptionChange``
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from typing import Any

import attrs
import tango

from ...bridge import OneAtATime, current_thread
from ...errors import DataError, EndpointError
from .types import from_tango

CALL_TIMEOUT = 1.0
"""Seconds that a device has for an answer; Tango asks up to three times."""

SETTLE = 0.1
"""Seconds that the first connection to a server's events may take to be made, and that events
which were on their way at a subscription may take to come."""

WRITE_TIMEOUT = 3.0
"""Seconds that a device has to take a value, which is Tango's own default. A device that is frozen
costs up to three times as much, since Tango tries to connect to it anew."""

VALUE_EVENTS = ("CHANGE_EVENT", "PERIODIC_EVENT", "ARCHIVE_EVENT", "USER_EVENT", "ALARM_EVENT")

event_types: dict[str, int] = {
    name: int(tango.EventType.names[name]) for name in VALUE_EVENTS if name in tango.EventType.names
}
"""The types of event that carry a value, by name: those that this Tango has."""

thread_context = tango.EnsureOmniThread
"""What a thread must be inside while it calls Tango."""

_CONNECTION_LOST = "API_EventTimeout"


@attrs.frozen
class Reading:
    """What one event says: a value, that there is none, or what went wrong.

    ``reason`` and ``message`` are empty for an event without an error.
    """

    value: object = None
    valid: bool = True
    reason: str = ""
    message: str = ""


class InOrder:
    """Puts the value that was read at a subscription behind the events that are older.

    Any thread may call its methods.
    """

    def __init__(self, put: Callable[[Reading], None]) -> None:
        self._put = put
        self._held: tuple[float, Reading] | None = None
        self._one_at_a_time = OneAtATime()

    def read(self, reading: Reading, when: float) -> None:
        """Hold back what was read at *when*, in seconds on the device's clock."""
        with self._one_at_a_time:
            self._held = (when, reading)

    def event(self, reading: Reading, when: float) -> None:
        """Hand on an event of *when*, and before it what was read, unless that is younger."""
        with self._one_at_a_time:
            if self._held is not None and self._held[0] < when:
                self._release()
            self._put(reading)

    def settle(self) -> None:
        """No older event will come any more."""
        with self._one_at_a_time:
            self._release()

    def _release(self) -> None:
        held, self._held = self._held, None
        if held is not None:
            self._put(held[1])


class Subscription:
    """One subscription to the events of an attribute, or the wish for it.

    ``is_open`` says whether it is worth keeping; any thread may read and clear it, ask `wanted` and
    call `withdraw`. The other methods block and are called by one thread at a time.
    """

    def __init__(
        self, device: str, attribute: str, event_type: int, put: Callable[[Reading], None]
    ) -> None:
        self.is_open = False
        self._wanted = True
        self._device = device
        self._attribute = attribute
        self._event_type = tango.EventType.values[event_type]
        self._put = put
        self._proxy: Any = None
        self._admin: Any = None
        self._id: int | None = None
        self._generation = 0
        self._server: str | None = None

    def wanted(self) -> bool:
        """Whether it may still be opened."""
        return self._wanted

    def withdraw(self) -> None:
        """It is wanted no more: what is being opened is closed at once."""
        self._wanted = False

    def open(self) -> None:
        """Subscribe anew; the current value has come before this returns.

        Raises:
            EndpointError: the device cannot be reached, or refuses.
        """
        self._unsubscribe()
        if not self.wanted():
            return
        try:
            if self._proxy is None:
                self._proxy = _proxy(self._device, CALL_TIMEOUT)
            self._server = self._identity()  # without the lock that subscribing holds
            forerunner = self._subscribe(_ignore, tango.EventSubMode.Sync)
            try:
                time.sleep(SETTLE)
                self.is_open = True
                values = InOrder(self._put)
                receiver = self._receiver(self._generation, values)
                self._id = self._subscribe(receiver, tango.EventSubMode.SyncRead)
                time.sleep(SETTLE)
                values.settle()
            finally:
                with _changing_events:
                    self._proxy.unsubscribe_event(forerunner)
        except tango.DevFailed as error:
            self.is_open = False
            reason, message = _told(error.args)
            raise EndpointError(
                f"{self._device}/{self._attribute}", "subscription", f"{message} [{reason}]"
            ) from None
        if not self.wanted():  # withdrawn meanwhile
            self._unsubscribe()

    def alive(self) -> bool:
        """Whether the server that was subscribed to still runs; one that is slow to answer does."""
        try:
            identity = self._identity()
            return identity is None or identity == self._server
        except tango.DevFailed as error:
            return any("Timedout" in told.desc for told in error.args)

    def close(self) -> None:
        """Unsubscribe for good; what still comes goes nowhere."""
        self.withdraw()
        self._unsubscribe()
        self._proxy = self._admin = None

    def _subscribe(self, receive: Callable[[Any], None], mode: Any) -> int:
        with _changing_events:
            identifier: int = self._proxy.subscribe_event(
                self._attribute, self._event_type, receive, mode
            )
        return identifier

    def _unsubscribe(self) -> None:
        self.is_open = False
        self._generation += 1
        identifier, self._id = self._id, None
        if identifier is not None:
            # An error says that it knows the subscription no more.
            with contextlib.suppress(tango.DevFailed), _changing_events:
                self._proxy.unsubscribe_event(identifier)

    def _identity(self) -> str | None:
        """What differs between two runs of the device's server: the address of its heartbeat.

        None for a device that lives and does not tell; raises ``DevFailed`` for one that does not.
        """
        self._proxy.ping()
        try:
            if self._admin is None:
                self._admin = _proxy(self._proxy.adm_name(), CALL_TIMEOUT)
            _numbers, texts = self._admin.command_inout("ZmqEventSubscriptionChange", ["info"])
        except tango.DevFailed:
            return None
        return str(texts[0])

    def _receiver(self, generation: int, values: InOrder) -> Callable[[Any], None]:
        """What Tango calls with each event in a thread of its own, and in this one with a value."""
        subscribing = current_thread()

        def receive(event: Any) -> None:
            if event.err:
                reason, message = _told(event.errors)
                if reason == _CONNECTION_LOST and generation == self._generation:
                    self.is_open = False
                self._put(Reading(reason=reason, message=message))
                return
            data = event.attr_value
            if data.quality is tango.AttrQuality.ATTR_INVALID:
                reading = Reading(valid=False)
            else:
                reading = Reading(from_tango(data.value, _DIMENSIONS[data.data_format]))
            take = values.read if current_thread() == subscribing else values.event
            take(reading, data.time.totime())

        return receive


_changing_events = OneAtATime()
"""Subscribing in two threads at once crashed Tango, or doubled every event from then on."""


def _proxy(device: str, timeout: float) -> Any:
    proxy = tango.DeviceProxy(device)
    proxy.set_timeout_millis(int(timeout * 1000))
    return proxy


_DIMENSIONS = {
    tango.AttrDataFormat.SCALAR: 0,
    tango.AttrDataFormat.SPECTRUM: 1,
    tango.AttrDataFormat.IMAGE: 2,
}


def _ignore(_event: object) -> None:
    """Take the events of a subscription that only makes the connection."""


def _told(errors: Any) -> tuple[str, str]:
    """Reason and description of the first error of a stack, on one line."""
    if not errors:
        return "API_UnknownError", "Tango says no more"
    return str(errors[0].reason), " ".join(str(errors[0].desc).split())


@attrs.define(eq=False, slots=False)
class RefusedError(DataError):
    """A device does not take a value, or has no such attribute to be written."""

    attribute: str
    reason: str

    def __str__(self) -> str:
        return f"{self.attribute} refused the value: {self.reason}"


class RemoteAttribute:
    """An attribute of another device to be written; connects when it is needed, and anew.

    The methods block and are called by one thread at a time.
    """

    def __init__(self, device: str, attribute: str) -> None:
        self._device = device
        self._attribute = attribute
        self._proxy: Any = None
        self._info: Any = None

    def describe(self) -> Any:
        """Type, format and largest lengths: Tango's ``AttributeInfoEx``.

        Raises:
            EndpointError: the device cannot be reached.
            RefusedError: it has no such attribute.
        """
        if self._info is None:
            try:
                if self._proxy is None:
                    self._proxy = _proxy(self._device, WRITE_TIMEOUT)
                self._info = self._proxy.get_attribute_config(self._attribute)
            except tango.DevFailed as error:
                raise self._error(error) from None
        return self._info

    def write(self, value: Any) -> None:
        """Write a value in the form that `describe` tells; on return the device has taken it.

        Raises:
            EndpointError: the device cannot be reached, or gives no answer: it may have the value.
            RefusedError: the device does not take it.
        """
        info = self.describe()
        try:
            self._proxy.write_attribute(info, value)
        except tango.DevFailed as error:
            raise self._error(error) from None

    def close(self) -> None:
        """Forget the connection."""
        self._proxy = self._info = None

    def _error(self, error: tango.DevFailed) -> EndpointError | RefusedError:
        """What a failure means. What was known of the attribute may have changed with it."""
        self._info = None
        name = f"{self._device}/{self._attribute}"
        reason, message = _told(error.args)
        said = f"{message} [{reason}]"
        unreachable = isinstance(error, tango.ConnectionFailed | tango.CommunicationFailed)
        if unreachable or any(told.reason in _UNREACHABLE for told in error.args):
            self.close()  # a proxy waits a while before it connects anew
            return EndpointError(name, "writing", said)
        return RefusedError(name, said)


_UNREACHABLE = frozenset(
    {
        "API_CantConnectToDevice",
        "API_CantConnectToDatabase",
        "API_CommandTimedOut",  # another request has the device's monitor
        "API_CorbaException",
        "API_DeviceNotExported",
        "API_DeviceTimedOut",
        "API_ServerNotRunning",
        "API_ShutdownInProgress",
    }
)
