"""A Tango client that asks one device again and again: ``python -m … FILE DEVICE ATTRIBUTE``.

It records in FILE how long each question took, in milliseconds, under what was asked: ``read`` of
the attribute, ``State``, and ``command``, one that the device's loop answers. An error is recorded
as ``!REASON`` too.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path

import tango

from tests.faults.records import Recorder

READY = "ready"
PERIOD = 0.05  # s between two rounds of questions
TIMEOUT = 20_000  # ms; longer than any pause that is measured


def main(file: str, device: str, attribute: str) -> None:
    recorder = Recorder(Path(file))
    proxy = tango.DeviceProxy(device)
    proxy.ping()
    proxy.set_timeout_millis(TIMEOUT)
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    questions = {
        "read": lambda: proxy.read_attribute(attribute),
        "State": proxy.State,
        "command": proxy.IsMonitoringDB,
    }
    recorder.write(READY, "-")
    while not ended.wait(PERIOD):
        for name, ask in questions.items():
            began = time.monotonic()
            try:
                ask()
            except tango.DevFailed as error:
                recorder.write(name, f"!{error.args[0].reason}")
            recorder.write(name, round(1000 * (time.monotonic() - began)))


if __name__ == "__main__":
    main(*sys.argv[1:])
