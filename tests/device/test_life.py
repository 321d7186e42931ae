"""How the device begins, ends and begins again: properties, Init, RestartServer, its own FAULT."""

import itertools
import json
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
import tango

from tests.device.connector import connector
from tests.device.servers import server
from tests.device.test_device import config, endless, refusal
from tests.support.waiting import eventually

DevState = tango.DevState


@pytest.fixture
def propertied(tmp_path, monkeypatch):
    """Starts a device with these properties; with ``change`` it has others at the next Init."""
    file = tmp_path / "properties.json"
    monkeypatch.setenv("PROPERTIES", str(file))
    started = []

    def start(**properties):
        file.write_text(json.dumps(properties))
        if not started:
            started.append(server("tests.device.propertied"))
            started.append(started[0].__enter__())
        return started[1]

    yield start
    started[0].__exit__(None, None, None)


BAD = [
    ("stop_grace", "abc", "expected seconds from 0 to 3600"),
    ("stop_grace", "-5", "expected seconds from 0 to 3600"),
    ("stop_grace", "nan", "expected seconds from 0 to 3600"),
    ("metrics_port", "abc", "expected a port from 0 to 65535"),
    ("metrics_port", "70000", "expected a port from 0 to 65535"),
    ("flows", "maybe", "expected one of auto, on, off"),
    ("flow_states", "x", "expected one of on, off"),
    ("exchanges_config_path", "no/slash", "a path begins with /"),
    ("exchanges_config_path", "/a//b", "a path has a name after every /"),
]


def test_a_property_that_asks_for_what_is_not_there_is_a_fault_that_says_so(propertied):
    proxy = propertied().proxy()
    for properties, told in (
        ({"plugins": ["nowhere"]}, "the property plugins: the plugin 'nowhere' is not installed"),
        ({"flows": "on"}, "the property flows is 'on'; subarray_id must say of which subarray"),
    ):
        propertied(**properties)
        proxy.Init()
        assert proxy.State() == DevState.FAULT, properties
        assert told in proxy.Status()


def test_bad_properties_are_a_fault_that_names_each_with_what_is_allowed(propertied):
    running = propertied()
    proxy = running.proxy()
    for name, value, expected in BAD:
        propertied(**{name: value})
        proxy.Init()
        assert proxy.State() == DevState.FAULT, (name, value)
        assert f"the property {name} is '{value}'; {expected}" in proxy.Status().replace(
            "; expected a path", "; a path"
        )
    propertied(stop_grace="3", exchanges_json=[json.dumps(config(endless()))])
    proxy.Init()
    eventually(lambda: proxy.State() == DevState.ON)


def test_bad_properties_at_the_start_are_a_fault_that_reset_leaves(propertied):
    proxy = propertied(stop_grace="abc", metrics_port="x").proxy()
    assert proxy.State() == DevState.FAULT
    for told in ("stop_grace is 'abc'", "metrics_port is 'x'"):
        assert told in proxy.Status()
    proxy.Reset()
    assert proxy.State() == DevState.STANDBY
    assert "stop_grace" not in proxy.Status()
    assert refusal(proxy.Reset).reason == "StateError"
    proxy.Configure(json.dumps(config(endless())))
    proxy.Start()
    eventually(lambda: proxy.State() == DevState.ON)


def test_reset_leaves_the_fault_of_a_backend_that_does_not_exist(propertied, monkeypatch):
    monkeypatch.setenv("SDP_CONFIG_BACKEND", "etcd33")
    proxy = propertied(exchanges_config_path="/component/x/owner").proxy()
    eventually(lambda: proxy.State() == DevState.FAULT)
    assert "etcd33" in proxy.Status()
    proxy.Reset()
    assert proxy.State() == DevState.STANDBY


def test_it_streams_again_after_restart_server(tmp_path):
    with connector(tmp_path, config(endless())) as running:
        eventually(lambda: running.proxy().value > 10)
        threads = running.resources()[0]

        def value():
            try:
                return running.proxy().value
            except (tango.DevFailed, AttributeError):  # it is not there just now
                return None

        for _ in range(2):
            last = value()
            tango.DeviceProxy(running.admin_name).RestartServer()
            eventually(lambda last=last: 0 < (value() or 0) < last)
            eventually(lambda: running.proxy().state() == DevState.ON)
            eventually(lambda last=last: value() > last)
        assert running.resources()[0] <= threads + 2


def test_two_inits_at_once_leave_one_connector(tmp_path):
    with connector(tmp_path, config(endless("a"), endless("b"), endless("c"))) as running:
        eventually(lambda: running.proxy().state() == DevState.ON)
        threads = running.resources()[0]
        outcomes = at_once(4, lambda: running.proxy().Init())
        assert outcomes.count("") >= 1, outcomes
        eventually(lambda: running.proxy().state() == DevState.ON)
        before = [running.proxy().read_attribute(name).value for name in "abc"]
        for name, value in zip("abc", before, strict=True):
            eventually(lambda name=name, value=value: running.proxy()[name].value > value)
        eventually(lambda: running.resources()[0] <= threads + 4)  # workers of the ORB


def at_once(count, call):
    """What each of many threads got: an error's reason, or nothing."""
    outcomes = []

    def run():
        with tango.EnsureOmniThread():
            try:
                call()
                outcomes.append("")
            except tango.DevFailed as error:
                outcomes.append(error.args[0].reason)

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_an_init_while_the_server_starts_is_done(tmp_path, monkeypatch):
    file = tmp_path / "properties.json"
    file.write_text(json.dumps({"exchanges_json": [json.dumps(config(endless("a")))]}))
    monkeypatch.setenv("PROPERTIES", str(file))
    with server("tests.device.asked_early") as running:  # does not start where it is refused
        eventually(lambda: running.proxy().state() == DevState.ON)
        assert running.terminate() == 0


HAMMERING = float(os.environ.get("TANGO_HAMMER_SECONDS", "6"))
"""Seconds that many clients command at once."""


def test_many_clients_with_init_among_their_commands(tmp_path):
    """None waits for long, nothing is left behind, the end comes."""
    with connector(tmp_path, config(endless("a"), endless("b"))) as running:
        eventually(lambda: running.proxy().state() == DevState.ON)
        names = ["Init", "Start", "Stop", "Abort", "Reset", "Standby", "State", "Status"]
        unexpected = []
        end = time.monotonic() + HAMMERING

        def hammer(client):
            proxy = running.proxy()
            proxy.set_timeout_millis(10_000)  # where several people test at once
            turn = client
            while time.monotonic() < end:
                turn += 1
                try:
                    proxy.command_inout(names[turn % len(names)])
                except tango.DevFailed as error:
                    reason = error.args[0].reason
                    if reason not in ("StateError", "LoopStoppedError", "ClosedError"):
                        unexpected.append(f"{names[turn % len(names)]}: {error.args[0]}")

        clients = iter(range(20))
        lock = threading.Lock()

        def client():
            with lock:
                number = next(clients)
            hammer(number)

        at_once(20, client)
        assert not unexpected, (unexpected[:5], len(unexpected))
        proxy = running.proxy()
        proxy.Init()
        eventually(lambda: proxy.State() == DevState.ON)
        assert running.resources()[0] < 80
        assert running.terminate() == 0


@pytest.mark.parametrize("commands", [["Init"], ["Abort", "Start"], ["State"], []])
def test_the_end_comes_in_order_whatever_clients_ask_meanwhile(tmp_path, commands):
    """Tango deletes a device by the thread of the last client that is inside it, if ever.

    A device that streams on when it has been deleted corrupts the heap.
    """

    def ask():
        proxy = running.proxy()
        for command in itertools.cycle(commands or [None]):
            try:
                proxy.command_inout(command) if command else proxy.read_attribute("statistics")
            except tango.DevFailed:
                if over.wait(0.01):
                    return

    for _ in range(3):
        with connector(tmp_path, config(*map(endless, "abcde"))) as running:
            eventually(lambda: running.proxy().state() == DevState.ON)
            over = threading.Event()
            with ThreadPoolExecutor() as pool:
                asking = pool.submit(at_once, 6, ask)
                wait([asking], 0.5)  # in the midst of it
                try:
                    status = running.terminate()
                finally:
                    over.set()
            assert (status, asking.result()) == (0, [""] * 6), running.log()
            assert "raised" not in running.log()
