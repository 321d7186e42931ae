"""A Tango device with an attribute of every type and format: ``python -m … PORT``.

``Do`` takes ``(name, value)`` to set and push an attribute, ``("flood", name, count, pause)`` to
push the numbers from 0, ``("late", name, count, pause, age)`` to set them too, in events that
are stamped *age* seconds in the past, ``("fail", name)`` for an error event, ``("invalid", name)``
for INVALID quality, ``("subscribers",)`` for the number of subscriptions that were asked for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import tango
from tango import AttrDataFormat, AttrQuality, CmdArgType
from tango.server import Device, attribute, command

from tests.device.servers import DEVICE, pack, serve, unpack

ROWS, COLUMNS = 3, 4
FORMATS = ("SCALAR", "SPECTRUM", "IMAGE")
ZEROS: dict[str, Any] = {
    "DevBoolean": False,
    "DevUChar": 0,
    "DevShort": 0,
    "DevUShort": 0,
    "DevLong": 0,
    "DevULong": 0,
    "DevLong64": 0,
    "DevULong64": 0,
    "DevFloat": 0.0,
    "DevDouble": 0.0,
    "DevString": "",
    "DevEnum": 0,
}
LABELS = ["OFF", "ON", "ÉTEINT"]


class _Base(Device):
    def init_device(self) -> None:
        super().init_device()
        self.set_state(tango.DevState.ON)
        self.values: dict[str, tuple[Any, ...]] = {}
        for name, initial in INITIAL.items():
            for manual in (self.set_change_event, self.set_archive_event):
                manual(name, True, False)
            self.values[name] = initial

    def push(self, name: str, *value: Any) -> None:
        self.values[name] = value
        self.push_change_event(name, *value)
        self.push_archive_event(name, *value)

    @command(dtype_in=str, dtype_out=str)
    def Do(self, message: str) -> str:
        match unpack(message):
            case ("flood", name, count, pause):
                threading.Thread(target=self.flood, args=(name, count, pause)).start()
            case ("late", name, count, pause, age):
                threading.Thread(target=self.late, args=(name, count, pause, age)).start()
            case ("fail", name):
                try:
                    tango.Except.throw_exception("Test_Failed", "on purpose", "the test")
                except tango.DevFailed as error:
                    self.push_change_event(name, error)
            case ("invalid", name):
                self.push_change_event(name, 0.0, time.time(), AttrQuality.ATTR_INVALID)
            case (name, value):
                self.push(name, *(value if name == "DevEncoded_SCALAR" else (value,)))
        return pack(None)

    def late(self, name: str, count: int, pause: float, age: float) -> None:
        with tango.EnsureOmniThread():
            for number in range(count):
                self.values[name] = (float(number),)
                stamp = time.time() - age
                self.push_change_event(name, float(number), stamp, AttrQuality.ATTR_VALID)
                time.sleep(pause)

    def flood(self, name: str, count: int, pause: float) -> None:
        with tango.EnsureOmniThread():
            for number in range(count):
                self.push_change_event(name, float(number))
                if pause:
                    time.sleep(pause)


def reader(name: str) -> Callable[[Any], Any]:
    def read(device: Any) -> Any:
        value = device.values[name]
        return value if len(value) > 1 else value[0]

    return read


def described(kind: str, rank: int) -> dict[str, Any]:
    """What else an attribute of a type and format is declared with."""
    keys: dict[str, Any] = {"max_dim_x": COLUMNS} if rank else {}
    if rank == 2:
        keys["max_dim_y"] = ROWS
    if kind == "DevEnum":
        keys["enum_labels"] = LABELS
    return keys


INITIAL: dict[str, tuple[Any, ...]] = {"DevEncoded_SCALAR": ("", b"")}
_members: dict[str, Any] = {
    "DevEncoded_SCALAR": attribute(
        name="DevEncoded_SCALAR", dtype=CmdArgType.DevEncoded, fget=reader("DevEncoded_SCALAR")
    )
}
for _type, _zero in ZEROS.items():
    for _rank, _format in enumerate(FORMATS):
        _name = f"{_type}_{_format}"
        INITIAL[_name] = ((_zero, [_zero], [[_zero]])[_rank],)
        _members[_name] = attribute(
            name=_name,
            dtype=getattr(CmdArgType, _type),
            dformat=getattr(AttrDataFormat, _format),
            fget=reader(_name),
            **described(_type, _rank),
        )

SourceDevice = type("SourceDevice", (_Base,), {**_members, "__module__": __name__})

if __name__ == "__main__":
    serve(SourceDevice, DEVICE)
