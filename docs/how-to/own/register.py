"""Register a Queue Connector in the Tango database, with the configuration of a file."""

import json
import sys
from pathlib import Path

import tango

database = tango.Database()
device = tango.DbDevInfo()
device.server = "SDPQueueConnector/01"
device._class = "SDPQueueConnector"
device.name = "test-sdp/queueconnector/01"
database.add_device(device)

configuration = json.loads(Path(sys.argv[1]).read_text())
database.put_device_property(device.name, {"exchanges_json": [json.dumps(configuration)]})
