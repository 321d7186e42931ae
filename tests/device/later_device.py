"""A connector of a later version: its configuration has what this version cannot read."""

import json

from tango.server import Device, attribute

from tests.device.servers import serve


class LaterDevice(Device):
    """Tells a configuration, as ``queue-connector graph`` and ``plan`` read it."""

    @attribute(dtype=str)
    def configuration(self):
        source = {"type": "InMemorySource", "data": [], "colour": "red"}
        exchange = {"source": source, "sink": {"type": "LaterSink"}}
        return json.dumps({"exchanges": {"night": [exchange]}})


if __name__ == "__main__":
    serve(LaterDevice, "test/queueconnector/01")
