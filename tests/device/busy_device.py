"""Devices that take their time: ``python -m … PORT``.

Reading ``busy`` takes 30 s, ``brief`` nothing.
"""

from __future__ import annotations

import time

import tango
from tango.server import Device, attribute

from tests.device.servers import serve

DEVICES = [f"test/busy/{number:02}" for number in range(12)]


class BusyDevice(Device):
    def init_device(self) -> None:
        super().init_device()
        self.set_state(tango.DevState.ON)
        for name in ("busy", "brief"):
            self.set_change_event(name, True, False)

    @attribute(dtype=float)
    def busy(self) -> float:
        time.sleep(30)
        return 1.0

    @attribute(dtype=float)
    def brief(self) -> float:
        return 2.0


if __name__ == "__main__":
    serve(BusyDevice, *DEVICES)
