"""Whatever a device server that we read from or write to does, the others do not notice."""

import contextlib
import subprocess
import sys
import time

import attrs
import numpy as np
import pytest
import trio

from queue_connector.connectors.tango.remote_attribute_sink import (
    TangoRemoteAttributeSinkDescriptor,
)
from queue_connector.connectors.tango.subscription_source import TangoSubscriptionSourceDescriptor
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.services import Services
from tests.device.connector import connector
from tests.device.peers import peers
from tests.device.servers import server
from tests.faults.link import Link
from tests.services.process import free_port
from tests.support.waiting import eventually

LONGEST = 0.2
"""Seconds that anything else may be held up, beside what the machine does to any process."""

IDLER = """
import sys, threading, time
ended = threading.Event()
threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
longest, before = 0.0, time.monotonic()
while not ended.is_set():
    time.sleep(0.01)
    longest, before = max(longest, time.monotonic() - before - 0.01), time.monotonic()
print(longest)
"""


@contextlib.contextmanager
def idler():
    """A process that does nothing; gives what tells the longest pause that the machine made it."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", IDLER], **pipes) as process:
        yield lambda: float(process.communicate()[0])


SOURCE = "tests.device.source_device"
TARGET = "tests.device.target_device"
BUSY = "tests.device.busy_device"
SPEC = DataSpec("float64")


@pytest.fixture(scope="module")
def healthy():
    with server(SOURCE) as running:
        yield running


def source_of(device_name, attribute, services, spec=SPEC):
    return TangoSubscriptionSourceDescriptor(
        device_name=device_name, attribute_name=attribute
    ).build(spec, services)


def sink_of(device_name, services, attribute="DevDouble_SCALAR"):
    return TangoRemoteAttributeSinkDescriptor(
        device_name=device_name, attribute_name=attribute
    ).build(SPEC, services)


class Pauses:
    """The longest pauses of a healthy stream and of the loop."""

    def __init__(self):
        self.stream = self.loop = 0.0
        self.received = 0

    async def of_the_loop(self):
        while True:
            before = time.monotonic()
            await trio.sleep(0.01)
            self.loop = max(self.loop, time.monotonic() - before - 0.01)

    async def of_the_stream(self, source):
        before = None
        while True:
            batch = await source.receive_batch()
            now = time.monotonic()
            if before is not None:
                self.stream = max(self.stream, now - before)
            before = now
            self.received += len(batch.values)

    def check(self, machine):
        assert self.received > 100
        # A datum passes a thread of the device, one of its transport's, and three of ours.
        stood = f"an unrelated stream stood still for {self.stream:.2f} s"
        assert self.stream < LONGEST + 5 * machine, stood
        assert self.loop < LONGEST + machine, f"the loop stood still for {self.loop:.2f} s"


@contextlib.asynccontextmanager
async def beside(healthy, services, seconds):
    """Measure beside a healthy stream; what is opened inside has *seconds* in all."""
    pauses = Pauses()
    source = source_of(healthy.device_name, "DevDouble_SCALAR", services)
    with idler() as longest_pause:
        async with source:
            with trio.fail_after(10):
                await source.receive()
            count = int(seconds * 100) + 500
            await trio.to_thread.run_sync(healthy.ask, "flood", "DevDouble_SCALAR", count, 0.01)
            with trio.fail_after(10):
                await source.receive()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(pauses.of_the_stream, source)
                nursery.start_soon(pauses.of_the_loop)
                async with contextlib.AsyncExitStack() as sick:
                    yield sick, nursery
                    await trio.sleep(seconds)
                    stopping = time.monotonic()
                pauses.stopped_in = time.monotonic() - stopping
                nursery.cancel_scope.cancel()
        machine = longest_pause()
    pauses.check(machine)
    told = f"stream {pauses.stream:.3f} s, loop {pauses.loop:.3f} s, machine {machine:.3f} s"
    print(f"{told}, end {pauses.stopped_in:.2f} s")


async def receive_all(source):
    with contextlib.suppress(trio.EndOfChannel):
        while True:
            await source.receive_batch()


async def open_source(sick, nursery, name, attribute, services):
    source = await sick.enter_async_context(source_of(name, attribute, services))
    nursery.start_soon(receive_all, source)


@pytest.mark.parametrize("behave", ["mute", "slow", "half-open", "locates only"])
async def test_sources_that_never_answer_hold_up_nobody(healthy, behave):
    services = Services()
    with peers(behave, 6) as sick_ones, trio.fail_after(60):
        async with beside(healthy, services, 2) as (sick, nursery):
            started = time.monotonic()
            for peer in sick_ones:
                await open_source(sick, nursery, peer.device_name, "x", services)
            assert time.monotonic() - started < 2


@pytest.mark.parametrize("behave", ["mute", "slow", "half-open", "locates only"])
async def test_targets_that_never_answer_hold_up_nobody(healthy, behave):
    services = Services()
    with peers(behave, 6) as sick_ones, trio.fail_after(60):
        async with beside(healthy, services, 2) as (sick, nursery):
            for peer in sick_ones:
                sink = await sick.enter_async_context(sink_of(peer.device_name, services))
                nursery.start_soon(sink.awrite, np.float64(1))


async def test_a_source_whose_server_is_frozen_holds_up_nobody(healthy):
    """Longer than Tango waits for a sign of life, and while others come and go."""
    services = Services()
    with server("tests.device.dish_device", "mid-dish/dish-manager/ska001") as frozen:
        with trio.fail_after(90):
            async with beside(healthy, services, 12) as (sick, nursery):
                await open_source(sick, nursery, frozen.device_name, "achievedPointing", services)
                await trio.to_thread.run_sync(frozen.freeze)

                async def come_and_go():
                    while True:
                        async with source_of(healthy.device_name, "DevLong_SCALAR", services):
                            await trio.sleep(0.5)

                nursery.start_soon(come_and_go)


async def test_a_source_behind_a_slow_line_waits_for_a_better_moment_and_says_so(healthy):
    services, slow = Services(), Services()
    with server("tests.device.dish_device", "mid-dish/dish-manager/ska001") as distant:
        link = Link(distant.port)
        try:
            link.become("slow")
            name = distant.device_name.replace(str(distant.port), str(link.port))
            receiving = attrs.evolve(slow, shared=services.shared)
            with trio.fail_after(60):
                async with beside(healthy, services, 4) as (sick, nursery):
                    await open_source(sick, nursery, name, "achievedPointing", receiving)
                    while "hold up the events of others" not in slow.condition.error:  # noqa: ASYNC110
                        await trio.sleep(0.1)
                    assert not slow.condition.connected
                    link.become("passes")
                    while not slow.condition.connected:  # noqa: ASYNC110
                        await trio.sleep(0.1)
        finally:
            link.close()


async def test_targets_that_are_frozen_hold_up_nobody_and_not_the_end():
    services = Services()
    with contextlib.ExitStack() as running, trio.fail_after(90):
        target = running.enter_context(server(TARGET, port=free_port()))
        healthy = running.enter_context(server(SOURCE))
        async with beside(healthy, services, 2) as (sick, nursery):
            sinks = [
                await sick.enter_async_context(sink_of(target.device_name, services))
                for _ in range(20)
            ]
            for sink in sinks:
                await sink.awrite(np.float64(0))
            await trio.to_thread.run_sync(target.freeze)
            for sink in sinks:
                nursery.start_soon(sink.awrite, np.float64(1))


async def test_a_device_that_is_busy_reading_holds_up_no_subscription(healthy):
    services = Services()
    with contextlib.ExitStack() as running, trio.fail_after(60):
        busy = running.enter_context(server(BUSY, "test/busy/00"))
        async with beside(healthy, services, 2) as (sick, nursery):
            for number in range(10):
                name = busy.device_name.replace("busy/00", f"busy/{number:02}")
                await open_source(sick, nursery, name, "busy", services)
            started = time.monotonic()
            brief = busy.device_name.replace("busy/00", "busy/11")
            async with source_of(brief, "brief", services) as source:
                assert await source.receive() == 2.0
            assert time.monotonic() - started < 1.5


def test_twenty_frozen_targets_hold_up_neither_state_nor_the_end(tmp_path):
    with contextlib.ExitStack() as running:
        target = running.enter_context(server(TARGET, port=free_port()))
        exchange = {
            "dtype": "float64",
            "source": {"type": "InMemorySource", "data": [1.0] * 5000, "delay": 0.05},
            "sink": {
                "type": "TangoRemoteAttributeSink",
                "device_name": target.device_name,
                "attribute_name": "DevDouble_SCALAR",
            },
        }
        connected = running.enter_context(connector(tmp_path, {"exchanges": [exchange] * 20}))

        def written():
            ledgers = connected.statistics().values()
            return all(ledger["delivered"] for ledger in ledgers)

        eventually(written, 30)
        target.freeze()
        proxy, slowest = connected.proxy(), 0.0
        for _ in range(25):
            time.sleep(0.1)
            before = time.monotonic()
            proxy.State()
            slowest = max(slowest, time.monotonic() - before)
        assert slowest < LONGEST
        before = time.monotonic()
        assert connected.terminate() == 0
        assert time.monotonic() - before < 15  # the stop grace, and what a write takes
