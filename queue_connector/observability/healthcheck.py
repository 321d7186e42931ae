"""Asks whether the device of this container lives, for a container engine.

``python -m queue_connector.observability.healthcheck`` asks ``/live`` of this machine, at the
port that the variable `PORT` names. Where it names none, no page is served, and all that can be
said is that the container runs.

* status    0 it answers, or nobody is to be asked; 1 it does not
* source    Docker's manual, "HEALTHCHECK"
"""

from __future__ import annotations

import http.client
import os
import sys

PORT = "QUEUE_CONNECTOR_METRICS_PORT"
"""The variable with the port of the device's pages."""

ANSWER = 5.0
"""Seconds in which it must answer."""


def main() -> int:
    """Ask, and print the answer in a line."""
    port = os.environ.get(PORT, "")
    if not port:
        print(f"{PORT} is not set: nobody is asked")
        return 0
    try:
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=ANSWER)
        connection.request("GET", "/live")
        status = connection.getresponse().status
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(f"port {port} does not answer: {error}")
        return 1
    print(f"port {port} answers {status}")
    return 0 if status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())
