"""The real device with properties from the environment: ``python -m … PORT``.

``PROPERTIES`` is a file of JSON, property by property, read at the start and at every ``Init`` as
a Tango database would be.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from queue_connector.device.device import SDPQueueConnector
from tests.device.servers import DEVICE, serve


class Propertied(SDPQueueConnector):
    def get_device_properties(self, ds_class: Any = None) -> None:
        super().get_device_properties(ds_class)
        for name, value in json.loads(Path(os.environ["PROPERTIES"]).read_text()).items():
            setattr(self, name, value)


if __name__ == "__main__":
    serve(Propertied, DEVICE)
