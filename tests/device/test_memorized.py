"""Attributes that a real Tango database keeps from one start to the next."""

import json

import pytest
import tango

from tests.device.connector import Events, close_events
from tests.device.processes import SERVER, process
from tests.device.tango_database import Database
from tests.support.waiting import eventually

NAME = "test-sdp/queueconnector/01"


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path)
    made.start()
    made.register("SDPQueueConnector/01", NAME)
    yield made
    close_events()
    made.stop()


def described(kind, **keys):
    return {"name": "wanted", "data_type": kind, "writable": "READ_WRITE", **keys}


def memorized(kind, **keys):
    return described(kind, memorized=True, **keys)


def put(database, *attributes, exchanges=()):
    properties = {"attributes": [json.dumps(attributes)]}
    properties["exchanges_json"] = [json.dumps({"exchanges": list(exchanges)})]
    tango.Database(*database.address.split(":")).put_device_property(NAME, properties)


def served(tmp_path, database):
    return process(tmp_path, "01", program=SERVER, env={"TANGO_HOST": database.address})


def proxy_of(running, database):
    running.until(lambda: "Ready to accept request" in running.out)
    return tango.DeviceProxy(f"tango://{database.address}/{NAME}")


CASES = [
    ("DevLong", {}, 42, 43),
    ("DevDouble", {"default_value": 1.5}, 2.5, 3.5),
    ("DevString", {}, "a text", "b"),
    ("DevBoolean", {}, True, False),
    ("DevEnum", {"enum_labels": ["OFF", "ON"]}, 1, 0),
]


def test_what_a_client_wrote_is_there_after_a_kill_and_a_start(tmp_path, database):
    many = [{**memorized(kind, **keys), "name": kind} for kind, keys, *_ in CASES]
    put(database, *many, {**described("DevLong"), "name": "forgotten"})
    with served(tmp_path, database) as running:
        proxy = proxy_of(running, database)
        assert "no Tango database" not in proxy.Status()
        for kind, _, value, _ in CASES:
            proxy.write_attribute(kind, value)
        proxy.write_attribute("forgotten", 42)
    copy = {
        "dtype": "int32",
        "source": {
            "type": "TangoSubscriptionSource",
            "device_name": NAME,
            "attribute_name": "DevLong",
        },
        "sink": {"type": "TangoLocalAttributeSink", "attribute_name": "copy"},
    }
    put(database, *many, {**described("DevLong"), "name": "forgotten"}, exchanges=[copy])
    with served(tmp_path, database) as running:
        proxy = proxy_of(running, database)
        for kind, _, value, _ in CASES:
            reading = proxy.read_attribute(kind)
            assert (reading.value, reading.w_value) == (value, value), kind
        assert proxy.forgotten == 0
        eventually(lambda: proxy.read_attribute("copy").value == 42, what=proxy.Status)
        assert proxy.State() == tango.DevState.ON
        events = Events(proxy, "DevLong")
        proxy.Init()
        for kind, _, value, later in CASES:
            assert proxy.read_attribute(kind).value == value, kind
            proxy.write_attribute(kind, later)
            assert proxy.read_attribute(kind).value == later, kind
        eventually(lambda: events.values[-1] == 43)


def test_a_value_that_was_kept_of_another_type_crashes_nothing(tmp_path, database):
    put(database, memorized("DevString"))
    with served(tmp_path, database) as running:
        proxy_of(running, database).write_attribute("wanted", "no number")
    put(database, memorized("DevDouble", default_value=1.5))
    with served(tmp_path, database) as running:
        proxy = proxy_of(running, database)
        assert proxy.State() == tango.DevState.STANDBY, proxy.Status()
        proxy.write_attribute("wanted", 2.5)
        assert proxy.read_attribute("wanted").value == 2.5
        proxy.Init()
        assert proxy.read_attribute("wanted").value == 2.5
