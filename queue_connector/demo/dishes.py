"""Simulated dishes: a Tango device server of its own, without a database, on a free port.

* run       ``python -m queue_connector.demo.dishes --dishes N --rate HZ``
* output    one JSON line, ``{"port": PORT}``, once clients can connect
* devices   ``mid-dish/dish-manager/ska001`` … with ``achievedPointing``, DevDouble[3]: the time in
  SI seconds since 2000-01-01T00:00:00 TAI, azimuth and elevation in degrees
* events    a change event at each tick from the command ``Track`` to the command ``Halt``; once
  ``Halt`` has returned, none follows
* counts    ``eventsPushed``, and ``valuesRead``: who subscribes reads the value that is current
  then, so the two together are what was handed out
* life      until SIGTERM
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import erfa
import tango
import trio
from tango.server import Device, attribute, command, run
from tango.test_context import get_server_host_port

from ..runtime.loop import TrioThread
from .routes import POINTING_ATTRIBUTE, first_dishes

STOP_TIME = 5.0
"""Seconds that a dish's clock has to end; it has no reason to need them."""

_EPOCH = 946_684_800.0  # 2000-01-01T00:00:00 as a clock without leap seconds counts from 1970


def tai_seconds(unix: float) -> float:
    """SI seconds since 2000-01-01T00:00:00 TAI of a time in Unix seconds."""
    date = time.gmtime(unix)
    tai_minus_utc = float(erfa.dat(date.tm_year, date.tm_mon, date.tm_mday, 0.0))
    return unix - _EPOCH + tai_minus_utc


def pointing(number: int, unix: float) -> list[float]:
    """Where a dish points: all follow one source, each swaying a little in its own way."""
    track = 2 * math.pi * unix / 240
    sway = 2 * math.pi * unix / (5 + number % 7) + number
    azimuth = 180 + 30 * math.sin(track) + 0.02 * math.sin(sway)
    elevation = 50 + 15 * math.cos(track) + 0.02 * math.cos(1.3 * sway)
    return [tai_seconds(unix), azimuth, elevation]


class SimulatedDish(Device):
    """Pushes where it points, and counts what it handed out."""

    green_mode = tango.GreenMode.Synchronous
    rate = 10.0  # Hz

    def init_device(self) -> None:
        """Stand still; the clock runs."""
        super().init_device()
        self._number = int(self.get_name()[-3:]) - 1
        self._pushed = self._read = 0
        self._tracking = False
        self._current = pointing(self._number, time.time())
        self.set_change_event(POINTING_ATTRIBUTE, True, False)
        self.set_state(tango.DevState.STANDBY)
        self._clock = TrioThread(
            self._tick, name="clock", context=tango.EnsureOmniThread, on_crash=self._crashed
        )
        self._clock.start()

    def delete_device(self) -> None:
        """Stop the clock."""
        with tango.AutoTangoAllowThreads(self):
            self._clock.stop(STOP_TIME)
        super().delete_device()

    def _crashed(self, error: BaseException) -> None:
        self._tracking = False
        print(f"{self.get_name()}: its clock crashed: {error!r}", file=sys.stderr, flush=True)

    async def _tick(self, ready: Callable[[], None], stopping: trio.Event) -> None:
        ready()
        period = 1 / self.rate
        tick = trio.current_time()
        while not stopping.is_set():
            self._push()
            tick = max(tick + period, trio.current_time())  # ticks that were missed are left out
            with trio.move_on_at(tick):
                await stopping.wait()

    def _push(self) -> None:
        with tango.AutoTangoMonitor(self):  # so that no event follows a Halt that has returned
            if self._tracking:
                self._current = pointing(self._number, time.time())
                self.push_change_event(POINTING_ATTRIBUTE, self._current)
                self._pushed += 1

    @command
    def Track(self) -> None:
        """Begin to push."""
        self._tracking = True
        self.set_state(tango.DevState.ON)

    @command
    def Halt(self) -> None:
        """Push nothing more."""
        self._tracking = False
        self.set_state(tango.DevState.STANDBY)

    @attribute(name=POINTING_ATTRIBUTE, dtype=("DevDouble",), max_dim_x=3)
    def achieved_pointing(self) -> list[float]:
        """Where it points."""
        self._read += 1
        return self._current

    @attribute(dtype="DevLong64")
    def eventsPushed(self) -> int:
        """How many events were pushed."""
        return self._pushed

    @attribute(dtype="DevLong64")
    def valuesRead(self) -> int:
        """How often the pointing was read."""
        return self._read


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m queue_connector.demo.dishes")
    parser.add_argument("--dishes", type=int, required=True, metavar="N")
    parser.add_argument("--rate", type=float, required=True, metavar="HZ")
    options = parser.parse_args(arguments)
    SimulatedDish.rate = options.rate
    devices = ",".join(dish.device for dish in first_dishes(options.dishes))
    server: list[Any] = ["SimulatedDish", "demo", "-nodb", "-dlist", devices]
    run(
        (SimulatedDish,),
        args=[*server, "-ORBendPoint", "giop:tcp:127.0.0.1:0"],
        raises=True,
        post_init_callback=lambda: print(
            json.dumps({"port": get_server_host_port()[1]}), flush=True
        ),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
