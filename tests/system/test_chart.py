"""Two pods of the chart, of which one stands by, on a real etcd and a real Tango database."""

import json

import pytest
import tango

from tests.device.connector import Events, close_events, eventually
from tests.device.pods import Pod, four_ports
from tests.device.tango_database import Database

PATH = "/component/lmc-queueconnector-01/owner"
CONFIGURATION = {
    "exchanges": [
        {
            "dtype": "int64",
            "source": {"type": "InMemorySource", "data": [*range(10_000)], "delay": 0.02},
            "sink": {"type": "TangoLocalAttributeSink", "attribute_name": "value"},
        }
    ]
}


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path)
    made.start()
    yield made
    close_events()
    made.stop()


def started(pod):
    register, connector = pod.containers
    with pod.run(register) as running:
        assert running.ends(60) == 0, running.err
    return pod.run(connector)


def up(running, pod, database, name):
    """The device of a pod, once it is ready."""
    running.until(lambda: "Ready to accept request" in running.out)
    running.until(lambda: pod.probe("readiness") == 200)
    return tango.DeviceProxy(f"tango://{database.address}/test-sdp/queueconnector/{name}")


def test_the_second_pod_streams_when_the_first_has_been_killed(tmp_path, database, etcd):
    ports, metrics = four_ports()
    host, _, port = etcd.endpoint.removeprefix("http://").partition(":")
    values = {
        "tango": {"host": database.address, **ports},
        "metrics": metrics,
        "configDatabase": {"host": host, "port": int(port)},
        "subarrays": [
            {
                "id": "01",
                "standby": True,
                "configPath": "/component/lmc-queueconnector-{}/owner",
            }
        ],
    }
    pods = [Pod(tmp_path, number, **values) for number in range(2)]
    etcd.etcdctl("put", f"4{PATH}/chart", json.dumps(CONFIGURATION))
    with started(pods[0]) as first:
        active = up(first, pods[0], database, "01")
        eventually(lambda: active.State() == tango.DevState.ON, 30)
        with started(pods[1]) as second:
            waiting = up(second, pods[1], database, "01-standby")
            assert waiting.State() != tango.DevState.ON
            first.kill()
            eventually(lambda: waiting.State() == tango.DevState.ON, 60)
            events = Events(waiting, "value")
            eventually(lambda: len(events.values) > 5, 30)
            assert pods[1].probe("readiness") == 200
            close_events()
