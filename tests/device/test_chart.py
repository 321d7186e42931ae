"""A pod registers its device, serves it, and is started again: see `tests.device.pods`."""

import signal

import pytest
import tango

from tests.device.connector import Events, close_events
from tests.device.pods import STREAM, Pod, four_ports
from tests.device.processes import as_stranger, needs_root
from tests.device.tango_database import Database
from tests.support.waiting import eventually

SUBARRAY = {"id": "02", "configuration": STREAM}


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path)
    yield made
    made.stop()
    close_events()


def registered(pod, under=()):
    register, _ = pod.containers
    with pod.run(register, under) as running:
        return running.ends(60), running.err


def receives(proxy):
    """A client is sent events."""
    events = Events(proxy, "value")
    eventually(lambda: len(events.values) > 5, 30)
    assert events.errors == []
    close_events()


def test_a_pod_registers_its_device_and_streams_and_is_started_again(tmp_path, database):
    ports, metrics = four_ports()
    settings = {"host": database.address, **ports}
    pod = Pod(tmp_path, subarrays=[SUBARRAY], tango=settings, metrics=metrics)
    register, connector = pod.containers
    with pod.run(register) as running:
        running.until(lambda: "waiting for the Tango database" in running.err)
        database.start()
        assert running.ends(60) == 0, running.err
    proxy = tango.DeviceProxy(f"tango://{database.address}/test-sdp/queueconnector/02")
    for ends_by in signal.SIGKILL, signal.SIGTERM:
        assert pod.probe("liveness") == 0
        with pod.run(connector) as running:
            running.until(lambda: pod.probe("startup") == 200)
            running.until(lambda: pod.probe("readiness") == 200)
            running.until(lambda: "Ready to accept request" in running.out)
            receives(proxy)
            assert proxy.info().server_id == f"SDPQueueConnector/{pod.name}"
            running.signal(ends_by)
            assert running.ends(60) == (0 if ends_by is signal.SIGTERM else -signal.SIGKILL)
        assert registered(pod)[0] == 0  # as it does before each start


def test_a_pod_without_a_database_serves_at_its_ports(tmp_path):
    ports, metrics = four_ports()
    pod = Pod(tmp_path, subarrays=[SUBARRAY], tango=ports, metrics=metrics)
    (connector,) = pod.containers
    with pod.run(connector) as running:
        told = f"tango://127.0.0.1:{ports['port']}/test-sdp/queueconnector/02#dbase=no"
        assert running.address() == told
        running.until(lambda: pod.probe("readiness") == 200)
        receives(tango.DeviceProxy(told))
        running.signal(signal.SIGTERM)
        assert running.ends(60) == 0


@needs_root
def test_the_registration_needs_no_name_and_nothing_that_it_could_write(tmp_path, database):
    database.start()
    ports, metrics = four_ports()
    settings = {"host": database.address, **ports}
    pod = Pod(tmp_path, subarrays=[SUBARRAY], tango=settings, metrics=metrics)
    frozen = 'mount --make-rprivate / && mount -o remount,ro,bind / && exec "$@"'
    under = ["unshare", "--mount", "bash", "-c", frozen, "bash", *as_stranger()]
    assert registered(pod, under)[0] == 0
