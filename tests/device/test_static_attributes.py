"""The device property ``attributes``: there from the start, fed, written, and never removed."""

import contextlib
import json
import uuid

import numpy as np
import psutil
import pytest
import tango
from confluent_kafka import Consumer

from queue_connector.demo.embedded_broker import embedded_broker
from tests.device.connector import ARCHIVE, CHANGE, Events, close_events
from tests.device.servers import DEVICE, server
from tests.device.test_device import refusal
from tests.support.waiting import eventually

DevState = tango.DevState
READ = {"name": "seen", "data_type": "DevDouble"}
POINTING = {
    "name": "pointing_cal_SKA001",
    "data_type": "DevDouble",
    "data_format": "SPECTRUM",
    "max_dim_x": 3,
    "unit": "deg",
    "label": "Pointing",
    "description": "offsets of the dish",
}
SET = {"name": "wanted", "data_type": "DevLong", "writable": "READ_WRITE", "default_value": 7}


@pytest.fixture
def propertied(tmp_path, monkeypatch):
    """Starts a device with these properties; called again, it has others at the next Init."""
    file = tmp_path / "properties.json"
    monkeypatch.setenv("PROPERTIES", str(file))
    with contextlib.ExitStack() as stack:
        started = []

        def start(*attributes, exchanges=None, text=None):
            properties = {"attributes": [json.dumps(attributes) if text is None else text]}
            if exchanges is not None:
                properties["exchanges_json"] = [json.dumps({"exchanges": exchanges})]
            file.write_text(json.dumps(properties))
            if not started:
                started.append(stack.enter_context(server("tests.device.propertied")))
            return started[0]

        yield start
        close_events()
        assert started[0].running(), "the server crashed"
        assert started[0].terminate() == 0


def feeding(name="seen", dtype="float64", data=(1.5, 2.5), delay=0.0, shape=()):
    source = {"type": "InMemorySource", "data": list(data), "delay": delay}
    sink = {"type": "TangoLocalAttributeSink", "attribute_name": name}
    return {"dtype": dtype, "shape": list(shape), "source": source, "sink": sink}


def listening(name="wanted", dtype="int32", device=DEVICE, sink="copy", **keys):
    source = {"type": "TangoSubscriptionSource", "device_name": device, "attribute_name": name}
    target = {"type": "TangoLocalAttributeSink", "attribute_name": sink}
    return {"dtype": dtype, "source": {**source, **keys}, "sink": target}


def configured(proxy, *exchanges):
    proxy.Configure(json.dumps({"exchanges": list(exchanges)}))
    proxy.Start()
    eventually(lambda: proxy.State() != DevState.OPEN)


def test_they_are_there_from_the_start_as_they_were_described(propertied):
    proxy = propertied(READ, POINTING, SET).proxy()
    assert proxy.State() == DevState.STANDBY
    config = proxy.get_attribute_config("pointing_cal_SKA001")
    assert (config.unit, config.label, config.description) == (
        "deg",
        "Pointing",
        "offsets of the dish",
    )
    assert config.writable == tango.AttrWriteType.READ
    assert (config.data_type, config.max_dim_x) == (tango.DevDouble, 3)
    reading = proxy.read_attribute("pointing_cal_SKA001")
    assert (reading.value.tolist(), reading.quality) == ([0, 0, 0], tango.AttrQuality.ATTR_VALID)
    reading = proxy.read_attribute("wanted")
    assert (reading.value, reading.w_value) == (7, 7)
    events = Events(proxy, "pointing_cal_SKA001")  # plainly, not stateless
    assert events.values == [[0, 0, 0]]
    assert refusal(proxy.write_attribute, "seen", 1.0).reason == "API_AttrNotWritable"


WRITTEN = [
    ("DevBoolean", {}, True),
    ("DevUChar", {}, 200),
    ("DevShort", {}, -300),
    ("DevULong64", {}, 2**63 + 1),
    ("DevFloat", {}, 1.5),
    ("DevString", {}, "gr\xfcn"),
    ("DevEncoded", {}, ("fmt", b"\0\1\2")),
    ("DevEnum", {"enum_labels": ["OFF", "ON"]}, 1),
    ("DevDouble", {"data_format": "SPECTRUM", "max_dim_x": 4}, [1.5, 2.5]),
    ("DevDouble", {"data_format": "SPECTRUM", "max_dim_x": 5000}, list(range(5000))),
    ("DevString", {"data_format": "SPECTRUM", "max_dim_x": 4}, ["a", "b"]),
    ("DevBoolean", {"data_format": "SPECTRUM", "max_dim_x": 4}, [True, False]),
    ("DevShort", {"data_format": "IMAGE", "max_dim_x": 3, "max_dim_y": 2}, [[1, 2, 3], [4, 5, 6]]),
    ("DevString", {"data_format": "IMAGE", "max_dim_x": 2, "max_dim_y": 2}, [["a"], ["b"]]),
]


def plain(value):
    return value.tolist() if isinstance(value, np.ndarray) else value


def test_a_write_is_read_and_pushed_as_change_and_archive_event_whatever_its_type(propertied):
    described = [
        {"name": f"a{n}", "data_type": kind, "writable": "READ_WRITE", **keys}
        for n, (kind, keys, _) in enumerate(WRITTEN)
    ]
    proxy = propertied(*described).proxy()
    assert proxy.State() == DevState.STANDBY, proxy.Status()
    names = [f"a{n}" for n in range(len(WRITTEN))]
    subscribed = Events.each(proxy, *names, kinds=[CHANGE, ARCHIVE])
    for number, (kind, _, value) in enumerate(WRITTEN):
        proxy.write_attribute(f"a{number}", value)
        change, archive = subscribed[2 * number : 2 * number + 2]
        for events in (change, archive):
            eventually(lambda events=events: len(events.values) == 2, what=lambda k=kind: k)
        wanted = value if not isinstance(value, list) else np.array(value).tolist()
        read = proxy.read_attribute(f"a{number}").value
        for found in (read, change.values[-1], archive.values[-1]):
            if kind == "DevString" and isinstance(value, list):
                assert np.array(found).tolist() == wanted
            else:
                assert plain(found) == wanted, kind


def test_what_is_write_only_is_written_and_pushed(propertied):
    proxy = propertied({**SET, "writable": "WRITE"}).proxy()
    assert proxy.get_attribute_config("wanted").writable == tango.AttrWriteType.WRITE
    events = Events(proxy, "wanted")
    proxy.write_attribute("wanted", 9)
    eventually(lambda: events.values == [7, 9])
    assert proxy.read_attribute("wanted").value == 9


def test_a_wrong_write_is_refused_and_changes_nothing(propertied):
    spectrum = {**POINTING, "name": "three", "writable": "READ_WRITE"}
    enumeration = {
        "name": "mode",
        "data_type": "DevEnum",
        "enum_labels": ["OFF", "ON"],
        "writable": "READ_WRITE",
    }
    text = {"name": "text", "data_type": "DevString", "writable": "READ_WRITE"}
    proxy = propertied(SET, spectrum, enumeration, text).proxy()
    events = Events.each(proxy, "wanted", "three", "mode", "text")
    for name, value in (
        ("wanted", "x"),
        ("wanted", 2**40),
        ("three", [1.0, 2.0, 3.0, 4.0]),
        ("three", [[1.0]]),
        ("mode", 5),
        ("wanted", [1, 2]),
    ):
        with pytest.raises((tango.DevFailed, TypeError, ValueError, OverflowError)):
            proxy.write_attribute(name, value)
    told = refusal(proxy.write_attribute, "three", [1.0] * 4)
    assert "three" in told.desc
    assert [each.values for each in events] == [[7], [[0, 0, 0]], [0], [""]]
    assert proxy.State() == DevState.STANDBY


def test_an_exchange_feeds_it_and_never_removes_it(propertied):
    proxy = propertied(READ, SET).proxy()
    events = Events(proxy, "seen")
    configured(proxy, feeding())
    eventually(lambda: events.values == [0, 1.5, 2.5])
    eventually(lambda: proxy.State() == DevState.OFF)
    proxy.Standby()
    reading = proxy.read_attribute("seen")
    assert (reading.value, reading.quality) == (2.5, tango.AttrQuality.ATTR_VALID)
    configured(proxy, feeding("SEEN", data=[4.5]), feeding("own", data=[1]))
    eventually(lambda: events.values == [0, 1.5, 2.5, 4.5])
    eventually(lambda: proxy.State() == DevState.OFF)
    proxy.Standby()
    names = set(proxy.get_attribute_list())
    assert "seen" in names
    assert "own" not in names
    assert proxy.seen == 4.5
    assert events.errors == []


def test_all_see_one_order_while_client_and_exchange_both_write(propertied):
    proxy = propertied(SET).proxy()
    feed = feeding("wanted", "int32", range(2000), 0.0005)
    proxy.Configure(json.dumps({"exchanges": {"a": [feed], "b": [listening()]}}))
    events, copies = Events.each(proxy, "wanted", "copy")
    proxy.Start()
    written = -1
    while json.loads(proxy.groups)["a"]["state"] != "OFF":
        for _ in range(20):
            proxy.write_attribute("wanted", written)
            written -= 1
    eventually(lambda: len(events.values) == 2000 - written)
    eventually(lambda: len(copies.values) == 2001 - written)
    assert events.values[-1] == proxy.wanted
    assert [value for value in events.values if value >= 0] == [7, *range(2000)]
    assert [value for value in events.values if value < 0] == list(range(-1, written, -1))
    assert copies.values == [0, *events.values]


@pytest.mark.parametrize(
    ("exchange", "words"),
    [
        (feeding(dtype="int32", data=[1]), ("READ float64", "publish int32")),
        (feeding(shape=[3], data=[[1, 2, 3]]), ("READ float64", "publish float64[3]")),
        (feeding("blind", dtype="int32", data=[1]), ("WRITE int32", "publish int32")),
    ],
)
def test_what_differs_is_refused_with_both_sides_named(propertied, exchange, words):
    blind = {"name": "blind", "data_type": "DevLong", "writable": "WRITE"}
    proxy = propertied(READ, blind).proxy()
    config = json.dumps({"exchanges": [exchange, feeding("other", data=[1])]})
    told = refusal(proxy.Configure, config)
    for word in words:
        assert word in told.desc
    assert proxy.State() == DevState.FAULT
    assert "other" not in proxy.get_attribute_list()
    assert proxy.seen == 0
    proxy.Reset()
    assert proxy.State() == DevState.STANDBY


def test_a_conflict_of_the_properties_is_a_fault_that_reset_leaves(propertied):
    exchanges = {"bad": [feeding(dtype="int32", data=[1])], "good": [feeding("other")]}
    proxy = propertied(READ, exchanges=exchanges).proxy()
    assert proxy.State() == DevState.FAULT
    assert "READ float64" in proxy.Status()
    assert "other" not in proxy.get_attribute_list()
    proxy.Reset()
    configured(proxy, feeding())
    eventually(lambda: proxy.seen == 2.5)


def test_a_bad_property_is_a_fault_with_every_path_and_crashes_nothing(propertied):
    bad = {"name": "a", "data_type": "float", "memorized": True}
    proxy = propertied(bad, {**READ, "name": "State"}).proxy()
    assert proxy.State() == DevState.FAULT
    for told in ("property attributes: $[0].data_type", "property attributes: $[1].name"):
        assert told in proxy.Status()
    propertied(READ, text="[")
    proxy.Init()
    assert "property attributes: $: not JSON" in proxy.Status()
    proxy.Reset()
    assert proxy.State() == DevState.STANDBY
    propertied(READ)
    proxy.Init()
    assert (proxy.State(), proxy.seen) == (DevState.STANDBY, 0)


def test_over_init_what_is_described_alike_stays_and_the_rest_changes(propertied):
    gone = {"name": "gone", "data_type": "DevLong"}
    proxy = propertied(READ, SET, gone).proxy()
    events = Events(proxy, "wanted")
    proxy.write_attribute("wanted", 8)
    propertied({**READ, "data_type": "DevString"}, SET)
    proxy.Init()
    assert proxy.State() == DevState.STANDBY
    assert "gone" not in proxy.get_attribute_list()
    assert (proxy.read_attribute("seen").value, proxy.wanted) == ("", 8)
    proxy.write_attribute("wanted", 9)
    eventually(lambda: events.values == [7, 8, 9])
    propertied(SET, exchanges=[feeding("seen", data=[])])
    proxy.Init()
    assert proxy.read_attribute("seen").value == 0
    propertied(SET, READ, exchanges=[])
    proxy.Init()
    assert proxy.read_attribute("seen").value == 0
    tango.DeviceProxy(proxy.adm_name()).DevRestart(DEVICE)
    assert proxy.read_attribute("wanted").value == 9
    proxy.write_attribute("wanted", 10)
    assert proxy.read_attribute("wanted").value == 10


@pytest.mark.parametrize("form", ["a/b/c", "tango://127.0.0.1:{port}/{name}#dbase=no"])
def test_an_exchange_reads_it_without_the_network_the_present_value_first(propertied, form):
    running = propertied(SET)
    proxy = running.proxy()
    proxy.write_attribute("wanted", 8)
    device = DEVICE if form == "a/b/c" else form.format(port=running.port, name=DEVICE)
    proxy.Configure(json.dumps({"exchanges": [listening(device=device)]}))
    events = Events(proxy, "copy")
    proxy.Start()
    eventually(lambda: events.values == [0, 8])
    for value in range(100):
        proxy.write_attribute("wanted", value)
    eventually(lambda: events.values == [0, 8, *range(100)])
    ledger = json.loads(proxy.statistics)["default[0]"]
    assert (ledger["received"], ledger["delivered"]) == (101, 101)
    _, endpoints = tango.DeviceProxy(proxy.adm_name()).ZmqEventSubscriptionChange(["info"])
    ports = {int(text.rpartition(":")[2]) for text in endpoints if "tcp://" in text}
    connections = psutil.Process(running.pid).net_connections()
    assert len(ports) == 2
    assert not [each for each in connections if each.raddr and each.raddr.port in ports]


def test_what_an_exchange_reads_of_its_own_device_may_come_and_go(propertied):
    proxy = propertied(SET).proxy()
    proxy.Configure(json.dumps({"exchanges": {"a": [listening("late", "float64")]}}))
    proxy.Start()
    ends = eventually(
        lambda: "no such attribute" in json.dumps(json.loads(proxy.groups)) and proxy.groups
    )
    assert "late" in ends
    proxy.Stop()
    eventually(lambda: proxy.State() == DevState.OFF)
    both = {"a": [listening("late", "float64")], "b": [feeding("late", data=[1.5])]}
    proxy.Configure(json.dumps({"exchanges": both}))
    proxy.Start()
    eventually(lambda: proxy.copy == 1.5)


def test_what_clients_write_goes_to_kafka(propertied):
    topic = f"t{uuid.uuid4().hex[:8]}"
    with embedded_broker([topic]) as servers:
        proxy = propertied(SET).proxy()
        sink = {"type": "KafkaProducerSink", "servers": servers, "topic": topic, "encoding": "json"}
        configured(proxy, {**listening(), "sink": sink})
        for value in (8, 9):
            proxy.write_attribute("wanted", value)
        consumer = Consumer(
            {"bootstrap.servers": servers, "group.id": "x", "auto.offset.reset": "earliest"}
        )
        consumer.subscribe([topic])
        found = []
        eventually(
            lambda: ((m := consumer.poll(0.1)) and found.append(m.value())) or len(found) == 3, 20.0
        )
        consumer.close()
        assert found == [b"7", b"8", b"9"]


def test_without_a_tango_database_what_is_not_kept_is_said(propertied):
    proxy = propertied({**SET, "memorized": True}).proxy()
    assert "there is no Tango database: what is written to wanted is not kept" in proxy.Status()
    proxy.write_attribute("wanted", 8)
    assert proxy.wanted == 8
