"""``queue-connector statistics`` on devices in processes of their own."""

import json
import re
import subprocess
import sys

import pytest
from prometheus_client.parser import text_string_to_metric_families as prometheus

from queue_connector import __version__
from queue_connector.cli import main
from tests.device.connector import connector
from tests.device.servers import ROOT, server
from tests.device.test_device import DevState, config, endless, memory
from tests.support.waiting import eventually

SOURCE = {
    "name": "KafkaConsumerSource(offsets)",
    "received": 1234567,
    "delivered": 1234561,
    "filtered": 0,
    "dropped": {"aborted": 1, "inbox full": 0, "invalid quality": 2},
    "failed": 2,
    "skipped": 1,
    "dead_lettered": 1,
    "in_flight": 1,
    "upstream": {"missed events": 7},
}
SINK = {
    "name": "TangoLocalAttributeSink(message)",
    "received": 3,
    "delivered": 3,
    "filtered": 0,
    "dropped": {},
    "failed": 0,
    "in_flight": 0,
}
LEDGER = {**SOURCE, "sources": [SOURCE], "sinks": [SINK]}
TABLE = """\
                                           received  delivered  filtered  dropped  failed  skipped  dead lettered  in flight  queued
default[0]                                  1234567    1234561         0        3       2        1              1          1       -
  source KafkaConsumerSource(offsets)       1234567    1234561         0        3       2        1              1          1       -
  sink   TangoLocalAttributeSink(message)         3          3         0        0       0        -              -          0       -
  dropped: aborted 1, invalid quality 2
  before the sources: missed events 7
  balances
"""  # noqa: E501


@pytest.fixture(scope="module")
def device():
    with server("tests.device.statistics_device") as running:
        yield running


def status(*arguments):
    try:
        return main(["statistics", *arguments])
    except SystemExit as ended:
        return ended.code


def test_the_table_shows_every_part_and_that_all_balances(device, capsys):
    device.proxy().Tell(json.dumps({"default[0]": LEDGER}))
    assert status(device.device_name) == 0
    assert capsys.readouterr().out == TABLE
    device.proxy().Tell(json.dumps({"default[0]": LEDGER, "other[0]": {**LEDGER, "sinks": []}}))
    assert status(device.device_name) == 0
    first, second = capsys.readouterr().out.split("\n\n")
    assert first + "\n" == TABLE
    assert second.splitlines()[1].startswith("other[0]   ")
    assert len({len(line) for line in (first + second).splitlines() if "  1234567" in line}) == 1


@pytest.mark.parametrize(
    ("where", "told"),
    [
        ("", "default[0]: does not balance: 1234567 received"),
        ("sources", "default[0] source KafkaConsumerSource(offsets): does not balance: 1234567 r"),
        ("sinks", "default[0] sink TangoLocalAttributeSink(message): does not balance: 3 received"),
    ],
)
def test_a_ledger_that_does_not_balance_is_named_and_is_exit_status_1(device, capsys, where, told):
    ledger = json.loads(json.dumps(LEDGER))
    part = ledger[where][0] if where else ledger
    part["delivered"] += 1
    device.proxy().Tell(json.dumps({"default[0]": ledger}))
    assert status(device.device_name) == 1
    printed = capsys.readouterr()
    assert f"\n  {told}" in printed.out
    assert "\n  balances" not in printed.out
    for form in ("json", "prometheus"):
        assert status(device.device_name, "--format", form) == 1
        assert capsys.readouterr().err.startswith(told)
    assert status(device.device_name, "--watch", "0.01") == 1  # it does not watch that for ever


def test_as_json_and_as_metrics_it_is_what_the_device_tells(device, capsys):
    device.proxy().Tell(json.dumps({"default[0]": LEDGER}))
    assert status(device.device_name, "--format", "json") == 0
    assert json.loads(capsys.readouterr().out) == {"default[0]": LEDGER}
    assert status(device.device_name, "--format", "prometheus") == 0
    families = {family.name: family for family in prometheus(capsys.readouterr().out)}
    (received,) = families["queue_connector_received"].samples
    assert received.value == 1234567
    assert received.labels == {"group": "default", "exchange": "default[0]"}
    (build,) = families["queue_connector_build_info"].samples
    assert build.labels == {"version": "9.9.9"}  # the device's, not the tool's


@pytest.mark.parametrize(
    "text",
    ["", "[1]", '{"default[0]": 1}', '{"default[0]": {"received": 1}}', '{"a": {"sources": 1}}'],
)
def test_statistics_of_another_form_are_said_to_be_that(device, capsys, text):
    device.proxy().Tell(text)
    assert status(device.device_name) == 1
    told = capsys.readouterr()
    assert "statistics of another form" in told.err
    assert told.out == ""


def test_a_device_without_an_exchange_says_so(device, capsys):
    device.proxy().Tell("{}")
    assert status(device.device_name) == 0
    assert capsys.readouterr().out == "nothing is configured\n"


def test_a_device_of_another_kind_or_none_at_all_is_exit_status_1(device, capsys):
    assert status(str(device.proxy().adm_name()).removeprefix("//")) == 1
    assert status("tango://127.0.0.1:1/a/b/c#dbase=no") == 1
    assert status("no name") == 1
    told = capsys.readouterr().err
    assert told.count("cannot be asked for its statistics: ") == 3
    assert len(told.splitlines()) == 3


def test_the_real_device_is_told_and_balances_while_data_flow(tmp_path, capsys):
    with connector(tmp_path, config(endless(), memory([1, 2, 3], "three"))) as running:
        eventually(lambda: running.statistics()["default[1]"]["delivered"] == 3)
        for _ in range(10):
            assert status(running.device_name) == 0
        table = capsys.readouterr().out
        assert table.count("  balances") == 20
        for title in (
            r"default\[1\]",
            r"  source InMemorySource.*",
            r"  sink   TangoLocalAttributeSink\(three\)",
        ):
            assert re.search(rf"^{title} +3 +3 +0 +0 +0 +0 +0 +0 +0$", table, re.MULTILINE), table
        assert status(running.device_name, "--format", "prometheus") == 0
        text = capsys.readouterr().out
        assert f'queue_connector_build_info{{version="{__version__}"}} 1.0' in text
        assert 'queue_connector_group_state{group="default",state="ON"} 1.0' in text


def test_watching_goes_on_until_the_device_is_gone(tmp_path):
    with connector(tmp_path, config(endless())) as running:
        eventually(lambda: running.proxy().State() == DevState.ON)
        command = [sys.executable, "-m", "queue_connector", "statistics", running.device_name]
        with subprocess.Popen(
            [*command, "--watch", "0.05"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as watching:
            lines = [watching.stdout.readline() for _ in range(15)]
            assert running.terminate() == 0
            _, told = watching.communicate(timeout=30)
        assert lines.count("  balances\n") >= 3
        assert "cannot be asked for its statistics" in told
        assert watching.returncode == 1
