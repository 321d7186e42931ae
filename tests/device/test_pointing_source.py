import json

import numpy as np
import pytest
import trio

from queue_connector.connectors.tango.pointing_source import (
    USUAL_DTYPE,
    TangoPointingSubscriptionSourceDescriptor,
)
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import ConformError
from queue_connector.model.services import Services
from tests.device.servers import server

USUAL = DataSpec(json.loads(USUAL_DTYPE))


@pytest.fixture(scope="module")
def device():
    with server("tests.device.source_device") as running:
        yield running


def source_of(running, attribute):
    descriptor = TangoPointingSubscriptionSourceDescriptor(
        device_name=running.device_name, attribute_name=attribute
    )
    assert list(descriptor.faults(USUAL)) == []
    return descriptor.build(USUAL, Services())


async def ask(running, *message):
    await trio.to_thread.run_sync(running.ask, *message)


async def test_events_become_structs_and_what_is_no_pointing_is_refused_alone(device):
    name = "DevDouble_SPECTRUM"
    await ask(device, name, [0.0, 1.0, 2.0])
    with trio.fail_after(20):
        async with source_of(device, name) as source:
            first = await source.receive()
            assert first.dtype == USUAL.dtype
            assert first["antenna_name"] == "01"
            assert (first["ts"], first["az"], first["el"]) == (
                np.datetime64("2000-01-01T00:00:00", "ns"),
                1.0,
                2.0,
            )
            for value in ([1.0, 2.0], [1.5, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]):
                await ask(device, name, value)
            values, refused = [], []
            while len(values) + len(refused) < 3:
                batch = await source.receive_batch()
                values.extend(batch.values)
                refused.extend(batch.refused)
            assert [value["az"] for value in values] == [3.0]
            assert {refusal.position for refusal in refused} == {f"{device.device_name}/{name}"}
            assert "2 numbers are no pointing" in str(refused[0].error)
            await ask(device, name, [])
            with pytest.raises(ConformError):
                await source.receive()


@pytest.mark.parametrize("attribute", ["DevDouble_SCALAR", "DevDouble_IMAGE", "DevString_SPECTRUM"])
async def test_an_attribute_of_another_form_is_refused_and_not_broadcast(device, attribute):
    with trio.fail_after(20):
        async with source_of(device, attribute) as source:
            with pytest.raises(ConformError):
                await source.receive()
