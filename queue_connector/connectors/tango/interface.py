"""A device's interface, which is its list of attributes, while it is changed.

* reading   a change while a client looks an attribute up crashes, see `Interface.held`
* telling   clients subscribe to changes of the interface. The first change has Tango start a
            thread, which 50 ms after the last one waits for the device's monitor, to see what
            there is, tells them and ends. Each change is told to that thread and waits for its
            answer, with the monitor held: where the thread waits for the monitor already, both
            wait for 3.2 s, the change fails, and nobody is told. So a change comes right after
            another one, or when the thread has ended.
            That thread is known by the name that it has from the one that started it.
* source    cppTango, ``DeviceImpl::push_dev_intr`` and ``DevIntrThread``
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import tango
import trio

from ...runtime import threads
from .object_adapter import object_adapter

IN_TIME = 0.015
"""Seconds after a change in which the next one comes in time, though it takes a while itself."""

PERIOD, PATIENCE = 0.005, 5.0
"""Seconds between two looks at that thread, and those after which a change is begun anyway."""

BLOCKED = "Device interface change event thread blocked"
"""What Tango says where a change fails that it has made and could not tell of."""

log = logging.getLogger(__name__)

_numbers = itertools.count()


class Interface:
    """The interface of one device object, changed by one thread at a time."""

    def __init__(self, device: Any, stop_polling: Callable[[str, int], None]) -> None:
        self._device = device
        self._stop_polling = stop_polling
        self._begun = -math.inf
        self._name = f"interface {next(_numbers)}"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Have nobody inside of Tango who may know of an attribute.

        Tango looks up what a client reads, subscribes to or asks the configuration of, in a list
        that adding and removing change without a lock that would stop it: that crashes. So the
        requests that are under way wait for the device's monitor, and those that come wait in
        the ORB.

        Raises:
            tango.DevFailed: the monitor cannot be had.
        """
        monitor = tango.AutoTangoMonitor(self._device)
        with monitor, threads.named(self._name), object_adapter().requests_held():
            yield

    @contextlib.contextmanager
    def change(self, removed: Sequence[str] = ()) -> Iterator[None]:
        """Make one change, inside of `held`, for which others may have a turn before.

        Raises:
            tango.DevFailed: what is removed is polled again and again.
        """
        end = time.monotonic() + PATIENCE
        while (self.is_telling() or self._polled(removed)) and time.monotonic() < end:
            with object_adapter().let_go(), tango.AutoTangoAllowThreads(self._device):
                while self.is_telling() and time.monotonic() < end:
                    time.sleep(PERIOD)
                self.stop_polling(removed)
        if self._polled(removed):  # Tango would wait for its thread, and that for the monitor
            tango.Except.throw_exception("API_PollObjFound", "a client polls it anew", "change")
        self._begun = time.monotonic()
        try:
            yield
        except tango.DevFailed as error:
            if not error.args[0].desc.startswith(BLOCKED):
                raise
            log.warning("clients are not told that attributes have changed: %s", error.args[0].desc)

    def stop_polling(self, names: Iterable[str]) -> None:
        """Have Tango not poll these any more, while nobody has the device's monitor."""
        with tango.AutoTangoAllowThreads(self._device):
            for name, period in self._polled(names):
                self._stop_polling(name, period)

    async def told(self) -> None:
        """Wait until a change can begin, while others have the monitor."""
        with trio.move_on_after(PATIENCE):
            while self.is_telling():  # noqa: ASYNC110  (Tango's thread tells nobody)
                await trio.sleep(PERIOD)

    def is_telling(self) -> bool:
        """Whether Tango's thread waits for the monitor, or may do so soon."""
        if time.monotonic() < self._begun + IN_TIME:
            return False
        return any(thread.name == self._name for thread in threads.others())

    def _polled(self, names: Iterable[str]) -> list[tuple[str, int]]:
        """Those of them that Tango polls, with the period in ms."""
        periods = ((name, self._device.get_attribute_poll_period(name)) for name in names)
        return [(name, period) for name, period in periods if period]
