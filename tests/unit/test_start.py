"""How little the tool imports, and how soon it is there."""

import json
import os
import statistics
import subprocess
import sys

import pytest

CLIENTS = ("tango", "confluent_kafka", "httpx", "prometheus_client", "h11")
"""What is imported only to talk to somebody."""

KAFKA = {"servers": "kafka", "topic": "t"}
BOTH = {
    "exchanges": [
        {
            "dtype": "float64",
            "source": {"type": "KafkaConsumerSource", **KAFKA},
            "on_error": {"type": "dead_letter", **KAFKA, "topic": "bad"},
            "sink": [
                {"type": "TangoLocalAttributeSink", "attribute_name": "x"},
                {"type": "TangoRemoteAttributeSink", "device_name": "a/b/c", "attribute_name": "y"},
            ],
        },
        {
            "dtype": "float64",
            "source": {
                "type": "TangoSubscriptionSource",
                "device_name": "a/b/c",
                "attribute_name": "z",
            },
            "sink": {"type": "KafkaProducerSink", **KAFKA, "topic": "u"},
        },
    ]
}


@pytest.fixture
def both(tmp_path):
    file = tmp_path / "both.json"
    file.write_text(json.dumps(BOTH))
    return str(file)


def python(script, *arguments):
    """Run a script; what it printed, and the seconds of processor that it took."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)  # else all is compiled, again and again
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    after = os.times()
    took = after.children_user + after.children_system
    return done.stdout, took - before.children_user - before.children_system


def test_the_clients_are_not_needed_to_validate(both):
    script = f"""
import sys
from queue_connector.cli import main
status = main(["validate", sys.argv[1]])
print(status, [name for name in {CLIENTS} if name in sys.modules])
"""
    told, _ = python(script, both)
    assert told.splitlines() == [f"{both}: valid", "0 []"]


def test_the_tool_is_there_soon(both):
    """Beside the libraries that it cannot do without, in time of the processor: load counts less.

    Where it imported Tango and Kafka it was three to four times as much.
    """
    least = "import numpy, attrs, cattrs, trio"
    tool = "import sys; from queue_connector.entry import tool; sys.exit(tool())"
    python(tool, "validate", both)  # which compiles
    runs = [(python(least)[1], python(tool, "validate", both)[1]) for _ in range(5)]
    assert statistics.median(ours / theirs for theirs, ours in runs) < 2.5
    runs = [(python(least)[1], python(tool, "--version")[1]) for _ in range(5)]
    assert statistics.median(ours / theirs for theirs, ours in runs) < 1


def test_a_family_with_a_client_registers_all_that_it_has():
    script = """
from queue_connector.model.endpoints import UNIONS
from queue_connector import connectors
def names():
    return [list(registry) for registry in UNIONS.values()]
before = names()
connectors.import_clients()
print(before == names(), sum(map(len, before)) > 12)
"""
    assert python(script)[0] == "True True\n"
