"""Subscribes to attributes and tells what came, how late: ``python -m … DEVICE ATTRIBUTE…``.

The first element of a spectrum is the Unix time of origin, the second counts up; of anything else,
events are only counted.
"""

from __future__ import annotations

import sys
import threading
import time
from typing import Any

import numpy as np
import tango

from benchmarks.blackbox.roles.talk import listen, spread


class Subscriber:
    def __init__(self, device: str, attributes: list[str]) -> None:
        self._lock = threading.Lock()
        self._clear()
        self._proxy = tango.DeviceProxy(device)
        self._ids = [
            self._proxy.subscribe_event(name, tango.EventType.CHANGE_EVENT, self._receive)
            for name in attributes
        ]
        time.sleep(1.0)
        self._clear()

    def _clear(self) -> None:
        self.count = self.errors = self.disordered = 0
        self.first = self.last = 0.0
        self.delays: list[float] = []
        self.latest: dict[str, float] = {}

    def take(self) -> dict[str, Any]:
        with self._lock:
            found = {
                "count": self.count,
                "errors": self.errors,
                "disordered": self.disordered,
                "first": self.first,
                "last": self.last,
                "seconds": self.last - self.first,
                **spread(self.delays),
            }
            self._clear()
        return found

    def seen(self) -> int:
        return self.count

    def _receive(self, event: Any) -> None:
        now = time.time()
        with self._lock:
            if event.err:
                self.errors += 1
                return
            self.count += 1
            self.first = self.first or now
            self.last = now
            value = event.attr_value.value
            if isinstance(value, np.ndarray) and value.ndim == 1 and value[0] > 1e9:
                name = event.attr_name
                self.delays.append(now - float(value[0]))
                if value[1] <= self.latest.get(name, -1.0):
                    self.disordered += 1
                self.latest[name] = float(value[1])


def main() -> None:
    subscriber = Subscriber(sys.argv[1], sys.argv[2:])
    listen({"take": subscriber.take, "seen": subscriber.seen})


if __name__ == "__main__":
    main()
