"""A plain Tango client that subscribes to attributes: ``python -m … FILE DEVICE ATTRIBUTE…``.

It records every value that it gets in FILE, and every error event as ``!REASON``. What becomes of
a subscription after the device went away is left to Tango, as with any client. Of a spectrum or an
image it records the first element. ``CALLBACK_SECONDS`` in the environment is how long it ponders
over each event.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import tango

from tests.faults.records import Recorder

READY = "ready"
_SETTLE = 0.5  # s, within which the connection that events come by is made; nobody tells when


def main(file: str, device: str, *attributes: str) -> None:
    recorder = Recorder(Path(file))
    pondering = float(os.environ.get("CALLBACK_SECONDS", "0"))
    proxy = tango.DeviceProxy(device)
    subscriptions = []

    def receiver(name: str) -> Callable[[Any], None]:
        def receive(event: Any) -> None:
            recorder.write(name, f"!{event.errors[0].reason}" if event.err else _value(event))
            time.sleep(pondering)

        return receive

    def _value(event: Any) -> Any:
        value = event.attr_value.value
        return next(value.flat) if hasattr(value, "flat") else value

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    for name in attributes:
        subscriptions.append(
            proxy.subscribe_event(
                name, tango.EventType.CHANGE_EVENT, receiver(name), tango.EventSubMode.SyncRead
            )
        )
    time.sleep(_SETTLE)
    recorder.write(READY, "-")
    signal.sigwait({signal.SIGTERM})
    for subscription in subscriptions:  # a process that exits with some may crash
        with contextlib.suppress(tango.DevFailed):
            proxy.unsubscribe_event(subscription)


if __name__ == "__main__":
    main(*sys.argv[1:])
