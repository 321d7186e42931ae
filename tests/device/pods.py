"""What the chart has a pod run, run here: the same commands, arguments, variables and files.

There is no cluster. What only a cluster has is put in by hand: a pod has an address of loopback's,
and the directory of its ConfigMap is one of the test's.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import yaml

from tests.device.processes import SERVER, TOOL, process
from tests.services.process import free_port
from tests.support import charts
from tests.support.charts import containers, environment, of_kind, rendered

REGISTRATION = "import sys; from queue_connector.device.registration import main; sys.exit(main())"
PROGRAMS = {"queue-connector": TOOL, "SDPQueueConnector": SERVER, "python": REGISTRATION}
MOUNTED = "/etc/queue-connector"

STREAM = {
    "exchanges": [
        {
            "dtype": "int64",
            "source": {"type": "InMemorySource", "data": [*range(10_000)], "delay": 0.02},
            "sink": {"type": "TangoLocalAttributeSink", "attribute_name": "value"},
        }
    ]
}
"""A configuration that feeds the attribute ``value``."""


class Pod:
    """One of the pods of the only subarray that some values describe, at an address of its own."""

    def __init__(self, directory: Path, number: int = 0, **values: Any) -> None:
        self.address = f"127.0.0.{number + 1}"
        self._directory = directory / f"pod-{number}"
        self._directory.mkdir()
        file = self._directory / "values.yaml"
        file.write_text(yaml.safe_dump(values))
        objects = rendered(file)
        ((name, self._set),) = of_kind(objects, "StatefulSet").items()
        self.name = f"{name}-{number}"
        self._host = f"{self.name}.{name}.{charts.NAMESPACE}.svc"
        for file_name, text in of_kind(objects, "ConfigMap")[name]["data"].items():
            (self._directory / file_name).write_text(self._here(text))

    @property
    def containers(self) -> list[charts.Object]:
        return containers(self._set)

    def _here(self, text: str) -> str:
        text = text.replace(self._host, self.address).replace(MOUNTED, str(self._directory))
        text = text.replace("giop:tcp::", f"giop:tcp:{self.address}:")
        return text.replace("0.0.0.0", self.address)

    def run(self, container: charts.Object, under: Sequence[str] = ()) -> Any:
        """A container as a process, from now on; to be entered."""
        program, *arguments = [self._here(word) for word in charts.command(container, self.name)]
        if program == "python":
            assert arguments[:2] == ["-m", "queue_connector.device.registration"]
            arguments = arguments[2:]
        directory = self._directory / container["name"]
        directory.mkdir(exist_ok=True)
        variables = environment(container, self.name)
        return process(directory, *arguments, program=PROGRAMS[program], env=variables, under=under)

    def probe(self, kind: str) -> int:
        """What a probe of the connector is answered now; 0 for nothing."""
        asked = self.containers[-1][f"{kind}Probe"]["httpGet"]
        ports = {one["name"]: one["containerPort"] for one in self.containers[-1]["ports"]}
        with contextlib.suppress(httpx.TransportError):
            url = f"http://{self.address}:{ports[asked['port']]}{asked['path']}"
            return httpx.get(url, trust_env=False).status_code
        return 0


def four_ports() -> tuple[dict[str, int], dict[str, int]]:
    """Free ones, as values: of the device, its events and heartbeats, and the pages."""
    while True:
        found = [free_port(), free_port(), free_port()]
        if len({*found, found[1] + 1}) == 4:
            break
    tango_port, event_port, metrics_port = found
    return {"port": tango_port, "eventPort": event_port}, {"port": metrics_port}
