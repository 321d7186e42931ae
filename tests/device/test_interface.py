"""Clients that follow the device's interface, as Taurus and Jive do."""

import json
import random
import threading
import time

import pytest
import tango

from tests.device.connector import connector
from tests.device.processes import SERVER, process
from tests.device.tango_database import Database
from tests.device.test_device import config, memory
from tests.support.waiting import eventually

SECONDS = 4.0


@pytest.mark.parametrize("between", ["Configure", "Init"])
def test_no_change_waits_for_those_who_are_told_of_the_one_before(tmp_path, between):
    chance, told, took = random.Random(1), [], []
    with connector(tmp_path, {}) as running:
        proxy = running.proxy()
        proxy.set_timeout_millis(10_000)
        subscription = proxy.subscribe_event(tango.EventType.INTERFACE_CHANGE_EVENT, told.append)
        for _ in range(25):
            names = [f"a{number}" for number in range(chance.randint(1, 6))]
            began = time.monotonic()
            proxy.Configure(json.dumps(config(*(memory([1], name) for name in names))))
            if between == "Init":
                time.sleep(chance.uniform(0, 0.09))
                proxy.Init()
            took.append(time.monotonic() - began)
            time.sleep(chance.uniform(0, 0.09))  # Tango tells 50 ms after a change
        # One may be slow, where the machine gives a thread no turn in time.
        assert sorted(took)[-2] < 2.0, took
        if between == "Configure":
            eventually(
                lambda: {*names} <= {each.name for each in told[-1].att_list}, what=str(told)
            )
        proxy.unsubscribe_event(subscription)


def test_a_client_that_asks_what_there_is_does_no_harm_with_a_tango_database(tmp_path):
    """There the requests come by another object adapter than without one."""
    name, names = "test-sdp/queueconnector/01", [f"a{number}" for number in range(10)]
    database = Database(tmp_path)
    database.start()
    database.register("SDPQueueConnector/01", name)
    answered, done = [], threading.Event()

    def ask():
        with tango.EnsureOmniThread():
            proxy = tango.DeviceProxy(f"tango://{database.address}/{name}")
            while not done.is_set():
                answered.append(set(proxy.get_attribute_list()) & {*names})

    environment = {"TANGO_HOST": database.address}
    with process(tmp_path, "01", program=SERVER, env=environment) as running:
        running.until(lambda: "Ready to accept request" in running.out)
        proxy = tango.DeviceProxy(f"tango://{database.address}/{name}")
        proxy.set_timeout_millis(10_000)
        asking = [threading.Thread(target=ask) for _ in range(2)]
        for each in asking:
            each.start()
        try:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end:
                proxy.Configure(json.dumps(config(*(memory([1], name) for name in names))))
                proxy.Configure(json.dumps(config()))
        finally:
            done.set()
            for each in asking:
                each.join()
            database.stop()
        # What a client is told is what there was at one moment.
        assert {len(answer) for answer in answered} == {0, len(names)}
