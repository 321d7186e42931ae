"""Devices that a Tango database knows: found, lost, and found again where they are then."""

import os
import signal
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest
import tango
import trio

from queue_connector.connectors.tango.directory import Directory, default_database
from queue_connector.connectors.tango.locate import Address, reach
from queue_connector.connectors.tango.remote_attribute_sink import (
    TangoRemoteAttributeSinkDescriptor,
)
from queue_connector.connectors.tango.subscription_source import TangoSubscriptionSourceDescriptor
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import EndpointError
from queue_connector.model.services import Services
from tests.device.peers import peers
from tests.device.servers import DEVICE, ROOT
from tests.device.test_process import Database
from tests.support.waiting import until

SERVE = """
from tango.server import run
from tests.device.{module} import {name}
run(({name},), args=["{name}", "1"])
"""


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path)
    made.start()
    yield made
    made.stop()


def register(database, class_name, device):
    host, port = database.address.split(":")
    found = tango.DbDevInfo()
    found.name, found._class, found.server = device, class_name, f"{class_name}/1"
    tango.Database(host, int(port)).add_device(found)


@contextmanager
def served(database, module, class_name):
    """A server whose address nobody but the database knows."""
    code = SERVE.format(module=module, name=class_name)
    environment = {**os.environ, "TANGO_HOST": database.address}
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", code],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stdout:
            if "Ready" in line:
                break
        yield process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def name_of(database, device=DEVICE):
    return f"tango://{database.address}/{device}"


async def test_a_source_finds_its_device_where_the_database_says_it_is(database):
    register(database, "SourceDevice", DEVICE)
    services = Services()
    source = TangoSubscriptionSourceDescriptor(
        device_name=name_of(database), attribute_name="DevLong_SCALAR"
    ).build(DataSpec("int32"), services)
    with trio.fail_after(40):
        async with source:
            assert "not running" in services.condition.error
            for _ in range(2):
                with served(database, "source_device", "SourceDevice") as process:
                    assert await source.receive() == 0
                    assert services.condition.connected
                    process.send_signal(signal.SIGKILL)
                    await until(lambda: not services.condition.connected)
    assert services.account.upstream["subscribed again"] == 1


async def test_a_sink_finds_its_device_where_the_database_says_it_is(database):
    register(database, "TargetDevice", DEVICE)
    sink = TangoRemoteAttributeSinkDescriptor(
        device_name=name_of(database), attribute_name="DevLong_SCALAR"
    ).build(DataSpec("int32"), Services())
    with trio.fail_after(40):
        async with sink:
            for number in range(2):
                with served(database, "target_device", "TargetDevice"):
                    await sink.awrite(np.int32(number))


async def test_a_device_that_nobody_knows_is_told_so(database):
    directory = Directory()
    with trio.fail_after(10), pytest.raises(EndpointError, match="not defined"):
        await directory.find(name_of(database, "no/such/device"))


async def test_a_database_that_never_answers_is_told_from_one_that_does(database):
    host, port = database.address.split(":")
    await reach(Address(host, int(port)), "database")
    with (
        peers("mute", 1) as (mute,),
        trio.fail_after(10),
        pytest.raises(EndpointError, match="no answer"),
    ):
        await Directory().find(f"tango://127.0.0.1:{mute.port}/a/b/c")


def test_the_database_of_a_short_name_is_that_of_the_process(monkeypatch):
    monkeypatch.setenv("TANGO_HOST", "first:10000,second:10001")
    assert default_database() == Address("first", 10000)
    monkeypatch.setenv("TANGO_HOST", "nowhere")
    with pytest.raises(EndpointError, match="TANGO_HOST"):
        default_database()
