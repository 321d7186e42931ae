"""A connector of a later version: what it tells has what this version cannot read."""

import json

from tango.server import Device, attribute

from tests.device.servers import serve


class LaterDevice(Device):
    """Tells a configuration, which ``graph`` and ``plan`` read, and groups, for ``explain``."""

    @attribute(dtype=str)
    def configuration(self):
        source = {"type": "InMemorySource", "data": [], "colour": "red"}
        exchange = {"source": source, "sink": {"type": "LaterSink"}}
        return json.dumps({"exchanges": {"night": [exchange]}})

    @attribute(dtype=str)
    def groups(self):
        return json.dumps({"night": {"condition": "ON"}})

    @attribute(dtype=str)
    def statistics(self):
        return "{}"


if __name__ == "__main__":
    serve(LaterDevice, "test/queueconnector/01")
