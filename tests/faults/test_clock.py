"""The connector's clock is stepped; the machine's is not: libfaketime bends it for one process."""

from __future__ import annotations

import datetime
import importlib.util
import os
import time
from pathlib import Path

import pytest

from tests.faults.guarantees import endure
from tests.faults.rig import Rig, eventually, routes_to

LOOK = 1
"""Seconds between two looks of libfaketime at its file."""

RATE = 50.0  # numbers/s; every call that asks for the time is slow under libfaketime

SKIPPED = "]@"  # the position of the bad message, in the line that tells of it


def faketime() -> Path:
    """The library that PyPI's ``libfaketime`` carries."""
    spec = importlib.util.find_spec("libfaketime")
    for place in (spec and spec.submodule_search_locations) or ():
        found = [*Path(place).glob("vendor/libfaketime/src/libfaketime.so.1")]
        if found:
            return found[0]
    if os.environ.get("CI"):
        pytest.fail("libfaketime is not installed (and CI is set, so this is no skip)")
    pytest.skip("libfaketime is not installed")


@pytest.mark.parametrize("step", ["+1h", "-1h"])
def test_clock_stepped(step, kafka, publish):
    """Nothing that flows notices.

    librdkafka waits by another clock than it reads here (libfaketime knows no ``cnd_timedwait``),
    as it does when a real clock is stepped while it waits: an idle wait may take an hour.
    """
    rig = Rig(
        kafka.bootstrap_servers,
        keys={"on_error": "skip"},
        kafka_rate=RATE,
        tango_rate=RATE,
    )
    offset = rig.directory / "offset"
    _set(offset, "+0")
    rig.connector.variables.update(
        {
            "LD_PRELOAD": str(faketime()),
            "FAKETIME_TIMESTAMP_FILE": str(offset),
            "FAKETIME_CACHE_DURATION": str(LOOK),
            "DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
    )
    with rig:
        hours = int(step.removesuffix("h"))

        def hurt() -> None:
            _set(offset, step)
            seen_at = time.monotonic() + 2 * LOOK
            eventually(lambda: time.monotonic() > seen_at, "")
            rig.kafka.put(b"no number")  # is logged, which shows what the clock says
            eventually(lambda: SKIPPED in rig.connector.log_tail(), rig.report)

        fault = f"clock stepped by {hours:+d} h"
        # Tango's heartbeat comes too late for once, and the subscriber subscribes anew.
        publish(endure(rig, fault, hurt, repeats=routes_to("local")))
        line = next(line for line in rig.connector.log_tail().splitlines() if SKIPPED in line)
        said = datetime.datetime.fromisoformat(line.split("|")[1]).timestamp()
        assert abs(said - time.time() - 3600 * hours) < 60


def _set(file: Path, offset: str) -> None:
    """Replace the file in one step: it is read all the time."""
    new = file.with_suffix(".new")
    new.write_text(f"{offset}\n")
    new.replace(file)
