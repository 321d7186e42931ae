"""A Tango device that pushes consecutive numbers: ``python -m … PORT FILE [TYPE]``.

Every number is recorded in FILE before it is pushed. ``Feed`` takes the first number and the rate
in 1/s (0: as fast as it can, as many as the third number says), ``Halt`` ends it.
"""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from typing import Any

import tango
from tango.server import Device, attribute, command

from tests.device.servers import DEVICE, serve
from tests.faults.records import Recorder

TYPE = sys.argv[3] if len(sys.argv) > 3 else "DevLong64"


class NumberSource(Device):
    def init_device(self) -> None:
        super().init_device()
        self.set_state(tango.DevState.ON)
        self.set_change_event("number", True, False)
        self._recorder = Recorder(Path(sys.argv[2]))
        self._value: Any = "-1" if TYPE == "DevString" else -1
        self._halted = threading.Event()
        self._thread: threading.Thread | None = None

    @attribute(dtype=getattr(tango.CmdArgType, TYPE))
    def number(self) -> Any:
        return self._value

    @command(dtype_in="DevVarDoubleArray")
    def Feed(self, arguments: Any) -> None:
        first, rate, *count = arguments
        self._halted.clear()
        self._thread = threading.Thread(
            target=self._feed, args=(int(first), rate, int(*count)), daemon=True
        )
        self._thread.start()

    @command
    def Halt(self) -> None:
        self._halted.set()
        if self._thread is not None:
            with tango.AutoTangoAllowThreads(self):  # a push needs the monitor
                self._thread.join()
            self._thread = None

    def _feed(self, number: int, rate: float, count: int = 0) -> None:
        with tango.EnsureOmniThread():
            began, first = time.monotonic(), number
            while not self._halted.is_set() and (not count or number < first + count):
                self._recorder.write("number", number)
                self._value = str(number) if TYPE == "DevString" else number
                self.push_change_event("number", self._value)
                number += 1
                if rate:
                    late = began + (number - first) / rate - time.monotonic()
                    if late > 0:
                        time.sleep(late)


if __name__ == "__main__":
    serve(NumberSource, DEVICE)
