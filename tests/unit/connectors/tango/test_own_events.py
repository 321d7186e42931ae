"""Events of the device's own attributes: the present value first, in order, bounded, counted."""

import json
import threading

import numpy as np
import pytest
import trio

from queue_connector.connectors.tango.inboxes import INBOX_BYTES
from queue_connector.connectors.tango.own_events import OwnEvents, is_local
from queue_connector.connectors.tango.pointing_source import (
    USUAL_DTYPE,
    TangoPointingSubscriptionSourceDescriptor,
)
from queue_connector.connectors.tango.subscription import Subscription
from queue_connector.connectors.tango.subscription_source import TangoSubscriptionSourceDescriptor
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import EndpointError
from queue_connector.model.services import Services

NUMBER = DataSpec("int64")


class Host:
    """A device that has all attributes that are asked for."""

    def __init__(self):
        self.events = OwnEvents()

    def own_events(self, device, attribute, event_type):
        return self.events


@pytest.fixture
def host():
    return Host()


def source_of(host, spec=NUMBER, **keys):
    services = Services(attributes=host)
    named = {"device_name": "a/b/c", "attribute_name": "Wanted", **keys}
    return TangoSubscriptionSourceDescriptor(**named).build(spec, services), services


async def test_the_present_value_comes_first_and_then_each_one(host):
    host.events.show("wanted", 1)
    source, services = source_of(host)
    async with source:
        assert services.condition.connected
        host.events.show("wanted", 2)
        host.events.show("other", 9)
        host.events.show("wanted", 3, event=False)
        host.events.show("wanted", 4)
        assert [await source.receive() for _ in range(3)] == [1, 2, 4]
    host.events.show("wanted", 5)
    assert not services.condition.connected


async def test_what_comes_before_it_is_stopped_can_still_be_received(host):
    host.events.show("wanted", 1)
    source, _ = source_of(host)
    await source.start()
    host.events.show("wanted", 2)
    await source.stop()
    host.events.show("wanted", 3)
    assert (await source.receive_batch()).values == [1, 2]
    with pytest.raises(trio.EndOfChannel):
        await source.receive()


async def test_beyond_its_limit_the_oldest_are_dropped_and_counted(host):
    spec = DataSpec("float64", (1_000_000,))
    source, services = source_of(host, spec)
    limit = INBOX_BYTES // 8_000_144
    value = np.zeros(1_000_000)
    host.events.show("wanted", value)
    async with source:
        for _ in range(99):
            host.events.show("wanted", value)
        batch = await source.receive_batch()
    assert len(batch.values) == limit
    assert services.account.dropped["inbox full"] == 100 - limit


async def test_so_many_pointings_may_wait_as_three_numbers_have_room(host):
    spec, services = DataSpec(json.loads(USUAL_DTYPE)), Services(attributes=host)
    source = TangoPointingSubscriptionSourceDescriptor(
        device_name="a/b/c", attribute_name="Wanted"
    ).build(spec, services)
    async with source:
        for number in range(5000):
            host.events.show("wanted", np.array([8e8 + number, 1.0, 2.0]))
        received = 0
        while received < 5000:
            received += len((await source.receive_batch()).values)
    assert not services.account.dropped


async def test_an_attribute_that_comes_and_goes_is_told(host):
    source, services = source_of(host)
    async with source:
        assert services.condition.waiting_for == "the subscription to a/b/c/Wanted"
        assert "no such attribute" in services.condition.error
        host.events.show("wanted", 1)
        assert await source.receive() == 1
        assert services.condition.connected
        host.events.hide("wanted")
        host.events.show("wanted", 2)
        assert await source.receive() == 2
        assert services.condition.connected
        assert services.account.upstream == {"error event": 1, "subscribed again": 1}


async def test_without_stateless_an_attribute_must_be_there(host):
    source, _ = source_of(host, stateless=False)
    with pytest.raises(EndpointError, match="no such attribute"):
        await source.start()
    await source.stop()


class Interrupted:
    """A mailbox: while it takes its first value, another thread changes the attribute."""

    def __init__(self, change):
        self.values = []
        self._change = threading.Thread(target=change)

    def put(self, value):
        if not self._change.ident:
            self._change.start()
            self._change.join(0.2)  # the time that it would have, if it need not wait
        self.values.append(value)

    def ends(self):
        self._change.join()
        return self.values


class Silent:
    def opened(self, *, again):
        pass


async def test_a_change_while_the_present_value_is_handed_over_follows_it(host):
    host.events.show("wanted", 1)
    mailbox = Interrupted(lambda: host.events.show("wanted", 2))
    host.events.listen(Subscription("a/b/c", "wanted", 0, mailbox, Silent()))
    assert mailbox.ends() == [1, 2]


class Device:
    def get_name(self):
        return "A/b/c"


@pytest.mark.parametrize(
    ("name", "attribute", "kind", "local"),
    [
        ("a/b/c", "x", 0, True),
        ("tango:a/B/c", "x", 3, True),
        ("a/b/c", "x", 2, False),  # periodic events come by Tango's polling
        ("a/b/c", "STATE", 0, False),
        ("a/b/d", "x", 0, False),
        ("no name", "x", 0, False),
        ("tango://db:10000/a/b/c", "x", 0, True),
        ("tango://other:10000/a/b/c", "x", 0, False),
        ("tango://127.0.0.1:45450/a/b/c#dbase=no", "x", 0, True),
        ("tango://localhost:45450/a/b/c#dbase=no", "x", 0, True),
        ("tango://127.0.0.1:45451/a/b/c#dbase=no", "x", 0, False),
        ("tango://192.0.2.1:45450/a/b/c#dbase=no", "x", 0, False),
    ],
)
def test_which_names_are_the_device_itself(monkeypatch, name, attribute, kind, local):
    where = "queue_connector.connectors.tango.own_events"
    monkeypatch.setattr(f"{where}.get_server_host_port", lambda: ("10.0.0.1", 45450))
    monkeypatch.setattr(f"{where}._databases", lambda: ["db:10000"])
    assert is_local(Device(), name, attribute, kind) is local
