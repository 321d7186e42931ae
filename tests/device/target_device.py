"""A Tango device whose attributes of every type and format are written: ``python -m … PORT``.

``Do`` takes ``("written", name)`` for all that was written to an attribute since it was last asked
for, and ``("delay", seconds)`` for how long each write takes. -13 written to
``DevLong_SCALAR`` is refused; ``DevDouble_LIMITED`` has a largest value; ``fixed`` is read-only.
"""

from __future__ import annotations

import enum
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import tango
from tango import AttrDataFormat, AttrWriteType, CmdArgType
from tango.server import Device, attribute, command

from tests.device.servers import DEVICE, pack, serve, unpack
from tests.device.source_device import FORMATS, ZEROS, described


class Mode(enum.IntEnum):
    IDLE = 0
    POINT = 1


class _Base(Device):
    def init_device(self) -> None:
        super().init_device()
        self.set_state(tango.DevState.ON)
        self.written: dict[str, list[Any]] = defaultdict(list)
        self.delay = 0.0

    @attribute(dtype=float)
    def fixed(self) -> float:
        return 1.0

    @attribute(dtype=float, max_value=10.0, access=AttrWriteType.WRITE)
    def DevDouble_LIMITED(self) -> float:
        return 0.0

    @DevDouble_LIMITED.setter
    def set_limited(self, value: float) -> None:
        self.written["DevDouble_LIMITED"].append(value)

    @attribute(dtype=Mode, access=AttrWriteType.WRITE)
    def mode(self) -> Mode:
        return Mode.IDLE

    @mode.setter
    def set_mode(self, value: int) -> None:
        self.written["mode"].append(int(value))

    def write(self, name: str, value: Any) -> None:
        time.sleep(self.delay)
        if name == "DevLong_SCALAR" and value == -13:
            tango.Except.throw_exception("Test_Refused", "-13 on purpose", "the test")
        self.written[name].append(value)

    @command(dtype_in=str, dtype_out=str)
    def Do(self, message: str) -> str:
        match unpack(message):
            case ("written", name):
                return pack(self.written.pop(name, []))
            case ("delay", seconds):
                self.delay = seconds
        return pack(None)


def _setter(name: str) -> Callable[[_Base, Any], None]:
    def write(device: _Base, value: Any) -> None:
        device.write(name, value)

    return write


_members: dict[str, Any] = {
    "DevEncoded_SCALAR": attribute(
        name="DevEncoded_SCALAR",
        dtype=CmdArgType.DevEncoded,
        access=AttrWriteType.WRITE,
        fset=_setter("DevEncoded_SCALAR"),
    )
}
for _type in ZEROS:
    for _rank, _format in enumerate(FORMATS):
        _members[f"{_type}_{_format}"] = attribute(
            name=f"{_type}_{_format}",
            dtype=getattr(CmdArgType, _type),
            dformat=getattr(AttrDataFormat, _format),
            access=AttrWriteType.WRITE,
            fset=_setter(f"{_type}_{_format}"),
            **described(_type, _rank),
        )

TargetDevice = type("TargetDevice", (_Base,), {**_members, "__module__": __name__})

if __name__ == "__main__":
    serve(TargetDevice, DEVICE)
