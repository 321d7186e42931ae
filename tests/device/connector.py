"""The real connector in a process of its own, as ``queue-connector serve`` runs it."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import tango

from tests.device.servers import Server, launch
from tests.support.waiting import eventually

DEVICE = "test-sdp/queueconnector/01"

CONNECTING = 0.2
"""Seconds after which a client that has subscribed is connected, on a busy machine too."""

CHANGE, ARCHIVE = tango.EventType.CHANGE_EVENT, tango.EventType.ARCHIVE_EVENT


class Connector(Server):
    """Serves *configuration*; its log goes to a file beside the configuration's."""

    def __init__(
        self,
        directory: Path,
        configuration: Any,
        device: str = DEVICE,
        options: Sequence[str] = (),
        wrapper: Sequence[str] = (),
    ) -> None:
        self._options = options
        self._wrapper = wrapper
        self._config = directory / "config.json"
        self._config.write_text(json.dumps(configuration))
        self._log = directory / "connector.log"
        super().__init__("queue_connector", device)

    def start(self) -> None:
        where = ["--device", self._device, "--port", str(self.port)]
        arguments = ["serve", str(self._config), *where, *self._options]
        with self._log.open("a") as log:
            self._process = launch(self._module, *arguments, wrapper=self._wrapper, stderr=log)
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("tango://"):
                self.port = int(line.split(":")[2].split("/")[0])
                eventually(self._answers)
                return
        raise RuntimeError(f"it ended with {self._end()}:\n{self.log()}")

    def _answers(self) -> bool:
        """Whether a client gets through: not at once where its ORB still has a connection to an
        earlier server, which had the same port.
        """
        try:
            self.proxy().ping()
        except tango.DevFailed:
            return False
        return True

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """The exit status, once it has ended by itself."""
        return self._end()

    def log(self) -> str:
        return self._log.read_text()

    def statistics(self) -> Any:
        return self._told("statistics")

    def groups(self) -> Any:
        return self._told("groups")

    def _told(self, attribute: str) -> Any:
        """What an attribute tells; PyTango's short form would hide why it cannot be read."""
        proxy = self.proxy()
        proxy.set_timeout_millis(10_000)  # where several people test at once
        return json.loads(proxy.read_attribute(attribute).value)

    def resources(self) -> tuple[int, int]:
        """Threads and file descriptors of the process."""
        process = psutil.Process(self.pid)
        return process.num_threads(), process.num_fds()


@contextlib.contextmanager
def connector(directory: Path, configuration: Any, **options: Any) -> Iterator[Connector]:
    running = Connector(directory, configuration, **options)
    try:
        yield running
    finally:
        # A subscription to a server that has gone holds back the events of all others.
        close_events()
        running.kill()


class Machine:
    """How long the machine itself held up a thread that only sleeps, while inside."""

    def __init__(self) -> None:
        self.pause = 0.0
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Machine:
        self._thread.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        last = time.monotonic()
        while not self._over.wait(0.005):
            now = time.monotonic()
            self.pause, last = max(self.pause, now - last), now


_subscribed: list[Events] = []


def close_events() -> None:
    """Take back every subscription that a test has made."""
    while _subscribed:
        _subscribed.pop().close()


class Events:
    """What a subscribed client received, in order."""

    def __init__(
        self, proxy: Any, attribute: str, kind: Any = None, connecting: float = CONNECTING
    ) -> None:
        self.values: list[Any] = []
        self.errors: list[str] = []
        self._proxy = proxy
        kind = CHANGE if kind is None else kind
        self._id = proxy.subscribe_event(attribute, kind, self._receive)
        _subscribed.append(self)
        # Tango returns before the connection is there that events come by, and tells nobody when
        # it is; what is pushed until then is lost to this client.
        time.sleep(connecting)

    @classmethod
    def each(cls, proxy: Any, *attributes: str, kinds: Sequence[Any] = (None,)) -> list[Events]:
        """Of each attribute those of each kind; all are waited for together."""
        found = [cls(proxy, name, kind, connecting=0) for name in attributes for kind in kinds]
        time.sleep(CONNECTING)
        return found

    def _receive(self, event: Any) -> None:
        if event.err:
            self.errors.append(event.errors[0].reason)
        else:
            value = event.attr_value.value
            self.values.append(value.tolist() if hasattr(value, "tolist") else value)

    def close(self) -> None:
        self._proxy.unsubscribe_event(self._id)
