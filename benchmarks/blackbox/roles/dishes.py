"""Dishes that publish pointings: ``python -m … PORT FIRST COUNT``.

Each has the attributes ``achieved`` and ``desired``, DevDouble[3], [t, az, el], and ``offset``,
which never changes. t is the moment of the push, in SI seconds since 2000-01-01T00:00:00 TAI; az
counts up by one.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any, ClassVar

import tango
from tango.server import Device, attribute, run

from benchmarks.blackbox.roles.talk import listen, server_arguments

TAI_2000 = 946_684_768
"""Unix time of 2000-01-01T00:00:00 TAI."""

LEAPS = 5
"""Leap seconds since then."""

MOVING = ("achieved", "desired")


def device_name(number: int) -> str:
    return f"mid-dish/dish-manager/SKA{number:03}"


def now() -> float:
    """SI seconds since 2000-01-01T00:00:00 TAI."""
    return time.time() - TAI_2000 + LEAPS


class Dish(Device):
    """Pushes what it is told to."""

    all: ClassVar[list[Dish]] = []

    def init_device(self) -> None:
        super().init_device()
        self.set_state(tango.DevState.ON)
        self.count = 0
        for name in (*MOVING, "offset"):
            self.set_change_event(name, True, False)
        Dish.all.append(self)

    @attribute(dtype=(float,), max_dim_x=3)
    def achieved(self) -> list[float]:
        return [now(), 0.0, 0.0]

    @attribute(dtype=(float,), max_dim_x=3)
    def desired(self) -> list[float]:
        return [now(), 0.0, 0.0]

    @attribute(dtype=(float,), max_dim_x=3)
    def offset(self) -> list[float]:
        return [now(), 0.0, 0.0]

    def push(self) -> None:
        self.count += 1
        for name in MOVING:
            self.push_change_event(name, [now(), float(self.count), 45.0])


class Feeder:
    """Pushes at a rate, every dish in turn."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self.pushed = 0

    def start(self, rate: float) -> None:
        self._ended.clear()
        self.pushed = 0
        self._thread = threading.Thread(target=self._run, args=(rate,))
        self._thread.start()

    def stop(self) -> dict[str, Any]:
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        return {"pushed": self.pushed}

    def flood(self, count: int) -> float:
        """Push *count* events of the first dish's ``achieved`` as fast as it can; the seconds."""
        began = time.monotonic()
        with tango.EnsureOmniThread():
            for number in range(count):
                Dish.all[0].push_change_event("achieved", [now(), float(number), 45.0])
        return time.monotonic() - began

    def _run(self, rate: float) -> None:
        began, turn = time.monotonic(), 0
        with tango.EnsureOmniThread():
            while not self._ended.is_set():
                for place, dish in enumerate(Dish.all):
                    due = began + (turn + place / len(Dish.all)) / rate
                    if (early := due - time.monotonic()) > 0:
                        time.sleep(early)
                    dish.push()
                    self.pushed += len(MOVING)
                turn += 1


def main() -> None:
    port, first, count = map(int, sys.argv[1:4])
    feeder = Feeder()
    commands = {"start": feeder.start, "stop": feeder.stop, "flood": feeder.flood}
    ready = threading.Thread(target=listen, args=(commands,), daemon=True)
    devices = ",".join(map(device_name, range(first, first + count)))
    run(
        (Dish,),
        args=server_arguments("dishes", port, devices),
        post_init_callback=ready.start,
    )


if __name__ == "__main__":
    main()
