"""A device whose attribute comes and goes: ``python -m … PORT``.

``Do`` takes ``("add",)``, ``("remove",)`` and ``("push", number)`` for the attribute ``shifting``.
"""

from __future__ import annotations

from typing import Any

import tango
from tango.server import Device, attribute, command

from tests.device.servers import DEVICE, pack, serve, unpack


class ShiftingDevice(Device):
    def init_device(self) -> None:
        super().init_device()
        self.set_state(tango.DevState.ON)
        self.value = 0
        self.add()

    def add(self) -> None:
        self.add_attribute(attribute(name="shifting", dtype=tango.CmdArgType.DevLong), self.read)
        self.set_change_event("shifting", True, False)

    def read(self, attr: Any) -> int:
        return self.value

    @command(dtype_in=str, dtype_out=str)
    def Do(self, message: str) -> str:
        match unpack(message):
            case ("add",):
                self.add()
            case ("remove",):
                self.remove_attribute("shifting", clean_db=False)
            case ("push", number):
                self.value = number
                self.push_change_event("shifting", number)
        return pack(None)


if __name__ == "__main__":
    serve(ShiftingDevice, DEVICE)
