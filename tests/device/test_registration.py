"""A device put into a real Tango database as a deployment wants it."""

import json
import signal
import subprocess
import sys

import pytest
import tango

from queue_connector.device.registration import RegistrationError, wanted_devices
from tests.device.processes import process
from tests.device.tango_database import Database

NAME = "test-sdp/queueconnector/01"
PROGRAM = "import sys; from queue_connector.device.registration import main; sys.exit(main())"
MODULE = "queue_connector.device.registration"


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path)
    yield made
    made.stop()


def wanted(tmp_path, **properties):
    file = tmp_path / "devices.json"
    file.write_text(json.dumps({"pod-0": {NAME: properties}, "pod-1": {}}))
    return str(file)


def run(database, *arguments):
    return subprocess.run(
        [sys.executable, "-m", MODULE, *arguments],
        env={"TANGO_HOST": database.address},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def held(database):
    opened = tango.Database(*database.address.split(":"))
    info = opened.get_device_info(NAME)
    names = opened.get_device_property_list(NAME, "*").value_string
    found = opened.get_device_property(NAME, list(names))
    return info.ds_full_name, {name: list(value) for name, value in found.items()}


def test_the_database_holds_what_the_file_says_again_and_again(tmp_path, database):
    database.start()
    text = '{"exchanges": [], "über": "$(A) {{b}}"}\n'
    file = wanted(tmp_path, exchanges_json=text, plugins=["a", "b"], metrics_port="9123")
    assert run(database, file, "pod-0").returncode == 0
    expected = {"exchanges_json": [text], "plugins": ["a", "b"], "metrics_port": ["9123"]}
    assert held(database) == ("SDPQueueConnector/pod-0", expected)

    opened = tango.Database(*database.address.split(":"))
    opened.put_device_property(NAME, {"poll_ring_depth": ["20"]})  # Tango's own
    ended = run(database, wanted(tmp_path, metrics_port="9124"), "pod-0")
    assert ended.returncode == 0, ended.stderr
    assert "the property plugins has its default again" in ended.stderr
    assert held(database)[1] == {"metrics_port": ["9124"], "poll_ring_depth": ["20"]}


def test_it_waits_for_a_database_that_comes_late(tmp_path, database):
    file = wanted(tmp_path)
    env = {"TANGO_HOST": database.address}
    with process(tmp_path, file, "pod-0", program=PROGRAM, env=env) as running:
        running.until(lambda: "waiting for the Tango database" in running.err)
        database.start()
        assert running.ends(30) == 0
    assert held(database) == ("SDPQueueConnector/pod-0", {})


def test_sigterm_ends_the_wait(tmp_path, database):
    env = {"TANGO_HOST": database.address}
    with process(tmp_path, wanted(tmp_path), "pod-0", program=PROGRAM, env=env) as running:
        running.until(lambda: "waiting for the Tango database" in running.err)
        running.signal(signal.SIGTERM)
        assert running.ends() == 143


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "no JSON"),
        ("[]", "nothing is said of the instance 'pod-0'; there is no instance"),
        ('{"pod-1": {}}', "there is pod-1"),
        ('{"pod-0": {"a/b/c": 1}}', "a/b/c: expected its properties, found 1"),
        ('{"pod-0": {"a/b/c": {"metric_port": "1"}}}', "there is no property 'metric_port'"),
        ('{"pod-0": {"a/b/c": {"metrics_port": 1}}}', "metrics_port: expected texts, found 1"),
    ],
)
def test_what_cannot_be_used_is_told(text, told):
    with pytest.raises(RegistrationError) as caught:
        wanted_devices(text, "pod-0")
    assert told in str(caught.value)


def test_a_file_that_is_not_there_is_told_without_a_traceback(tmp_path, database):
    ended = run(database, str(tmp_path / "none.json"), "pod-0")
    assert (ended.returncode, "Traceback" in ended.stderr) == (2, False)
    assert "none.json: No such file or directory" in ended.stderr
