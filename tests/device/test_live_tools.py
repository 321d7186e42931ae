"""``tap`` and ``top`` as processes, and ``top`` in a terminal emulator, on real devices."""

import json
import signal
import subprocess
import sys
import time

import pytest

from tests.device.connector import connector
from tests.device.servers import ROOT
from tests.device.test_device import DevState, config, endless
from tests.support.terminal import Terminal
from tests.support.waiting import eventually

TOOL = [sys.executable, "-m", "queue_connector"]


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    slow = endless("slow", delay=0.05)
    with connector(
        tmp_path_factory.mktemp("device"), config(endless("a", delay=0.01), slow)
    ) as running:
        eventually(lambda: running.proxy().State() == DevState.ON)
        yield running


def told(*arguments):
    return subprocess.run(
        [*TOOL, *arguments], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )


def test_tap_prints_so_many_data_and_ends(device):
    done = told("tap", device.device_name, "default[1]", "-n", "3")
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if not line.startswith("…")]
    assert len(lines) == 3
    values = [int(line.rpartition("  ")[2]) for line in lines]
    assert values == list(range(values[0], values[0] + 3))
    assert "  InMemorySource  8 B  " in lines[0]


def test_tap_prints_json_of_what_became_of_data_and_counts_what_it_leaves_out(device):
    done = told("tap", device.device_name, "default[0]", "--where", "sink", "-n", "80", "--json")
    assert done.returncode == 0
    data = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(data) == 80
    numbers = [each["number"] for each in data]
    assert numbers == sorted(set(numbers))
    assert data[0]["end"] == "TangoLocalAttributeSink(a)"


def test_tap_follows_until_ctrl_c(device):
    command = [*TOOL, "tap", device.device_name, "default[1]", "--follow"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as following:
        for _ in range(15):
            assert following.stdout.readline()
        following.send_signal(signal.SIGINT)
        assert following.wait(20) == 130


def test_what_tap_cannot_do_is_one_sentence(device):
    done = told("tap", device.device_name, "default[7]")
    assert done.returncode == 1
    assert done.stderr.endswith("no exchange is called 'default[7]' (did you mean 'default[1]'?)\n")
    done = told("tap", "tango://127.0.0.1:1/a/b/c#dbase=no", "default[0]")
    assert done.returncode == 1
    assert "is it running, and is that its name?" in done.stderr
    assert "Traceback" not in done.stderr
    assert told("tap", device.device_name, "default[0]", "-n", "0").returncode == 2


def test_one_exchange_is_paused_resumed_and_restarted(device):
    def does(action):
        return told("exchange", action, device.device_name, "default[1]")

    def ledger():
        return device.statistics()["default[1]"]

    assert (does("pause").returncode, bool(ledger()["paused"])) == (0, True)
    assert (does("resume").returncode, bool(ledger()["paused"])) == (0, False)
    done = does("restart")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    eventually(lambda: ledger()["restarts"] == 1)
    done = told("exchange", "pause", device.device_name, "nothing")
    assert done.returncode == 1
    assert "no exchange is called 'nothing' (known: default[0], default[1])" in done.stderr


def test_top_prints_once_where_nobody_can_press_a_key(device):
    done = told("top", device.device_name)
    assert (done.returncode, done.stderr) == (0, "")
    head, first, second = done.stdout.splitlines()
    assert head.split()[:4] == ["exchange", "state", "in/s", "out/s"]
    assert first.split()[:2] == ["default[0]", "ON"]
    assert 25 < float(first.split()[2]) < 125
    assert second.split()[0] == "default[1]"
    assert 5 < float(second.split()[2]) < 30


def test_top_tells_which_device_cannot_be_asked(device):
    away = "tango://127.0.0.1:1/a/b/c#dbase=no"
    done = told("top", device.device_name, away, "--json", "--interval", "0.2")
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert [each["exchange"] for each in found] == ["default[0]", "default[1]", ""]
    assert found[2]["device"] == away
    assert found[2]["state"].startswith("cannot be asked: ")


def test_statistics_are_printed_and_then_reset(device):
    before = json.loads(told("statistics", device.device_name, "--json").stdout)
    done = told("statistics", device.device_name, "--json", "--reset")
    assert (done.returncode, done.stderr) == (0, "")
    printed, after = json.loads(done.stdout), device.statistics()
    for name, ledger in before.items():
        assert after[name]["received"] < ledger["received"] <= printed[name]["received"]
    assert told("statistics", device.device_name, "--reset", "--watch", "1").returncode == 2
    done = told("statistics", "tango://127.0.0.1:1/a/b/c#dbase=no", "--reset")
    assert (done.returncode, done.stdout) == (1, "")


def test_top_is_live_on_a_terminal_and_obeys_its_keys(device):
    command = [*TOOL, "top", device.device_name, "--interval", "0.3"]
    terminal = Terminal(command, rows=12, columns=150)

    def sees(*starts):
        lines = terminal.lines()
        return len(lines) >= len(starts) and all(map(str.startswith, lines, starts))

    try:
        eventually(lambda: sees("2 of 2 by exchange", "exchange", "default[0]"), 30, terminal.lines)
        eventually(lambda: "-" not in terminal.lines()[2].split()[2:4], 30, terminal.lines)
        eventually(lambda: {*terminal.lines()[2]} & {*"▆▇█"}, 30, terminal.lines)
        assert terminal.lines()[1].endswith("out/s lately")
        terminal.press("ssr")  # by rate, the smallest first
        start = "2 of 2 by in/s"
        eventually(lambda: sees(start, "exchange", "default[1]", "default[0]"), 10, terminal.lines)
        device.proxy().Pause("default[1]")
        eventually(lambda: sees(start, "exchange", "default[1]  ON paused"), 10, terminal.lines)
        terminal.press("/default[0\n")
        eventually(lambda: sees("1 of 2", "exchange", "default[0]"), 10, terminal.lines)
        assert "only /default[0" in terminal.lines()[0]
        assert terminal.lines()[3] == ""
        terminal.press("q")
        assert terminal.end() == 0
    finally:
        terminal.kill()
        device.proxy().Resume("default[1]")


def test_a_device_that_is_silent_holds_up_neither_top_nor_its_keys(device, tmp_path):
    with connector(tmp_path, config(endless("b", delay=0.01))) as silent:
        terminal = Terminal([*TOOL, "top", silent.device_name, device.device_name], 8, 150)

        def rates():
            return [line.split()[3] for line in terminal.lines() if "default[0]" in line]

        try:
            eventually(lambda: [terminal.lines()[0][:6], len(rates())] == ["3 of 3", 2], 30)
            silent.freeze()
            eventually(lambda: "has not answered for" in terminal.lines()[2], 30, terminal.lines)
            before = rates()
            eventually(lambda: rates() != before, 10, terminal.lines)  # of the other one
            pressed = time.monotonic()
            terminal.press("q")
            assert terminal.end() == 0
            assert time.monotonic() - pressed < 2.0
        finally:
            silent.thaw()
            terminal.kill()
