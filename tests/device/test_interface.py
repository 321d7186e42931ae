"""A client that is told when the device's interface changes, as Taurus and Jive are."""

import json
import random
import time

import pytest
import tango

from tests.device.connector import connector
from tests.device.test_device import config, memory
from tests.support.waiting import eventually


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
