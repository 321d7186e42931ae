"""Subscribers of an attribute that is removed, and made anew, perhaps with another shape."""

import json

import pytest
import tango

from tests.device.connector import Events, connector
from tests.support.waiting import eventually


def shaped(shape, first):
    data = [first + number for number in range(2000)]
    for length in reversed(shape):
        data = [[value] * length for value in data]
    return json.dumps(
        {
            "exchanges": [
                {
                    "dtype": "int64",
                    "shape": shape,
                    "source": {"type": "InMemorySource", "data": data, "delay": 0.02},
                    "sink": {"type": "TangoLocalAttributeSink", "attribute_name": "value"},
                }
            ]
        }
    )


@pytest.mark.parametrize("shape", [[], [3]], ids=["same shape", "another shape"])
def test_subscribers_get_its_values_again_by_change_and_by_archive_events(shape, tmp_path):
    with connector(tmp_path, json.loads(shaped([], 0))) as running:
        proxy = running.proxy()
        changes = Events(proxy, "value")
        archives = Events(running.proxy(), "value", tango.EventType.ARCHIVE_EVENT)
        eventually(lambda: len(changes.values) > 3 and len(archives.values) > 3)
        proxy.Stop()
        eventually(lambda: proxy.State() == tango.DevState.OFF)
        proxy.Standby()
        assert "value" not in proxy.get_attribute_list()
        proxy.Configure(shaped(shape, 10_000))
        proxy.Start()

        def again(events):
            last = events.values[-1]
            return (last[0] if isinstance(last, list) else last) >= 10_000

        eventually(lambda: again(changes) and again(archives))
        assert changes.errors == archives.errors == []
        assert isinstance(changes.values[-1], list) is bool(shape)
