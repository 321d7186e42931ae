"""Connectors that divide a list of real subscriptions among them."""

import json

import pytest
import trio

from queue_connector.configuration import document
from queue_connector.connector import open_connector
from queue_connector.connectors.memory.sink import InMemorySink
from tests.device.servers import server
from tests.support.waiting import until

ATTRIBUTES = ("DevShort_SCALAR", "DevLong_SCALAR", "DevLong64_SCALAR")


@pytest.fixture(scope="module")
def device():
    with server("tests.device.source_device") as running:
        yield running


def configuration(device, share):
    sources = [
        {
            "type": "TangoSubscriptionSource",
            "device_name": device.device_name,
            "attribute_name": name,
        }
        for name in ATTRIBUTES
    ]
    sink = {"type": "InMemorySink", "key": f"division {share}"}
    exchange = {"dtype": "int64", "source": sources, "sink": sink, "share": share}
    return document.parse(json.dumps({"exchanges": [exchange]}))


async def test_each_attribute_is_subscribed_to_by_one_of_two_connectors(device):
    shares = ("1/2", "2/2")
    received = {share: InMemorySink.data(f"division {share}") for share in shares}
    with trio.fail_after(30):
        async with open_connector() as one, open_connector() as other:
            for share, connector in zip(shares, (one, other), strict=True):
                await connector.supervisor.configure(configuration(device, share))
                await connector.supervisor.start()
            await until(lambda: [len(found) for found in received.values()] == [2, 1])
            for number, name in enumerate(ATTRIBUTES, 101):
                await trio.to_thread.run_sync(device.ask, name, number)
            await until(lambda: [len(found) for found in received.values()] == [4, 2])
    assert sorted(received["1/2"])[-2:] == [101, 103]
    assert received["2/2"][-1] == 102
