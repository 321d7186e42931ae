"""Enumerations as DevEnum attributes, from one connector to another."""

import json

import tango

from tests.device.connector import Events, connector
from tests.support.waiting import eventually

LABELS = ["OFF", "ON", "ÉTEINT"]


def exchange(name, source, shape=(), **keys):
    return {
        "dtype": "int16",
        "labels": LABELS,
        "shape": list(shape),
        "source": source,
        "sink": {"type": "TangoLocalAttributeSink", "attribute_name": name, "default_value": "ON"},
        **keys,
    }


def test_labels_make_a_dev_enum_that_is_sent_and_received(tmp_path):
    slow = {"type": "InMemorySource", "delay": 0.3}
    configuration = {
        "exchanges": [
            exchange("mode", {**slow, "data": ["OFF", 2]}),
            exchange("modes", {**slow, "data": [["ON", "OFF"]]}, [3]),
            exchange(
                "parts",
                {**slow, "data": [{"m": "OFF"}]},
                dtype="object",
                labels=[],
                sink={
                    "type": "TangoObjectScatterAttributeSink",
                    "attributes": [
                        {"attribute_name": "part", "dtype": "int16", "labels": LABELS, "path": "m",
                         "default_value": 1}
                    ],
                },
            ),
        ]
    }  # fmt: skip
    with connector(tmp_path, {}) as running:
        proxy = running.proxy()
        proxy.Configure(json.dumps(configuration))
        config = proxy.get_attribute_config("mode")
        assert config.data_type == tango.CmdArgType.DevEnum
        assert list(config.enum_labels) == LABELS
        assert (proxy.mode.name, proxy.part) == ("ON", 1)
        directory = tmp_path / "second"
        directory.mkdir()
        source = {
            "type": "TangoSubscriptionSource",
            "device_name": running.device_name,
            "attribute_name": "mode",
        }
        with connector(directory, {"exchanges": [exchange("copy", source)]}) as second:
            copy = second.proxy()
            eventually(lambda: second.statistics()["default[0]"]["delivered"] == 1, 30)
            events = Events(copy, "copy")
            proxy.Start()
            eventually(lambda: len(events.values) == 3, 30)
            assert events.values == [1, 0, 2]
            assert copy.read_attribute("copy").type == tango.CmdArgType.DevEnum
        proxy = running.proxy()
        eventually(lambda: str(proxy.State()) == "OFF", 30)
        assert [mode.name for mode in proxy.modes] == ["ON", "OFF"]
        assert proxy.part == 0
        # Other labels make another attribute.
        configuration["exchanges"][0]["labels"] = LABELS[:2]
        configuration["exchanges"][0]["source"]["data"] = []
        proxy.Configure(json.dumps({"exchanges": configuration["exchanges"][:1]}))
        assert list(running.proxy().get_attribute_config("mode").enum_labels) == LABELS[:2]
