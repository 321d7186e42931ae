"""The scatter sinks in a running device, read by a Tango client in another process."""

import json
import math

import msgpack
import msgpack_numpy
import numpy as np
import pytest
import tango

from queue_connector.connectors.tango.types import OWN_ATTRIBUTES
from queue_connector.demo.embedded_broker import embedded_broker
from tests.device.connector import Events, connector
from tests.device.test_examples import example
from tests.support.kafka_topics import produce
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def broker():
    with embedded_broker() as servers:
        yield servers


def streaming(running):
    proxy = running.proxy()
    eventually(lambda: str(proxy.State()) == "ON", 30)
    return proxy


def delivered(running):
    return running.statistics()["default[0]"]["delivered"]


def test_receiver_statistics(tmp_path, broker):
    configuration = example("receiver-statistics.json", broker)
    with connector(tmp_path, configuration) as running:
        proxy = streaming(running)
        attributes = configuration["exchanges"][0]["sink"]["attributes"]
        names = [attribute["attribute_name"] for attribute in attributes]
        assert len(names) == 9
        assert proxy.receiver_state == "unknown"
        scans, states = Events.each(proxy, "scan_id", "receiver_state")
        first = {
            "type": "visibility_receive",
            "state": "receiving",
            "time": 1769860800.25,
            "processing_block_id": "pb-test-20260131-00000",
            "execution_block_id": "eb-test-20260131-00000",
            "subarray_id": "01",
            "scan_id": 1,
            "payloads_received": 3_000_000_000,
            "time_slices": 12,
            "time_since_last_payload": math.nan,
        }
        # Another sender's message, and one without a state: neither may change what is shown.
        other = {"type": "plasma", "state": "lost", "scan_id": 99}
        second = {"type": "visibility_receive", "scan_id": 2, "state": None}
        payloads = [json.dumps(message).encode() for message in (first, other, second)]
        produce(broker, "receiver-statistics", payloads)  # to one partition, which keeps the order
        eventually(lambda: scans.values == [0, 1, 2], 30)
        assert states.values == ["unknown", "receiving"]
        assert delivered(running) == 3
        values = {name: proxy.read_attribute(name).value for name in names}
        assert math.isnan(values.pop("time_since_last_payload"))
        assert values == {
            "receiver_state": "receiving",
            "last_update": 1769860800.25,
            "processing_block_id": "pb-test-20260131-00000",
            "execution_block_id": "eb-test-20260131-00000",
            "subarray_id": "01",
            "scan_id": 2,
            "payloads_received": 3_000_000_000,
            "time_slices": 12,
        }


def offsets(dtype, rows):
    """A pipeline's message: one struct for each dish, with every field but three at random."""
    message = np.zeros(len(rows), [(entry[0], entry[1]) for entry in dtype])
    for name in message.dtype.names[1:]:
        message[name] = np.random.default_rng(1).random(len(rows))
    for index, (antenna, *values) in enumerate(rows):
        message["antenna_name"][index] = antenna
        for name, value in zip(("last_scan_index", "xel_offset", "el_offset"), values, strict=True):
            message[name][index] = value
    return msgpack.packb(message, default=msgpack_numpy.encode)


def test_pointing_calibration(tmp_path, broker):
    configuration = example("pointing-calibration.json", broker)
    dtype = configuration["exchanges"][0]["dtype"]
    assert [entry[1] for entry in dtype] == ["U8", *["float64"] * 13]
    with connector(tmp_path, configuration) as running:
        proxy = streaming(running)
        config = proxy.get_attribute_config("pointing_cal_SKA001")
        assert config.data_type == tango.CmdArgType.DevDouble
        assert config.data_format == tango.AttrDataFormat.SPECTRUM
        assert config.max_dim_x == 3
        dishes = ("SKA001", "SKA036", "SKA063", "SKA100")
        names = [f"pointing_cal_{dish}" for dish in dishes]
        events = dict(zip(dishes, Events.each(proxy, *names), strict=True))
        messages = [
            # A dish that nobody asked for, another order, NaN; SKA063 is absent.
            offsets(
                dtype, [("SKA999", 9, 9, 9), ("SKA036", 5, math.nan, -0.5), ("SKA001", 5, 1, 2)]
            ),
            offsets(dtype, [("SKA001", 6, 3, 4), ("SKA100", 6, math.inf, 5e-324)]),
            offsets(dtype, []),
        ]
        produce(broker, "pointing-offset", messages)
        eventually(lambda: delivered(running) == 3, 30)
        nothing = [math.nan] * 3
        expected = {
            "SKA001": [nothing, [5, 1, 2], [6, 3, 4]],
            "SKA036": [nothing, [5, math.nan, -0.5]],
            "SKA063": [nothing],
            "SKA100": [nothing, [6, math.inf, 5e-324]],
        }
        for dish, values in expected.items():
            count = len(values)
            eventually(lambda dish=dish, count=count: len(events[dish].values) >= count)
            np.testing.assert_equal(events[dish].values, values)
            np.testing.assert_equal(proxy.read_attribute(f"pointing_cal_{dish}").value, values[-1])
        # Of a message that does not fit nothing is shown, and the fault says which part it was.
        produce(broker, "pointing-offset", [msgpack.packb([["SKA001", 7]])])
        eventually(lambda: str(proxy.State()) == "FAULT", 30)
        assert len(events["SKA001"].values) == 3


def scattering(data, dtype, shape, sink):
    source = {"type": "InMemorySource", "data": data, "delay": 0.2}
    return {"exchanges": [{"dtype": dtype, "shape": shape, "source": source, "sink": sink}]}


def test_the_parts_of_an_array(tmp_path):
    sink = {
        "type": "TangoSplitAttributeSink",
        "attribute_names": ["first", "second", "third"],
        "attribute_shape_names": ["first_shape", "second_shape", "third_shape"],
        "indices": [1, 3],
        "default_value": "nan",
    }
    datum = np.arange(10.0).reshape(5, 2).tolist()
    with connector(tmp_path, scattering([datum], "float64", [5, 2], sink)) as running:
        proxy = running.proxy()
        eventually(lambda: delivered(running) == 1, 30)
        values = {
            name: proxy.read_attribute(name).value.tolist() for name in sink["attribute_names"]
        }
        assert values == {
            "first": [0, 1],
            "second": [[2, 3], [4, 5]],
            "third": [[6, 7], [8, 9]],
        }
        assert proxy.first_shape.tolist() == [1, 2]
        assert proxy.third_shape.dtype == np.int64
        form = proxy.get_attribute_config("second")
        assert (form.max_dim_x, form.max_dim_y) == (2, 2)
        assert "TangoArrayScatterAttributeSink" in running.log()  # the older spelling


def test_a_flattened_part_and_a_scalar_part(tmp_path):
    cube = np.arange(24).reshape(2, 3, 4).tolist()
    flat = {
        "type": "TangoArrayScatterAttributeSink",
        "attribute_names": ["top", "bottom"],
        "attribute_shape_names": ["top_shape", "bottom_shape"],
    }
    single = {
        "type": "TangoArrayScatterAttributeSink",
        "attribute_names": ["x", "y"],
        "default_value": "none",
    }
    configuration = scattering([cube], "int32", [2, 3, 4], flat)
    configuration["exchanges"] += scattering([["a", "é"]], "str", [2], single)["exchanges"]
    with connector(tmp_path, configuration) as running:
        proxy = running.proxy()
        eventually(
            lambda: [item["delivered"] for item in running.statistics().values()] == [1, 1], 30
        )
        assert proxy.bottom.tolist() == list(range(12, 24))
        assert proxy.bottom_shape.tolist() == [1, 3, 4]
        assert (proxy.x, proxy.y) == ("a", "é")


def test_a_part_that_does_not_fit_faults_the_group_and_names_the_attribute(tmp_path):
    sink = {
        "type": "TangoObjectScatterAttributeSink",
        "attributes": [
            {"attribute_name": "a", "dtype": "int64", "path": "a"},
            {"attribute_name": "b", "dtype": "int16", "path": "b"},
        ],
    }
    data = [{"a": 1, "b": 1}, {"a": 2, "b": "Ω"}]  # which Tango's Status cannot carry
    with connector(tmp_path, scattering(data, "object", [], sink)) as running:
        proxy = running.proxy()
        eventually(lambda: str(proxy.State()) == "FAULT", 30)
        fault = running.groups()["default"]["fault"]
        assert fault["error"] == "SelectionError"
        assert "attribute 'b': 'b' selects str 'Ω', expected int16" in fault["message"]
        assert r"selects str '\u03a9', expected int16" in proxy.Status()
        assert (proxy.a, proxy.b) == (1, 1)
        ledger = running.statistics()["default[0]"]
        assert (ledger["received"], ledger["delivered"], ledger["failed"]) == (2, 1, 1)


def test_the_names_that_no_sink_may_publish_are_all_that_the_device_has(tmp_path):
    with connector(tmp_path, {}) as running:
        assert sorted(running.proxy().get_attribute_list()) == sorted(OWN_ATTRIBUTES)
