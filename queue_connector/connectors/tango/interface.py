"""A device's interface, which is its list of attributes, while it is changed.

* reading   a change while a client looks an attribute up crashes, see `Interface.held`
* telling   clients subscribe to changes of the interface. `QUIET` after the last of several, a
            thread of Tango's waits for the device's monitor, to see what there is, and tells them.
            Each change is told to that thread and waits for its answer, with the monitor held: had
            the thread waited for the monitor by then, both would wait for 3.2 s, the change would
            fail, and nobody would be told. So none begins from shortly before that moment until
            the thread has the monitor.
* source    cppTango, ``DeviceImpl::push_dev_intr`` and ``DevIntrThread``
"""

from __future__ import annotations

import contextlib
import logging
import math
import time
from collections.abc import Iterator
from typing import Any

import tango

SETTLE, SETTLING = 0.002, 5
"""Seconds, and how many times, that reads are held up before the list of attributes is changed."""

QUIET = 0.05
"""Seconds without a change after which Tango tells of those before."""

EARLY, LATE = 0.02, 0.1
"""Seconds by which a machine that is busy may be early or late with that."""

TIMED_OUT = "API_CommandTimedOut"
"""Why Tango lets a change fail that it has made and could not tell of."""

log = logging.getLogger(__name__)


class Interface:
    """The interface of one device object, changed by one thread at a time."""

    def __init__(self, device: Any) -> None:
        self._device = device
        self._begun = self._over = -math.inf

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
        with tango.AutoTangoMonitor(self._device):
            self._settle()
            yield

    @contextlib.contextmanager
    def change(self) -> Iterator[None]:
        """Make one change, inside of `held`; it may let the monitor go for a while before."""
        while (left := self.telling()) > 0:
            with tango.AutoTangoAllowThreads(self._device):
                time.sleep(left)
            self._settle()
        self._begun = time.monotonic()
        try:
            yield
        except tango.DevFailed as error:
            if error.args[0].reason != TIMED_OUT:
                raise
            log.warning("clients are not told that attributes have changed: %s", error.args[0].desc)
        finally:
            self._over = time.monotonic()

    def telling(self) -> float:
        """Seconds until no thread of Tango's that is to tell of changes can wait for the monitor.

        They are 0 where it is not yet time for it, too.
        """
        now = time.monotonic()
        if now < self._begun + QUIET - EARLY:
            return 0.0
        return max(0.0, self._over + QUIET + LATE - now)

    def _settle(self) -> None:
        for _ in range(SETTLING if not tango.Util.instance().is_svr_starting() else 0):
            time.sleep(SETTLE)
