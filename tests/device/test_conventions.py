"""What every SKA device has: versions, and a level of its log that a client may write."""

import json

import pytest
import tango

from queue_connector import __version__
from queue_connector.runtime.logs import LoggingLevel
from tests.device.connector import connector
from tests.support.waiting import eventually

CONFIGURATION = {
    "exchanges": [
        {
            "dtype": "int64",
            "source": {"type": "InMemorySource", "data": [1]},
            "sink": {"type": "TangoLocalAttributeSink", "attribute_name": "value"},
        }
    ]
}


def test_versions_and_the_level_of_the_log(tmp_path):
    with connector(tmp_path, {}) as running:
        proxy = running.proxy()
        assert proxy.version == proxy.versionId == __version__
        name, version, purpose = proxy.buildState.split(", ", 2)
        assert (name, version) == ("queue-connector", __version__)
        assert purpose
        assert proxy.loggingLevel == LoggingLevel.INFO
        assert list(proxy.get_attribute_config("loggingLevel").enum_labels) == [
            level.name for level in LoggingLevel
        ]
        proxy.loggingLevel = LoggingLevel.OFF
        assert "group default" not in running.log()
        proxy.Configure(json.dumps(CONFIGURATION))
        assert "group default" not in running.log()
        proxy.loggingLevel = "DEBUG"
        assert proxy.loggingLevel == LoggingLevel.DEBUG
        proxy.Standby()
        eventually(lambda: "group default: OFF -> STANDBY" in running.log(), what=running.log)
        with pytest.raises(tango.DevFailed):
            proxy.write_attribute("loggingLevel", 6)
        assert proxy.loggingLevel == LoggingLevel.DEBUG
