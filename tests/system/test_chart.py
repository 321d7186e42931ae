"""Pods of the chart that follow a real etcd, with a real Tango database: killed, and replaced."""

import functools
import json

import pytest
import tango

from tests.device.connector import Events, close_events
from tests.device.pods import STREAM, Pod, four_ports
from tests.device.processes import needs_root
from tests.device.tango_database import Database
from tests.support.waiting import eventually


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path)
    made.start()
    yield made
    made.stop()
    close_events()


def started(pod, under=()):
    register, connector = pod.containers
    with pod.run(register) as running:
        assert running.ends(60) == 0, running.err
    return pod.run(connector, under)


def values(database, etcd, **subarray):
    ports, metrics = four_ports()
    host, _, port = etcd.endpoint.removeprefix("http://").partition(":")
    path = "/component/lmc-queueconnector-{}/owner"
    return {
        "tango": {"host": database.address, **ports},
        "metrics": metrics,
        "configDatabase": {"host": host, "port": int(port)},
        "subarrays": [{"configPath": path, **subarray}],
    }


def configure(etcd, subarray):
    path = f"/component/lmc-queueconnector-{subarray}/owner/chart"
    etcd.etcdctl("put", f"4{path}", json.dumps(STREAM))


def streams(device):
    """Not at once where the client still has a connection to an earlier server at this address."""
    try:
        return device.read_attribute("State").value == tango.DevState.ON
    except tango.DevFailed:
        return False


def up(running, pod, database, name):
    """The device of a pod, once it is ready."""
    running.until(lambda: "Ready to accept request" in running.out)
    running.until(lambda: pod.probe("readiness") == 200)
    return tango.DeviceProxy(f"tango://{database.address}/test-sdp/queueconnector/{name}")


def test_the_second_pod_streams_when_the_first_has_been_killed(tmp_path, database, etcd):
    settings = values(database, etcd, id="01", standby=True)
    pods = [Pod(tmp_path, number, **settings) for number in range(2)]
    configure(etcd, "01")
    with started(pods[0]) as first:
        active = up(first, pods[0], database, "01")
        eventually(lambda: streams(active), 30)
        with started(pods[1]) as second:
            waiting = up(second, pods[1], database, "01-standby")
            assert not streams(waiting)
            first.kill()
            eventually(lambda: streams(waiting), 60)
            events = Events(waiting, "value")
            eventually(lambda: len(events.values) > 5, 30)
            assert pods[1].probe("readiness") == 200
            close_events()


@needs_root
def test_a_container_that_was_killed_streams_again(tmp_path, database, etcd):
    """As process 1 of its container each time: nobody can see that the earlier one has ended."""
    pod = Pod(tmp_path, **values(database, etcd, id="02"))
    configure(etcd, "02")
    container = ["unshare", "--pid", "--fork", "--kill-child"]
    for _ in range(2):
        with started(pod, container) as running:
            device = up(running, pod, database, "02")
            eventually(functools.partial(streams, device), 60)
            running.kill()
