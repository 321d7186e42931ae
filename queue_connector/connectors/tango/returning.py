"""Attributes that were removed and are made anew: as far as clients know, they were never gone.

Tango's server knows of no subscribers of an attribute that is new, though the clients think that
they have subscribed; nor does it poll it as before. Both are noted at its removal, and done again.
"""

from __future__ import annotations

import logging
from collections.abc import Container
from typing import Any

import tango

from .administrator import Administrator

log = logging.getLogger(__name__)

NOT_POLLED = ("API_PollObjNotFound", "API_DeviceNotPolled")
"""What Tango says of an attribute that it does not poll, where it polls others and where none."""


class Returning:
    """Those of one device."""

    def __init__(self, administrator: Administrator) -> None:
        self._administrator = administrator
        self._bereaved: dict[str, tuple[str, ...]] = {}  # the kinds of events that were wanted
        self._polled: dict[str, int] = {}  # the periods in ms of those that were polled
        self._returned: set[str] = set()

    @property
    def waiting(self) -> bool:
        """Whether there is something to `revive`."""
        return bool(self._returned)

    def stop_polling(self, name: str, period: int) -> None:
        """Have Tango not poll an attribute any more; while nobody holds the device's monitor."""
        self._polled[name] = period
        try:
            self._administrator.stop_polling(name)
        except tango.DevFailed as error:
            if error.args[0].reason in NOT_POLLED:  # a client has just done it
                del self._polled[name]
            else:
                log.warning("%s may still be polled: %s", name, error.args[0].desc)

    def goes(self, name: str, made: Any) -> None:
        """Note who has subscribed to Tango's attribute, which is about to be removed."""
        kinds = {"change": made.change_event_subscribed, "archive": made.archive_event_subscribed}
        if wanted := tuple(kind for kind, subscribed in kinds.items() if subscribed()):
            self._bereaved[name] = wanted

    def comes(self, name: str) -> None:
        """An attribute of this name is there."""
        if name in self._bereaved or name in self._polled:
            self._returned.add(name)

    def revive(self, present: Container[str]) -> None:
        """Give attributes that are back their subscribers, and have them polled.

        Tango's clients ask the device that administers the server, and so do we. It is not asked
        while a thread of Tango's waits for this one.
        """
        try:
            while self._returned:
                name = self._returned.pop()
                if period := self._polled.pop(name, 0):
                    self._administrator.poll(name, period)
                for kind in self._bereaved.pop(name, ()) if name in present else ():
                    self._administrator.take_on(name, kind)
        except tango.DevFailed as error:  # then they have to wait until their library notices
            self._returned.clear()
            log.warning("subscribers are not taken on again: %s", error.args[0].desc)
