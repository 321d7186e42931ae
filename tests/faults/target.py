"""A Tango device whose attributes are written, one for each route: ``python -m … PORT FILE``.

Every value that is taken is recorded in FILE. ``Refuse`` takes a number: multiples of it are
refused from then on; 0 refuses nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import tango
from tango import AttrWriteType
from tango.server import Device, attribute, command

from tests.device.servers import DEVICE, serve
from tests.faults.records import Recorder


class NumberTarget(Device):
    def init_device(self) -> None:
        super().init_device()
        self.set_state(tango.DevState.ON)
        self._recorder = Recorder(Path(sys.argv[2]))
        self._refused = 0

    kafka_to_remote = attribute(
        dtype="DevLong64", access=AttrWriteType.WRITE, fset="write_from_kafka"
    )
    tango_to_remote = attribute(
        dtype="DevLong64", access=AttrWriteType.WRITE, fset="write_from_tango"
    )

    def write_from_kafka(self, value: int) -> None:
        self._take("kafka_to_remote", value)

    def write_from_tango(self, value: int) -> None:
        self._take("tango_to_remote", value)

    @command(dtype_in="DevLong64")
    def Refuse(self, multiples: int) -> None:
        self._refused = multiples

    def _take(self, name: str, value: int) -> None:
        if self._refused and value > 0 and value % self._refused == 0:
            tango.Except.throw_exception("Test_Refused", f"{value} on purpose", "the test")
        self._recorder.write(name, value)


if __name__ == "__main__":
    serve(NumberTarget, DEVICE)
