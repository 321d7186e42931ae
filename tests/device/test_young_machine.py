"""Tango compares times with that of the machine's start: what is told of a device early on."""

import json
import os
import subprocess
import time

import pytest

from tests.device.connector import connector
from tests.device.test_device import config, memory

YOUNG = 60
"""Seconds that the machine is up, as far as the server knows."""


def young_machine():
    """Runs a command with a monotonic clock that began a minute ago, in a namespace of its own."""
    alone = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    wrapper = ["unshare", *alone, "--time", f"--monotonic={YOUNG - int(time.monotonic())}"]
    tried = subprocess.run([*wrapper, "true"], capture_output=True, text=True, check=False)
    if tried.returncode:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"no time namespace: {tried.stderr}")
    return wrapper


def test_attributes_come_and_go_on_a_machine_that_was_started_a_minute_ago(tmp_path):
    with connector(tmp_path, {}, wrapper=young_machine()) as running:
        proxy = running.proxy()
        proxy.set_timeout_millis(10_000)  # where several people test at once
        for name in ("one", "two", "three"):
            proxy.Configure(json.dumps(config(memory([1], name))))
            proxy.Init()
        assert running.running()
