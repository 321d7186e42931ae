"""A device's interface, which is its list of attributes, while it is changed.

* reading   a change while a client looks an attribute up crashes, see `Interface.held`
* telling   clients subscribe to changes of the interface. The first change has Tango start a
            thread, which 50 ms after the last one waits for the device's monitor, to see what
            there is, tells them and ends. Each change is told to that thread and waits for its
            answer, with the monitor held: where the thread waits for the monitor already, both
            wait for 3.2 s, the change fails, and nobody is told. So a change comes right after
            another one, or when the thread has ended.
* source    cppTango, ``DeviceImpl::push_dev_intr`` and ``DevIntrThread``; Linux, ``proc(5)``: a
            thread has the name of the one that has started it
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import math
import os
import time
from collections.abc import Iterator
from typing import Any

import tango
import trio

from ...runtime.worker import current_thread

SETTLE, SETTLING = 0.002, 5
"""Seconds, and how many times, that reads are held up before the list of attributes is changed."""

IN_TIME = 0.015
"""Seconds after a change in which the next one comes in time, though it takes a while itself."""

PERIOD, PATIENCE = 0.005, 5.0
"""Seconds between two looks at that thread, and those after which a change is begun anyway."""

BLOCKED = "Device interface change event thread blocked"
"""What Tango says where a change fails that it has made and could not tell of."""

THREADS = "/proc/self/task"

log = logging.getLogger(__name__)

_numbers = itertools.count()


class Interface:
    """The interface of one device object, changed by one thread at a time."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._begun = -math.inf
        self._name = f"interface {next(_numbers)}"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the device's monitor, with every client that is reading waiting for it.

        Tango looks a reader's attribute up before it waits for the monitor, in a list that adding
        and removing change without a lock that would stop it: that crashes. A client waits for
        the answer to its one request, so those that read all the time are past that look-up once
        the monitor has been held for a while, and cannot come again.

        Raises:
            tango.DevFailed: the monitor cannot be had.
        """
        with tango.AutoTangoMonitor(self._device), self._named():
            self._settle()
            yield

    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        """Make one change, inside of `held`; it may let the monitor go for a while before."""
        if self.is_telling():
            with tango.AutoTangoAllowThreads(self._device):
                end = time.monotonic() + PATIENCE
                while self.is_telling() and time.monotonic() < end:
                    time.sleep(PERIOD)
            self._settle()
        self._begun = time.monotonic()
        try:
            yield
        except tango.DevFailed as error:
            if not error.args[0].desc.startswith(BLOCKED):
                raise
            log.warning("clients are not told that attributes have changed: %s", error.args[0].desc)

    async def told(self) -> None:
        """Wait until a change can begin, while others have the monitor."""
        with trio.move_on_after(PATIENCE):
            while self.is_telling():  # noqa: ASYNC110  (Tango's thread tells nobody)
                await trio.sleep(PERIOD)

    def is_telling(self) -> bool:
        """Whether Tango's thread waits for the monitor, or may do so soon."""
        if time.monotonic() < self._begun + IN_TIME:
            return False
        others = (thread for thread in os.listdir(THREADS) if thread != str(current_thread()))
        return any(_name(thread) == self._name for thread in others)

    @contextlib.contextmanager
    def _named(self) -> Iterator[None]:
        """Give the threads that this one starts the name by which they are known."""
        own = current_thread()
        before = _name(own)
        _rename(own, self._name)
        try:
            yield
        finally:
            _rename(own, before)

    def _settle(self) -> None:
        for _ in range(SETTLING if not tango.Util.instance().is_svr_starting() else 0):
            time.sleep(SETTLE)


def _name(thread: str | int) -> str:
    """The name of a thread of this process, empty once it has ended."""
    try:
        with open(f"{THREADS}/{thread}/comm") as file:
            return file.read().rstrip("\n")
    except OSError:
        return ""


def _rename(thread: int, name: str) -> None:
    with contextlib.suppress(OSError), open(f"{THREADS}/{thread}/comm", "w") as file:
        file.write(name)  # where /proc cannot be written, nobody is waited for
