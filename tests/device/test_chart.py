"""What the chart has a pod run, run here: the same commands, arguments, variables and files.

There is no cluster. What only a cluster has is put in by hand: addresses are loopback's, and the
directory of the ConfigMap is one of the test's.
"""

import contextlib
import signal

import httpx
import pytest
import tango
import yaml

from tests import charts
from tests.charts import containers, environment, of_kind, rendered
from tests.device.connector import Events, close_events, eventually
from tests.device.processes import SERVER, TOOL, as_stranger, needs_root, process
from tests.device.servers import free_port
from tests.device.tango_database import Database

REGISTRATION = "import sys; from queue_connector.device.registration import main; sys.exit(main())"
PROGRAMS = {"queue-connector": TOOL, "SDPQueueConnector": SERVER, "python": REGISTRATION}
MOUNTED = "/etc/queue-connector"


class Pod:
    """The first pod of the only subarray that some values describe."""

    def __init__(self, directory, **values):
        self._directory = directory
        file = directory / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        objects = rendered(file)
        ((name, self._set),) = of_kind(objects, "StatefulSet").items()
        self.name = f"{name}-0"
        self._host = f"{self.name}.{name}.{charts.NAMESPACE}.svc"
        for file_name, text in of_kind(objects, "ConfigMap")[name]["data"].items():
            (directory / file_name).write_text(self._here(text))

    @property
    def containers(self):
        return containers(self._set)

    def _here(self, text):
        text = text.replace(self._host, "127.0.0.1").replace(MOUNTED, str(self._directory))
        return text.replace("giop:tcp::", "giop:tcp:127.0.0.1:").replace("0.0.0.0", "127.0.0.1")

    def run(self, container, under=()):
        program, *arguments = [self._here(word) for word in charts.command(container, self.name)]
        if program == "python":
            assert arguments[:2] == ["-m", "queue_connector.device.registration"]
            arguments = arguments[2:]
        directory = self._directory / container["name"]
        directory.mkdir(exist_ok=True)
        variables = environment(container, self.name)
        return process(directory, *arguments, program=PROGRAMS[program], env=variables, under=under)

    def probe(self, kind):
        """What a probe of the connector is answered now; 0 for nothing."""
        asked = self.containers[-1][f"{kind}Probe"]["httpGet"]
        ports = {one["name"]: one["containerPort"] for one in self.containers[-1]["ports"]}
        with contextlib.suppress(httpx.TransportError):
            url = f"http://127.0.0.1:{ports[asked['port']]}{asked['path']}"
            return httpx.get(url, trust_env=False).status_code
        return 0


def four_ports():
    """Free ones, as values: of the device, its events and heartbeats, and the pages."""
    while True:
        found = [free_port(), free_port(), free_port()]
        if len({*found, found[1] + 1}) == 4:
            break
    tango_port, event_port, metrics_port = found
    return {"port": tango_port, "eventPort": event_port}, {"port": metrics_port}


SUBARRAY = {
    "id": "02",
    "configuration": {
        "exchanges": [
            {
                "dtype": "int64",
                "source": {"type": "InMemorySource", "data": [*range(10_000)], "delay": 0.02},
                "sink": {"type": "TangoLocalAttributeSink", "attribute_name": "value"},
            }
        ]
    },
}


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path)
    yield made
    close_events()
    made.stop()


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
