"""What the attributes of a device read as: published by exchanges, written and read by clients."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping, Sequence
from typing import Any

import tango

from ...model.datatypes import Data
from ...model.errors import ConformError
from ...runtime.lane import Lane
from .current import Current, refused
from .own_events import OwnEvents
from .subscribers import Subscribers
from .types import fit, from_tango, legible


class Values:
    """Those of the attributes that are there, *current*; *own* and *subscribers* get events."""

    def __init__(
        self,
        device: Any,
        current: Mapping[str, Current],
        own: OwnEvents,
        subscribers: Subscribers,
    ) -> None:
        self._device = device
        self._current = current
        self._own = own
        self._subscribers = subscribers
        self.lane: Lane | None = None
        """The lane that calls Tango now."""

    def publish(self, values: Sequence[tuple[str, Data]]) -> None:
        """Set attributes and push their events, in order, in the lane.

        Raises:
            EndpointError: an attribute is not defined, or Tango refused; those before it are out.
        """
        when, largest = time.time(), 0
        for name, value in values:
            current = self._current.get(name.lower())
            if current is None:
                raise refused(self._device, name, "it is not defined")
            try:
                if current.written:  # what a client writes comes before all of it, or after it
                    with tango.AutoTangoMonitor(self._device):
                        self._set(current, value, when)
                else:
                    self._set(current, value, when)
            except tango.DevFailed as error:
                raise refused(self._device, name, error.args[0].desc) from None
            largest = max(largest, getattr(value, "nbytes", 0))
        self._subscribers.pushed(largest)

    def _set(self, current: Current, value: Data, when: float) -> None:
        """Have an attribute read as a value, and push its events."""
        name, made = current.attribute.name, current.made
        current.take(value, when)
        self._own.show(name.lower(), value)
        # Who subscribes from now on reads the value when it does.
        if made.change_event_subscribed():
            self._device.push_change_event(name, *current.reading)
        if made.archive_event_subscribed():
            self._device.push_archive_event(name, *current.reading)

    def write(self, _device: Any, attr: Any) -> None:
        """Take what a client writes, in a thread of Tango's that holds the device's monitor.

        It waits for nobody: not for Trio, and not for the lane, which may wait for the monitor.
        """
        name = attr.get_name()
        current = self._current.get(name.lower())
        if current is None:
            raise RuntimeError(f"the attribute {name} is being removed")
        spec = current.attribute.spec
        try:
            value = fit(from_tango(attr.get_write_value(), len(spec.shape)), spec)
        except ConformError as error:
            where = f"{self._device.get_name()}/{name}"
            tango.Except.throw_exception("ConformError", legible(str(error)), where)
        if tango.Util.instance().is_svr_starting():  # memorized; an event would crash the server
            current.take(value, time.time())
            self._own.show(name.lower(), value)
            return
        self._set(current, value, time.time())
        if (lane := self.lane) is not None:
            lane.post(functools.partial(self._subscribers.pushed, getattr(value, "nbytes", 0)))

    def read(self, _device: Any, attr: Any) -> None:
        """Answer a client, in a thread of Tango's that holds the device's monitor."""
        current = self._current.get(attr.get_name().lower())
        if current is None:
            raise RuntimeError(f"the attribute {attr.get_name()} is being removed")
        attr.set_value_date_quality(*current.reading)
