"""The Helm chart, rendered by the real helm as an installation would."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.services.fixtures import unavailable
from tests.services.process import ServiceUnavailable

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts" / "queue-connector"
CASES = sorted((CHART / "ci").glob("*-values.yaml"))
NAMESPACE = "telescope"

Object = dict[str, Any]


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run it; the test is skipped where there is none, and fails where ``CI`` is set."""
    program = shutil.which("helm", path=ROOT / ".venv" / "bin") or shutil.which("helm")
    if program is None:
        unavailable(ServiceUnavailable("there is no helm: make helm builds it, which needs Go"))
    return subprocess.run(
        [program, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )


def rendered(values: Path, *options: str | Path) -> list[Object]:
    """Every object that the chart makes of some values."""
    ended = helm("template", "rel", CHART, "-n", NAMESPACE, "-f", values, *options)
    assert ended.returncode == 0, ended.stderr
    return [found for found in yaml.safe_load_all(ended.stdout) if found]


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    """Those of a kind, by their names."""
    return {each["metadata"]["name"]: each for each in objects if each["kind"] == kind}


def containers(stateful_set: Object) -> list[Object]:
    """Those of its pods, in the order in which they run."""
    pod = stateful_set["spec"]["template"]["spec"]
    return [*pod.get("initContainers", ()), *pod["containers"]]


def environment(container: Object, pod: str) -> dict[str, str]:
    """The variables of a container, but those that come from a Secret."""
    found = {}
    for variable in container["env"]:
        if "value" in variable:
            found[variable["name"]] = variable["value"]
        elif variable["valueFrom"].get("fieldRef", {}).get("fieldPath") == "metadata.name":
            found[variable["name"]] = pod
    return found


def command(container: Object, pod: str) -> list[str]:
    """What a container of a pod runs, with its variables put in, as Kubernetes does it."""
    words = [*container["command"], *container["args"]]
    for name, value in environment(container, pod).items():
        words = [word.replace(f"$({name})", value) for word in words]
    return words


def registered(objects: list[Object]) -> dict[str, dict[str, Any]]:
    """Properties by device by pod, as the ConfigMaps have them."""
    found: dict[str, dict[str, Any]] = {}
    for each in of_kind(objects, "ConfigMap").values():
        found |= json.loads(each["data"].get("devices.json", "{}"))
    return found
