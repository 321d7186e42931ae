"""What subscriptions cost: for each server and each burst, never for each subscription."""

import threading

import pytest
import tango
import trio

from queue_connector.connectors.tango import client, event_client, event_server
from queue_connector.connectors.tango.event_source import TangoSubscriptionSource
from queue_connector.connectors.tango.subscription import Subscription
from queue_connector.connectors.tango.subscription_source import TangoSubscriptionSourceDescriptor
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.services import Services
from queue_connector.model.shared import Shared
from tests.device.busy_device import DEVICES
from tests.device.servers import server
from tests.support.waiting import until

SPEC = DataSpec("float64")


@pytest.fixture(scope="module")
def devices():
    with server("tests.device.busy_device", DEVICES[0]) as running:
        yield running


@pytest.fixture(scope="module")
def numbers():
    with server("tests.device.source_device") as running:
        yield running


def several(names, attribute, services):
    descriptors = [
        TangoSubscriptionSourceDescriptor(device_name=name, attribute_name=attribute)
        for name in names
    ]
    return TangoSubscriptionSource(descriptors, SPEC, services)


class Counted:
    """Counts the calls of a method, and lets them through."""

    def __init__(self, monkeypatch, owner, name):
        self.calls = 0
        original = getattr(owner, name)

        def call(*args, **kwargs):
            self.calls += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)


async def test_many_subscriptions_share_proxies_signs_of_life_and_confirmations(
    devices, monkeypatch
):
    monkeypatch.setattr(event_server, "CONFIRM", 1.0)
    links = Counted(monkeypatch, event_server, "link")
    confirmed = Counted(monkeypatch, client.ServerClient, "_confirm")
    asked = Counted(monkeypatch, event_server.Link, "ask")
    names = [devices.device_name.replace(DEVICES[0], name) for name in DEVICES]
    shared = Shared()
    services = [Services(shared=shared) for _ in names]
    with trio.fail_after(20):
        before = threading.active_count()
        async with several(names, "brief", services) as source:
            found = {}
            while len(found) < len(names):
                for number, batch in await source.receive_batches():
                    found[number] = batch.values
            assert found == {number: [2.0] for number in range(len(names))}
            assert threading.active_count() <= before + 10
            asked.calls = 0
            await trio.sleep(3.5)
    assert links.calls == 1
    assert 2 <= confirmed.calls <= 4
    assert 2 <= asked.calls <= 3.5 / event_client.SILENCE + 2


async def test_several_subscriptions_to_one_attribute_each_get_its_value(numbers):
    shared = Shared()
    services = [Services(shared=shared) for _ in range(3)]
    with trio.fail_after(10):
        await trio.to_thread.run_sync(numbers.ask, "DevDouble_SCALAR", 1.5)
        async with several([numbers.device_name] * 3, "DevDouble_SCALAR", services) as source:
            found = {}
            while len(found) < 3:
                found |= {number: batch.values for number, batch in await source.receive_batches()}
    assert found == {number: [1.5] for number in range(3)}
    assert not any(each.account.upstream for each in services)


async def test_a_burst_of_many_events_is_few_batches_in_order(numbers, monkeypatch):
    turns = Counted(monkeypatch, TangoSubscriptionSource, "_convert")
    services = [Services(shared=Shared())]
    with trio.fail_after(20):
        async with several([numbers.device_name], "DevDouble_SCALAR", services) as source:
            await source.receive()
            turns.calls = 0
            count = 2000
            await trio.to_thread.run_sync(numbers.ask, "flood", "DevDouble_SCALAR", count, 0)
            found = []
            while len(found) < count and services[0].account.upstream["missed events"] == 0:
                with trio.move_on_after(2) as waiting:
                    for _, batch in await source.receive_batches():
                        found += batch.values
                if waiting.cancelled_caught:  # Tango tells of what it has dropped with the next
                    await trio.to_thread.run_sync(numbers.ask, "DevDouble_SCALAR", float(count))
    assert found == sorted(found)
    assert turns.calls < count / 4


async def test_tango_calls_our_callback_without_a_wrapper_of_its_own(numbers):
    """Should PyTango keep its callbacks elsewhere one day, this fails and all the rest works."""
    proxy = tango.DeviceProxy(numbers.device_name)
    events = []

    def receive(event):
        events.append(event)

    kind, mode = tango.EventType.CHANGE_EVENT, tango.EventSubMode.Sync
    with tango.EnsureOmniThread():
        identifier = proxy.subscribe_event("DevLong_SCALAR", kind, lambda event: None, mode)
        try:
            assert client.receive_plainly(proxy, identifier, receive)
            assert not client.receive_plainly(proxy, identifier + 1, receive)
            await trio.sleep(0.1)
            await trio.to_thread.run_sync(numbers.ask, "DevLong_SCALAR", 7)
            with trio.fail_after(5):
                await until(lambda: events)
        finally:
            proxy.unsubscribe_event(identifier)
    assert events[0].attr_value.value == 7


async def test_python_remembers_the_thread_in_which_tango_brings_events(numbers):
    here, seen = threading.local(), []

    class Counting:
        def put(self, _item):
            here.events = getattr(here, "events", 0) + 1
            seen.append(here.events)

    kind, mode = tango.EventType.CHANGE_EVENT, tango.EventSubMode.Sync
    subscription = Subscription(numbers.device_name, "DevLong_SCALAR", kind, Counting(), None)
    proxy = tango.DeviceProxy(numbers.device_name)
    with tango.EnsureOmniThread():
        identifier = proxy.subscribe_event(
            "DevLong_SCALAR", kind, client._receiver(subscription), mode
        )
        try:
            await trio.sleep(0.1)
            for number in range(11, 14):
                before = len(seen)
                await trio.to_thread.run_sync(numbers.ask, "DevLong_SCALAR", number)
                with trio.fail_after(5):
                    await until(lambda before=before: len(seen) > before)
        finally:
            proxy.unsubscribe_event(identifier)
    assert seen[-3:] == [1, 2, 3], "else it is a new thread to Python at each event"


@pytest.mark.parametrize("found", [{}, {1: (7, None, None)}, {1: (None,)}])
def test_where_pytango_keeps_callbacks_otherwise_all_stays_as_it_is(found):
    class Proxy:
        pass

    proxy = Proxy()
    assert not client.receive_plainly(proxy, 1, print)
    proxy._subscribed_events = found
    assert not client.receive_plainly(proxy, 1, print)


async def test_pending_subscriptions_are_told_and_start_waits_a_bounded_time(monkeypatch):
    monkeypatch.setattr(event_client, "OPENING", 0.2)
    shared = Shared()
    with trio.socket.socket() as mute:
        await mute.bind(("127.0.0.1", 0))
        mute.listen(100)
        name = f"tango://127.0.0.1:{mute.getsockname()[1]}/a/b/c#dbase=no"
        services = [Services(shared=shared) for _ in range(50)]
        started = trio.current_time()
        async with several([name] * 50, "x", services):
            assert trio.current_time() - started < 1
            assert sum(each.condition.gauges["pending"]() for each in services) == 50
            assert all(each.condition.since for each in services)
            with trio.fail_after(5):
                await until(lambda: all("no answer" in each.condition.error for each in services))
