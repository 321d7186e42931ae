"""The tutorial on flows, done as it is written: its files, its commands, and what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from queue_connector.demo.embedded_broker import embedded_broker
from tests.services.etcd import EtcdServer
from tests.support.lessons import steps
from tests.support.waiting import eventually
from tests.system.following import variables
from tests.system.test_flows import carrier

STARTED = ("embedded_broker", "etcd --data-dir", " serve ")
"""Commands that stay: a test has those servers already, on ports of their own."""


def test_the_lesson_on_flows(own_etcd: EtcdServer, tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    environment = {**os.environ, **variables(own_etcd)}
    with embedded_broker(["offsets"]) as servers, carrier(tmp_path, own_etcd, "01") as device:

        def do(commands: str) -> str:
            done = subprocess.run(
                ["bash", "-c", commands],
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                timeout=60,
            )
            return done.stdout + done.stderr

        printed, all_printed, compared = "", "", 0
        address = f"127.0.0.1:{device.port}"
        for step in steps("carry-a-flow.md", broker=servers, device=address):
            lines = re.sub("^export .*\n", "", step.text, flags=re.M)
            if step.name is not None:
                (tmp_path / step.name).write_text(lines)
            elif step.kind == "bash" and not any(word in lines for word in STARTED):
                if "list" in lines:  # what the connector does takes a moment
                    eventually(lambda lines=lines: "no state" not in do(lines), 30)
                printed = do(lines)
                all_printed += printed
            elif step.kind == "text" and "bootstrap_servers" not in lines:
                assert printed == lines
                compared += 1
        assert compared == 6
        assert re.search(r"tango:second  revision \d+  invalid: .*  FAILED: ", all_printed)
        eventually(lambda: device.groups() == {}, 30)
