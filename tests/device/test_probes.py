"""What an orchestrator asks a real device, and what it is answered."""

import subprocess
import sys

import httpx
import pytest

from queue_connector.observability.healthcheck import PORT
from tests.device.connector import connector
from tests.device.processes import SERVER, process
from tests.device.tango_database import Database
from tests.device.test_device import config, endless, memory
from tests.services.process import free_port
from tests.support.waiting import eventually


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def ask(port):
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=10) as client:

        def answer(path):
            try:
                told = client.get(path)
            except httpx.TransportError:
                return 0, "nobody listens"
            return told.status_code, told.text

        yield answer


def served(tmp_path, configuration, port):
    return connector(tmp_path, configuration, options=["--metrics-port", str(port)])


def check(port):
    return subprocess.run(
        [sys.executable, "-m", "queue_connector.observability.healthcheck"],
        env={PORT: str(port)},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_device_that_streams_is_ready(tmp_path, port, ask):
    with served(tmp_path, config(endless()), port):
        eventually(lambda: ask("/ready")[1].startswith("ON\ndefault: ON, 1 exchange"))
        assert ask("/ready")[0] == 200
        assert ask("/live") == (200, "alive\n")


def test_one_whose_group_is_at_fault_lives_and_is_not_ready_and_names_the_group(
    tmp_path, port, ask
):
    groups = {"bad": [memory(["Ω"], dtype="str")], "good": [endless("good")]}
    with served(tmp_path, {"exchanges": groups}, port):
        eventually(lambda: "bad: FAULT" in ask("/ready")[1])
        status, text = ask("/ready")
        assert status == 503
        assert text.startswith("FAULT\nbad: FAULT, 1 exchange: bad[0]")
        assert "\ngood: O" in text  # of this one nothing is wrong
        assert ask("/live")[0] == 200


def test_one_that_waits_for_its_broker_is_ready(tmp_path, port, ask):
    sink = {"type": "KafkaProducerSink", "servers": "127.0.0.1:1", "topic": "t", "encoding": "json"}
    exchange = {**endless(), "sink": sink}
    with served(tmp_path, config(exchange), port):
        eventually(lambda: "waits for" in ask("/ready")[1], 30, lambda: ask("/ready"))
        assert ask("/ready")[0] == 200


def test_the_check_of_the_image_asks_the_device(tmp_path, port):
    with served(tmp_path, config(endless()), port):
        eventually(lambda: check(port).returncode == 0)
        assert check(port).stdout == f"port {port} answers 200\n"
    ended = check(port)
    assert ended.returncode == 1
    assert f"port {port} does not answer" in ended.stdout
    assert check("").returncode == 0
    assert check("none").returncode == 1


def test_the_pages_are_served_while_the_configuration_database_is_away(tmp_path, port, ask):
    """A device that a probe would start again could not wait for it."""
    database = Database(tmp_path)
    database.start()
    name = "test-sdp/queueconnector/01"
    database.register("SDPQueueConnector/01", name)
    database.put(name, metrics_port=str(port), exchanges_config_path="/component/x/owner")
    env = {"TANGO_HOST": database.address, "SDP_CONFIG_HOST": "127.0.0.1", "SDP_CONFIG_PORT": "1"}
    try:
        with process(tmp_path, "01", program=SERVER, env=env):
            eventually(lambda: "/component/x/owner: not watched" in ask("/ready")[1], 30)
            assert ask("/ready")[0] == 200
    finally:
        database.stop()
