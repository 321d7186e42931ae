"""How a role is spoken to: a line with a command and its arguments in, a line of JSON out."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any


def listen(commands: Mapping[str, Callable[..., Any]], told: Any = None) -> None:
    """Say that it is ready, and do what it is told until its input ends."""
    answer(told)
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        answer(commands[name](*arguments))


def answer(what: Any) -> None:
    """One line of JSON, in one go: Tango prints, too."""
    sys.stdout.write(f"\n{json.dumps(what)}\n")
    sys.stdout.flush()


def spread(delays: list[float]) -> dict[str, float]:
    """Median, 99th percentile and largest of delays, in the unit in which they are."""
    if not delays:
        return {"p50": float("nan"), "p99": float("nan"), "max": float("nan")}
    ordered = sorted(delays)
    return {
        "p50": ordered[len(ordered) // 2],
        "p99": ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))],
        "max": ordered[-1],
    }


def server_arguments(name: str, port: object, devices: str) -> list[str]:
    """What a Tango server without a database is started with."""
    where = f"giop:tcp:127.0.0.1:{port}"
    return [name, "bench", "-ORBendPoint", where, "-nodb", "-dlist", devices]
