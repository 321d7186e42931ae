"""Dishes that point where a test wants them to: ``python -m … PORT``.

``Do`` takes ``(t, az, el)`` for a new pointing, and pushes its event.
"""

from __future__ import annotations

import tango
from tango.server import Device, attribute, command

from tests.device.servers import pack, serve, unpack

DISHES = {f"mid-dish/dish-manager/{dish}": dish.upper() for dish in ("ska001", "ska036", "mkt012")}


class DishDevice(Device):
    def init_device(self) -> None:
        super().init_device()
        self.set_state(tango.DevState.ON)
        self.set_change_event("achievedPointing", True, False)
        self.pointing = [0.0, 0.0, 90.0]

    @attribute(dtype=("DevDouble",), max_dim_x=3)
    def achievedPointing(self) -> list[float]:
        return self.pointing

    @command(dtype_in=str, dtype_out=str)
    def Do(self, message: str) -> str:
        self.pointing = list(unpack(message))
        self.push_change_event("achievedPointing", self.pointing)
        return pack(None)


if __name__ == "__main__":
    serve(DishDevice, *DISHES)
