import contextlib
import logging
import threading
import time

import numpy as np
import pytest
import trio

from queue_connector.connectors.tango import event_server, inboxes
from queue_connector.connectors.tango.event_source import TangoSubscriptionSource
from queue_connector.connectors.tango.subscription_source import TangoSubscriptionSourceDescriptor
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import ConformError, EndpointError
from queue_connector.model.services import Services
from tests.device import values
from tests.device.servers import server
from tests.services.process import free_port

MODULE = "tests.device.source_device"


@pytest.fixture(scope="module")
def device():
    with server(MODULE) as running:
        yield running


def describe(running, attribute, **keys):
    return TangoSubscriptionSourceDescriptor(
        device_name=running.device_name, attribute_name=attribute, **keys
    )


def source_of(running, attribute, spec, services=None, **keys):
    return describe(running, attribute, **keys).build(spec, services or Services())


async def ask(running, *message):
    await trio.to_thread.run_sync(running.ask, *message)


@pytest.mark.parametrize(("name", "spec", "expected"), values.CASES, ids=values.NAMES)
async def test_every_type_and_format_arrives_exactly_as_event_and_as_current_value(
    device, name, spec, expected
):
    with trio.fail_after(20):
        async with source_of(device, name, spec) as source:
            await source.receive()  # what an earlier test has left
            for value in expected:
                await ask(device, name, values.plain(value))
                values.assert_same(await source.receive(), value)
        async with source_of(device, name, spec) as again:
            values.assert_same(await again.receive(), expected[-1])


@pytest.mark.parametrize("etype", [0, "CHANGE_EVENT", 3, "ARCHIVE_EVENT"])
async def test_the_type_of_event_may_be_a_number_or_a_name(device, etype):
    with trio.fail_after(20):
        async with source_of(device, "DevLong_SCALAR", DataSpec("int32"), etype=etype) as source:
            await source.receive()
            await ask(device, "DevLong_SCALAR", 7)
            assert await source.receive() == 7


@pytest.mark.parametrize("etype", [1, 5, 7, -1, "DATA_READY_EVENT", "CHANGE", ""])
def test_an_event_type_without_a_value_is_a_fault(device, etype):
    (fault,) = describe(device, "x", etype=etype).faults(DataSpec("int32"))
    assert fault.path == "$.etype"
    assert "CHANGE_EVENT" in fault.hint


@pytest.mark.parametrize(
    "name",
    ["", "a", "a/b", "a//c", "a/b/c/d", "a b/c/d", "tango://host/a/b/c", "a/b/c#dbase=maybe"],
)
def test_a_malformed_device_name_is_a_fault(name):
    descriptor = TangoSubscriptionSourceDescriptor(device_name=name, attribute_name="x")
    assert [fault.path for fault in descriptor.faults(DataSpec("str"))] == ["$.device_name"]


@pytest.mark.parametrize(
    "name",
    ["mid-dish/leaf/SKA001", "tango://127.0.0.1:1/a/b/c#dbase=no", "//h:1/a/b/c", "h:1/a/b/c.d"],
)
def test_a_device_name_with_and_without_a_host_is_read(name):
    descriptor = TangoSubscriptionSourceDescriptor(device_name=name, attribute_name="x")
    assert list(descriptor.faults(DataSpec("str"))) == []


@pytest.mark.parametrize(
    "spec",
    [
        DataSpec("object"),
        DataSpec("complex64"),
        DataSpec("int8"),
        DataSpec("bytes", (2,)),
        DataSpec("float64", (2, 2, 2)),
    ],
)
def test_what_tango_cannot_carry_is_a_fault(device, spec):
    assert [fault.path for fault in describe(device, "x").faults(spec)] == ["$"]


async def test_a_batch_holds_what_came_together_in_order(device):
    spec = DataSpec("float64")
    with trio.fail_after(20):
        async with source_of(device, "DevDouble_SCALAR", spec) as source:
            await source.receive()
            await ask(device, "flood", "DevDouble_SCALAR", 500, 0)
            found: list[float] = []
            while len(found) < 500:
                found.extend((await source.receive_batch()).values)
    assert found == list(range(500))


@pytest.mark.parametrize("age", [5.0, -5.0])
async def test_what_was_read_never_comes_behind_what_is_younger(device, age):
    """Devices may stamp their events with a time of their own; arrival is the only order."""
    spec = DataSpec("float64")
    with trio.fail_after(30):
        for _ in range(4):
            await ask(device, "late", "DevDouble_SCALAR", 60, 0.01, age)
            found = []
            async with source_of(device, "DevDouble_SCALAR", spec) as source:
                while not found or found[-1] < 59:
                    found.append(await source.receive())
            assert found == sorted(set(found))


async def test_a_cancelled_receive_loses_nothing(device):
    spec = DataSpec("float64")
    found: list[float] = []
    with trio.fail_after(30):
        async with source_of(device, "DevDouble_SCALAR", spec) as source:
            await source.receive()
            await ask(device, "flood", "DevDouble_SCALAR", 500, 0.001)
            turn = cut = 0
            while len(found) < 500:
                turn += 1
                with trio.move_on_after(0.0007 * (turn % 5)) as scope:
                    found.extend((await source.receive_batch()).values)
                cut += scope.cancelled_caught
    assert cut > 10
    assert found == list(range(500))


async def test_an_error_event_is_counted_and_logged_once_and_never_received(device, caplog):
    services = Services()
    caplog.set_level(logging.WARNING)
    with trio.fail_after(20):
        async with source_of(device, "DevDouble_SCALAR", DataSpec("float64"), services) as source:
            await source.receive()
            for _ in range(3):
                await ask(device, "fail", "DevDouble_SCALAR")
            await ask(device, "DevDouble_SCALAR", 2.5)
            assert await source.receive() == 2.5
    assert services.account.upstream["error event"] == 3
    assert [r.message for r in caplog.records if "on purpose" in r.message] == [
        f"exchange: {device.device_name}/DevDouble_SCALAR: on purpose [Test_Failed]"
    ]


async def test_invalid_quality_is_counted_as_dropped(device):
    services = Services()
    with trio.fail_after(20):
        async with source_of(device, "DevDouble_SCALAR", DataSpec("float64"), services) as source:
            await source.receive()
            await ask(device, "invalid", "DevDouble_SCALAR")
            await ask(device, "DevDouble_SCALAR", 3.5)
            assert await source.receive() == 3.5
    assert services.account.dropped == {"invalid quality": 1}
    assert services.account.balanced


async def test_a_value_that_does_not_fit_is_refused_with_its_position(device):
    with trio.fail_after(20):
        await ask(device, "DevLong_SCALAR", 300)
        async with source_of(device, "DevLong_SCALAR", DataSpec("uint8")) as source:
            batch = await source.receive_batch()
            assert not batch.values
            assert batch.refused[0].position == f"{device.device_name}/DevLong_SCALAR"
            await ask(device, "DevLong_SCALAR", -1)
            with pytest.raises(ConformError, match="out of range"):
                await source.receive()
            await ask(device, "DevLong_SCALAR", 44)
            assert await source.receive() == np.uint8(44)


async def test_a_full_inbox_drops_the_oldest_and_counts_them(device, monkeypatch):
    monkeypatch.setattr(inboxes, "MOST_EVENTS", 10)
    services = Services()
    with trio.fail_after(20):
        async with source_of(device, "DevDouble_SCALAR", DataSpec("float64"), services) as source:
            await source.receive()
            await ask(device, "flood", "DevDouble_SCALAR", 100, 0)
            await trio.sleep(1)
            batch = await source.receive_batch()
    assert batch.values == list(range(90, 100))
    assert services.account.dropped == {"inbox full": 90}


async def test_what_came_before_a_stop_is_received_after_it_then_the_stream_ends(device):
    with trio.fail_after(20):
        source = source_of(device, "DevLong_SCALAR", DataSpec("int32"))
        async with source:
            await source.receive()
            await ask(device, "DevLong_SCALAR", 1)
            await ask(device, "DevLong_SCALAR", 2)
            await trio.sleep(0.3)
        await source.stop()
        await ask(device, "DevLong_SCALAR", 3)
        assert (await source.receive_batch()).values == [1, 2]
        with pytest.raises(trio.EndOfChannel):
            await source.receive_batch()


async def test_a_stop_ends_a_receive_that_waits(device):
    async def receive_all(source: TangoSubscriptionSource) -> None:
        with contextlib.suppress(trio.EndOfChannel):
            while True:
                await source.receive_batch()

    with trio.fail_after(20):
        for attribute in ("DevLong_SCALAR", "nothing"):  # subscribed to, and tried again and again
            async with trio.open_nursery() as nursery:
                source = source_of(device, attribute, DataSpec("int32"))
                await source.start()
                nursery.start_soon(receive_all, source)
                await trio.sleep(0.5)
                await source.stop()


async def test_without_stateless_a_failing_first_subscription_is_an_error(device):
    with trio.fail_after(20):
        source = source_of(device, "nothing", DataSpec("int32"), stateless=False)
        with pytest.raises(EndpointError, match="nothing"):
            await source.start()
        await source.stop()


async def test_a_device_that_is_not_there_yet_is_awaited():
    with server(MODULE, port=free_port()) as running:
        await trio.to_thread.run_sync(running.kill)
        with trio.fail_after(40):
            async with source_of(running, "DevLong_SCALAR", DataSpec("int32")) as source:
                with trio.move_on_after(2) as scope:
                    await source.receive()
                assert scope.cancelled_caught
                await trio.to_thread.run_sync(running.start)
                assert await source.receive() == 0


@pytest.mark.parametrize("away", [0.0, 5.0])
async def test_a_device_that_is_killed_and_restarted_is_subscribed_to_again(away):
    spec = DataSpec("int32")
    with server(MODULE, port=free_port()) as running:
        with trio.fail_after(60):
            async with source_of(running, "DevLong_SCALAR", spec) as source:
                assert await source.receive() == 0
                await ask(running, "DevLong_SCALAR", 5)
                assert await source.receive() == 5
                await trio.to_thread.run_sync(running.kill)
                with trio.move_on_after(away):
                    await source.receive()
                await trio.to_thread.run_sync(running.start)
                back = time.monotonic()
                assert await source.receive() == 0  # the new server's current value
                assert time.monotonic() - back < 10
                await ask(running, "DevLong_SCALAR", 6)
                assert await source.receive() == 6


@pytest.mark.parametrize("away", [0.0, 0.5])
async def test_an_attribute_that_is_removed_and_made_again_is_heard_again(monkeypatch, away):
    """Of one that was away for a moment, Tango tells nobody."""
    monkeypatch.setattr(event_server, "CONFIRM", 2.0)
    services = Services()
    with server("tests.device.shifting_device") as running, trio.fail_after(30):
        async with source_of(running, "shifting", DataSpec("int32"), services) as source:
            assert await source.receive() == 0
            await ask(running, "push", 1)
            assert await source.receive() == 1
            await trio.sleep(0.3)
            await ask(running, "remove")
            await trio.sleep(away)
            await ask(running, "add")
            again = time.monotonic()
            await ask(running, "push", number := 2)
            with trio.move_on_after(12):
                while True:
                    with trio.move_on_after(0.5) as waiting:
                        assert await source.receive() == number
                    if not waiting.cancelled_caught:
                        break
                    await ask(running, "push", number := number + 1)
            taken = time.monotonic() - again
            await ask(running, "push", number := number + 1)
            assert await source.receive() == number
    if away:
        assert number == 3
        assert services.account.upstream["subscribed again"] == 1
    assert taken < 4


async def test_a_frozen_device_is_survived_and_a_stop_meanwhile_is_bounded():
    with server(MODULE) as running:
        with trio.fail_after(60):
            async with source_of(running, "DevLong_SCALAR", DataSpec("int32")) as source:
                await source.receive()
                await trio.to_thread.run_sync(running.freeze)
                with trio.move_on_after(6):
                    await source.receive()
                stopping = time.monotonic()
                await source.stop()
                assert time.monotonic() - stopping < 10


async def test_starting_and_stopping_leaves_no_thread_and_no_event_behind(device):
    async def cycle() -> None:
        async with source_of(device, "DevLong_SCALAR", DataSpec("int32")) as source:
            await source.receive()

    with trio.fail_after(60):
        for _ in range(5):
            await cycle()
        await trio.sleep(0.2)
        before = threading.active_count()
        for _ in range(20):
            await cycle()
        assert threading.active_count() <= before
