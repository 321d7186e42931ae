"""A device that tells the statistics that a test gives it, in the place of the connector's."""

import json

from tango.server import Device, attribute, command

from tests.device.servers import serve


class StatisticsDevice(Device):
    """Its attributes are those that ``queue-connector statistics`` reads."""

    def init_device(self):
        super().init_device()
        self._statistics = "{}"

    @attribute(dtype=str)
    def statistics(self):
        return self._statistics

    @attribute(dtype=str)
    def groups(self):
        return json.dumps({"default": {"state": "ON", "fault": None, "exchanges": ["default[0]"]}})

    @attribute(dtype=str)
    def versionId(self):
        return "9.9.9"

    @command(dtype_in=str)
    def Tell(self, statistics):
        self._statistics = statistics


if __name__ == "__main__":
    serve(StatisticsDevice, "test/queueconnector/01")
