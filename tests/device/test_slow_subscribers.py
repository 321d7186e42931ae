"""Subscribers that are stopped, slow or mute: nobody else notices, and they come back."""

import bisect
import contextlib
import itertools
import socket
import threading
import time
from pathlib import Path

import pytest
import tango

from tests.device.connector import Machine, connector
from tests.device.test_device import config, memory
from tests.faults.processes import TelescopeProcess
from tests.faults.records import Records
from tests.support.waiting import eventually

LONGEST = 0.2
"""Seconds that a fault of one client may hold up anybody else, while it has a processor."""

HURT = 3.0
"""Seconds that a client is hurt; what Tango and the kernel keep for it is full before."""

SIZES = {"spectrum": (2_100,), "image": (362, 362), "scalar": ()}


def stream(attribute, delay):
    """For longer than all tests together."""
    shape = SIZES.get(attribute, ())
    return memory(list(range(30_000)), attribute, delay=delay, dtype="float64", shape=shape)


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    exchanges = {
        "spectrum": stream("spectrum", 0.004),
        "image": stream("image", 0.02),
        "scalar": stream("scalar", 0.004),
        "other": stream("other", 0.02),
    }
    groups = {"exchanges": {name: [exchange] for name, exchange in exchanges.items()}}
    with connector(tmp_path_factory.mktemp("device"), groups) as running:
        eventually(lambda: running.proxy().state() == tango.DevState.ON)
        yield running


@pytest.fixture
def telescope(device, tmp_path):
    """Start clients that subscribe, each in a process of its own."""
    started = []

    def start(*attributes, pondering=0.0):
        client = TelescopeProcess(
            tmp_path / str(len(started)), device.device_name, attributes, pondering
        )
        started.append(client)
        client.start()
        return client

    yield start
    for client in started:
        client.kill()


def queued(pid):
    """Seconds that the threads of a process have been ready to run and had no processor."""
    waited = 0
    for thread in Path(f"/proc/{pid}/task").iterdir():
        with contextlib.suppress(OSError):  # it has just ended
            waited += int((thread / "schedstat").read_text().split()[1])
    return waited / 1e9


class Pauses:
    """The longest of a stream to another subscriber, of a read, and of ``State``, while inside.

    A server with much to do waits long for its turn on a busy machine, and so does the other
    subscriber: that does not count.
    """

    def __init__(self, device, telescope, attribute):
        self._proxy = device.proxy()
        self._pid = device.pid
        self._client = telescope("other")
        self._other = self._client.pid
        self._attribute = attribute
        self._over = threading.Event()
        self._machine = Machine()
        self._queued = []
        self.longest = {"stream": 0.0, "read": 0.0, "State": 0.0}

    def __enter__(self):
        self._after(0.0)  # Tango connects a client that has subscribed by and by
        self._machine.__enter__()
        self._began = time.time()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()
        return self

    def __exit__(self, *_exc):
        self._over.set()
        self._thread.join()
        self._machine.__exit__()
        times = [self._began, *self._after(self._began, time.time())]
        self.longest["stream"] = max(
            b - a - self._queued_by(b, last=True) + self._queued_by(a)
            for a, b in itertools.pairwise(times)
        )

    def _queued_by(self, when, last=False):
        """What both have waited for a processor until the last look before, or after."""
        index = bisect.bisect(self._queued, (when,)) - (not last)
        return self._queued[min(max(index, 0), len(self._queued) - 1)][1]

    def _after(self, began, ended=0.0):
        """When the other got what after *began*, once it got something after *ended*."""

        def times():
            found = [r.time for r in seen(self._client, "other") if r.time >= began]
            return found if found and found[-1] >= ended else []

        return eventually(times, 30)

    def short(self):
        """Whether nobody was held up; through five threads goes what is told of a datum."""
        self.longest["machine"] = self._machine.pause
        return max(self.longest.values()) <= LONGEST + 5 * self._machine.pause

    def _ask(self):
        calls = {"read": lambda: self._proxy.read_attribute(self._attribute)}
        calls["State"] = self._proxy.state
        with tango.EnsureOmniThread():
            while not self._over.wait(0.01):
                for name, call in calls.items():
                    began, before = time.monotonic(), queued(self._pid)
                    self._queued.append((time.time(), before + queued(self._other)))
                    call()
                    taken = time.monotonic() - began - (queued(self._pid) - before)
                    self.longest[name] = max(self.longest[name], taken)
            self._queued.append((time.time(), queued(self._pid) + queued(self._other)))


def seen(client, attribute):
    return [r for r in Records(client.file).read() if r.name == attribute]


def values_after(client, attribute, when):
    return [r for r in seen(client, attribute) if r.time > when and not r.value.startswith("!")]


def wait(seconds):
    time.sleep(seconds)  # that nothing happens for so long is what is tested


@pytest.mark.parametrize("attribute", SIZES)
def test_a_stopped_subscriber_holds_up_nobody_and_gets_values_again(device, telescope, attribute):
    client = telescope(attribute)
    with Pauses(device, telescope, attribute) as pauses:
        client.freeze()
        wait(HURT)
        if attribute == "spectrum":
            eventually(lambda: "does not take its events" in device.proxy().status())
    assert pauses.short(), pauses.longest
    client.thaw()
    thawed = time.time()
    # The client itself finds out that it was cut off: Tango looks every ten seconds, and tries
    # again ten seconds after a try that failed.
    eventually(
        lambda: len(values_after(client, attribute, thawed + 1)) > 10, 90, device.proxy().status
    )
    eventually(lambda: "does not take its events" not in device.proxy().status(), 5)


@pytest.mark.parametrize("attribute", ["spectrum", "scalar"])
def test_a_slow_subscriber_holds_up_nobody(device, telescope, attribute):
    telescope(attribute, pondering=1.0)
    with Pauses(device, telescope, attribute) as pauses:
        wait(HURT)
    assert pauses.short(), pauses.longest


@pytest.mark.parametrize("attribute", ["spectrum", "image"])
def test_a_connection_with_nobody_at_its_end_holds_up_nobody(device, telescope, attribute):
    """What a client leaves whose machine went away without a word, or that speaks to nobody."""
    with Pauses(device, telescope, attribute) as pauses, mute_subscriber(device, attribute) as mute:
        name = "{}:{}".format(*mute.getsockname())
        told = f"the subscriber at {name} does not take its events"
        if attribute == "image":  # what would wait for it is too much
            eventually(lambda: f"the subscriber at {name} is cut off" in device.log())
        else:
            eventually(lambda: told in device.proxy().status())
            assert told in device.log()
        wait(HURT)
        assert (told in device.proxy().status()) is (attribute == "spectrum")
    assert pauses.short(), pauses.longest


def mute_subscriber(device, attribute):
    """Subscribe as Tango and ZeroMQ do, and never read: a connection to close."""
    what = [device.proxy().dev_name(), attribute, "subscribe", "change", "6"]
    _, told = tango.DeviceProxy(device.admin_name).command_inout("ZmqEventSubscriptionChange", what)
    host, _, port = told[1].removeprefix("tcp://").partition(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.connect((host, int(port)))
    client.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
    client.recv(64, socket.MSG_WAITALL)  # a greeting, too
    ready = b"\x05READY\x0bSocket-Type\x00\x00\x00\x03SUB"
    client.sendall(bytes((4, len(ready))) + ready)
    client.recv(2 + len(ready), socket.MSG_WAITALL)  # as ready; what comes too early is refused
    topic = b"\x01" + told[2].encode()
    client.sendall(bytes((0, len(topic))) + topic)
    return client


def test_the_end_comes_in_time_while_a_subscriber_is_stopped(tmp_path):
    with connector(tmp_path, config(stream("spectrum", 0.004))) as running:
        eventually(lambda: running.proxy().state() == tango.DevState.ON)
        with mute_subscriber(running, "spectrum"):
            eventually(lambda: "does not take its events" in running.proxy().status())
            began = time.monotonic()
            running.proxy().Abort()
            assert running.proxy().state() == tango.DevState.OFF
            assert running.terminate() == 0
            assert time.monotonic() - began < 2
