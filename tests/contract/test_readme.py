"""The program in the README does what it says, on a real broker protocol."""

import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.support.kafka_topics import produce, read_all

README = Path(__file__).parents[2] / "README.md"


def test_the_program_of_the_readme_copies_a_topic(own_broker, tmp_path):
    servers, _ = own_broker
    (program,) = re.findall(r"^```python\n(.*?)^```", README.read_text("utf-8"), re.M | re.S)
    program = program.replace("localhost:9092", servers)
    assert program.count(servers) == 2
    produce(servers, "from", [b"before it reads"])
    produce(servers, "to", [b"first"])
    copying = subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE, text=True)
    try:
        found, end = set(), time.monotonic() + 30
        while len(found) < 4 and time.monotonic() < end:  # it reads what comes from when it begins
            produce(servers, "from", [b"again"])
            found = [value for values in read_all(servers, "to").values() for value in values]
        assert b"first" in found
        assert found.count(b"again") >= 3
        assert b"before it reads" not in found
    finally:
        copying.send_signal(signal.SIGINT)
        _, told = copying.communicate(timeout=20)
    assert "KeyboardInterrupt" in told
