import json
import logging
import threading
import time

import numpy as np
import pytest
import trio

from queue_connector.configuration.document import examine
from queue_connector.connectors.tango import attribute_writer as module
from queue_connector.connectors.tango.remote_attribute import RefusedError
from queue_connector.connectors.tango.remote_attribute_sink import (
    TangoRemoteAttributeSinkDescriptor,
)
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.delivery import Delivery
from queue_connector.model.errors import ConformError
from queue_connector.model.services import Services
from tests.device import values
from tests.device.servers import server

MODULE = "tests.device.target_device"


@pytest.fixture(scope="module")
def device():
    with server(MODULE) as running:
        yield running


def sink_of(running, attribute, spec, services=None, **options):
    descriptor = TangoRemoteAttributeSinkDescriptor(
        device_name=running.device_name, attribute_name=attribute, **options
    )
    assert list(descriptor.faults(spec)) == []
    return descriptor.build(spec, services or Services())


async def ask(running, *message):
    return await trio.to_thread.run_sync(running.ask, *message)


@pytest.mark.parametrize(("name", "spec", "expected"), values.CASES, ids=values.NAMES)
async def test_every_type_and_format_is_written_exactly(device, name, spec, expected):
    with trio.fail_after(20):
        async with sink_of(device, name, spec) as sink:
            delivery = Delivery(expected)
            await sink.awrite_batch(delivery)
        written = await ask(device, "written", name)
    taken = []
    for index, value in enumerate(expected):
        if isinstance(value, np.ndarray | np.floating) and not finite(value):
            assert "NaN or INF" in str(delivery.refused[index])  # Tango's rule for what is written
        else:
            taken.append(value)
    assert sum(delivery.accepted) == len(taken)
    for found, value in zip(written, taken, strict=True):
        values.assert_same(found, value)


def finite(value):
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


@pytest.mark.parametrize("dtype", ["float32", "float64"])
async def test_finite_floats_are_written_exactly(device, dtype):
    extremes = np.array([np.finfo(dtype).max, np.finfo(dtype).smallest_subnormal, -0.0, 0.1], dtype)
    name = {"float32": "DevFloat", "float64": "DevDouble"}[dtype]
    with trio.fail_after(20):
        async with sink_of(device, f"{name}_SPECTRUM", DataSpec(dtype, (4,))) as sink:
            await sink.awrite(extremes)
        async with sink_of(device, f"{name}_SCALAR", DataSpec(dtype)) as sink:
            await sink.awrite_batch(Delivery(list(extremes)))
        [spectrum] = await ask(device, "written", f"{name}_SPECTRUM")
        scalars = await ask(device, "written", f"{name}_SCALAR")
    values.assert_same(spectrum, extremes)
    assert list(map(repr, scalars)) == [repr(item.item()) for item in extremes]


async def test_a_batch_is_written_in_order_each_datum_once(device):
    data = [np.float64(number) for number in range(500)]
    with trio.fail_after(30):
        async with sink_of(device, "DevDouble_SCALAR", DataSpec("float64")) as sink:
            delivery = Delivery(data)
            await sink.awrite_batch(delivery)
        assert all(delivery.accepted)
        assert await ask(device, "written", "DevDouble_SCALAR") == data


async def test_a_refusal_costs_its_own_datum_alone(device):
    data = np.array([1, -13, 3], "i4")
    with trio.fail_after(20):
        async with sink_of(device, "DevLong_SCALAR", DataSpec("int32")) as sink:
            delivery = Delivery(list(data))
            await sink.awrite_batch(delivery)
            with pytest.raises(RefusedError, match="-13 on purpose"):
                await sink.awrite(data[1])
        assert delivery.accepted == [True, False, True]
        assert "-13 on purpose [Test_Refused]" in str(delivery.refused[1])
        assert await ask(device, "written", "DevLong_SCALAR") == [1, 3]


@pytest.mark.parametrize(
    ("attribute", "value", "reason"),
    [
        ("nothing", np.float64(1), "API_AttrNotFound"),
        ("fixed", np.float64(1), "API_AttrNotWritable"),
        ("DevDouble_LIMITED", np.float64(11), "API_WAttrOutsideLimit"),
        ("State", np.float64(1), "DevState, which is not supported"),
    ],
)
async def test_what_the_device_does_not_take_is_refused(device, attribute, value, reason):
    with trio.fail_after(20):
        async with sink_of(device, attribute, DataSpec("float64")) as sink:
            with pytest.raises(RefusedError, match=reason):
                await sink.awrite(value)


@pytest.mark.parametrize(
    ("attribute", "spec", "value", "expected"),
    [
        ("DevShort_SCALAR", DataSpec("int64"), np.int64(-300), -300),
        ("DevUChar_SPECTRUM", DataSpec("int64", (3,)), np.array([0, 255]), [0, 255]),
        ("DevDouble_SCALAR", DataSpec("int64"), np.int64(7), 7.0),
        ("DevFloat_SCALAR", DataSpec("float64"), np.float64(0.5), 0.5),
        ("DevLong_SCALAR", DataSpec("bool"), np.bool_(True), 1),
        ("mode", DataSpec("int64"), np.int64(1), 1),
        ("DevDouble_SPECTRUM", DataSpec(">f8", (2,)), np.array([1, 2], ">f8"), [1.0, 2.0]),
    ],
)
async def test_a_value_is_cast_to_the_type_of_the_attribute(
    device, attribute, spec, value, expected
):
    with trio.fail_after(20):
        async with sink_of(device, attribute, spec) as sink:
            await sink.awrite(value)
        [found] = await ask(device, "written", attribute)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("attribute", "spec", "value", "reason"),
    [
        ("DevUChar_SCALAR", DataSpec("int64"), np.int64(300), "out of range"),
        ("DevLong_SCALAR", DataSpec("float64"), np.float64(0.5), "does not cast"),
        ("DevFloat_SCALAR", DataSpec("float64"), np.float64(1e300), "out of range"),
        ("DevLong_SCALAR", DataSpec("str"), "5", "does not cast|no common type|fit"),
        ("DevString_SCALAR", DataSpec("str"), "Ω", "Latin-1"),
        ("DevString_SCALAR", DataSpec("str"), "a\0b", "NUL"),
        ("DevDouble_SPECTRUM", DataSpec("float64", (5,)), np.zeros(5), "do not broadcast"),
        ("DevDouble_SPECTRUM", DataSpec("float64"), np.float64(1), "format SPECTRUM"),
        ("DevString_SPECTRUM", DataSpec("str"), "text", "format SPECTRUM"),
        ("DevDouble_SCALAR", DataSpec("float64", (1,)), np.zeros(1), "format SCALAR"),
        ("DevDouble_IMAGE", DataSpec("float64", (3,)), np.zeros(3), "format IMAGE"),
    ],
)
async def test_a_value_that_the_attribute_would_spoil_is_refused_here(
    device, attribute, spec, value, reason
):
    with trio.fail_after(20):
        async with sink_of(device, attribute, spec) as sink:
            with pytest.raises(ConformError, match=reason):
                await sink.awrite(value)
        assert await ask(device, "written", attribute) == []


async def test_a_device_that_is_away_is_awaited_and_nothing_is_lost_over_a_restart(caplog):
    caplog.set_level(logging.INFO)
    with server(MODULE) as running:
        await trio.to_thread.run_sync(running.kill)
        with trio.fail_after(60):
            async with sink_of(running, "DevLong_SCALAR", DataSpec("int32")) as sink:
                delivery = Delivery([np.int32(1), np.int32(2)])
                with trio.move_on_after(1.5) as scope:
                    await sink.awrite_batch(delivery)
                assert scope.cancelled_caught
                assert delivery.untold == 2
                assert len(caplog.records) <= 2  # each trouble is told once
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(sink.awrite_batch, delivery)
                    await trio.to_thread.run_sync(running.start)
                    back = time.monotonic()
                assert time.monotonic() - back < 10
                assert delivery.accepted == [True, True]
                assert await ask(running, "written", "DevLong_SCALAR") == [1, 2]
                for number in (3, 4):  # idle while it was gone, the connection is stale
                    await trio.to_thread.run_sync(running.kill)
                    await trio.to_thread.run_sync(running.start)
                    await sink.awrite(np.int32(number))
                    assert await ask(running, "written", "DevLong_SCALAR") == [number]
    assert "written again" in caplog.text


async def test_a_kill_in_the_middle_of_a_stream_loses_nothing_that_was_accepted_later():
    with server(MODULE) as running:
        with trio.fail_after(60):
            # A server that was given its port, and did not choose it, can have it again at once
            # even when clients have left connections behind.
            await trio.to_thread.run_sync(running.kill)
            await trio.to_thread.run_sync(running.start)
            async with sink_of(running, "DevLong_SCALAR", DataSpec("int32")) as sink:
                delivery = Delivery([np.int32(number) for number in range(20)])
                await ask(running, "delay", 0.1)
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(sink.awrite_batch, delivery)
                    await trio.sleep(0.55)
                    await trio.to_thread.run_sync(running.kill)
                    accepted = sum(delivery.accepted)
                    assert 0 < accepted < 20
                    await trio.to_thread.run_sync(running.start)
                assert all(delivery.accepted)
                written = await ask(running, "written", "DevLong_SCALAR")
                # The answer to one more may have been on its way when they were counted.
                assert written == list(range(20 - len(written), 20))
                assert 19 - accepted <= len(written) <= 20 - accepted


async def test_a_cancelled_write_ends_soon_and_says_how_far_it_came(device):
    with trio.fail_after(30):
        async with sink_of(device, "DevLong_SCALAR", DataSpec("int32")) as sink:
            await sink.awrite(np.int32(0))
            await ask(device, "delay", 0.05)
            delivery = Delivery([np.int32(number) for number in range(1000)])
            with trio.move_on_after(0.5) as scope:
                await sink.awrite_batch(delivery)
        assert scope.cancelled_caught
        await ask(device, "delay", 0.0)
        written = (await ask(device, "written", "DevLong_SCALAR"))[1:]
        assert 0 < len(written) < 50
        assert sum(delivery.accepted) == len(written)


async def test_a_frozen_device_is_survived_and_cancelling_meanwhile_is_bounded():
    with server(MODULE) as running:
        with trio.fail_after(60):
            async with sink_of(running, "DevLong_SCALAR", DataSpec("int32"), timeout=0.5) as sink:
                await sink.awrite(np.int32(0))
                await trio.to_thread.run_sync(running.freeze)
                started = time.monotonic()
                with trio.move_on_after(1) as scope:
                    await sink.awrite(np.int32(1))
                assert scope.cancelled_caught
                assert time.monotonic() - started < 8
                running.thaw()
                await sink.awrite(np.int32(2))
                written = await ask(running, "written", "DevLong_SCALAR")
    assert (written[0], written[-1]) == (0, 2)  # the cancelled one may have arrived, even twice
    assert set(written) <= {0, 1, 2}


async def test_a_slow_device_gets_more_time_which_holds_for_what_comes_after(device):
    services = Services()
    with trio.fail_after(30):
        await ask(device, "delay", 0.8)
        try:
            async with sink_of(
                device, "DevLong_SCALAR", DataSpec("int32"), services, timeout=0.5
            ) as sink:
                delivery = Delivery([np.int32(number) for number in (1, 2, 3)])
                await sink.awrite_batch(delivery)
        finally:
            await ask(device, "delay", 0.0)
        assert all(delivery.accepted)
        written = await ask(device, "written", "DevLong_SCALAR")
    assert written[-2:] == [2, 3]  # once each
    assert 2 <= written.count(1) <= 3
    assert services.condition.connected is False
    assert "Timeout" in services.condition.error


async def test_a_device_that_never_says_that_it_has_a_value_ends_the_tries(device):
    services = Services()
    with trio.fail_after(30):
        async with sink_of(
            device, "DevLong_SCALAR", DataSpec("int32"), services, timeout=0.1, tries=2
        ) as sink:
            await sink.awrite(np.int32(0))
            await ask(device, "delay", 1.5)
            try:
                delivery = Delivery([np.int32(1)])
                await sink.awrite_batch(delivery)
                assert "waits for" not in services.condition.waiting_for
            finally:
                await ask(device, "delay", 0.0)
            assert "said nothing to 2 tries, of 0.2 s in the end" in str(delivery.refused[0])
            await trio.sleep(3.5)  # it is still busy with what it was given
            await sink.awrite(np.int32(2))
        written = await ask(device, "written", "DevLong_SCALAR")
    assert (written[0], written[-1]) == (0, 2)


async def test_starting_writing_and_stopping_leaves_no_thread_behind(device):
    with trio.fail_after(30):
        before = None
        for _ in range(20):
            async with sink_of(device, "DevLong_SCALAR", DataSpec("int32")) as sink:
                await sink.awrite(np.int32(1))
            await sink.stop()
            before = before or threading.active_count()
        assert threading.active_count() <= before
        await ask(device, "written", "DevLong_SCALAR")


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [
        ("object", []),
        ("complex64", []),
        ("int8", []),
        ("datetime64[ns]", []),
        ([["a", "int8"]], []),
        ("float64", [-1]),
        ("float64", [2, 2, 2]),
    ],
)
def test_what_tango_cannot_carry_is_a_fault(dtype, shape):
    sink = {"type": "TangoRemoteAttributeSink", "device_name": "a/b/c", "attribute_name": "x"}
    source = {"type": "InMemorySource", "data": []}
    exchange = {"dtype": dtype, "shape": shape, "source": source, "sink": sink}
    [fault] = examine(json.dumps({"exchanges": [exchange]})).faults
    assert fault.path == "$.exchanges[0].sink"


def test_malformed_names_are_faults():
    descriptor = TangoRemoteAttributeSinkDescriptor(device_name="a/b", attribute_name="x y")
    paths = [fault.path for fault in descriptor.faults(DataSpec("str"))]
    assert paths == ["$.device_name", "$.attribute_name"]
    assert module.RETRY_MOST <= 10
