"""The real device with a property that no configuration should hold: ``python -m … PORT``."""

from __future__ import annotations

from tango.server import device_property

from queue_connector.device.device import SDPQueueConnector
from tests.device.servers import DEVICE, serve


class Misconfigured(SDPQueueConnector):
    exchanges_json = device_property(dtype=(str,), default_value=['{"exchanges":', "[{}]}"])


if __name__ == "__main__":
    serve(Misconfigured, DEVICE)
