import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest

from queue_connector.cli import main
from queue_connector.configuration import document
from queue_connector.demo.dishes import tai_seconds
from queue_connector.demo.pipeline import Calibration
from queue_connector.demo.routes import Dish, configuration, first_dishes
from queue_connector.demo.tally import Tally
from tests.services.process import free_port

TIMEOUT = 40


class Running:
    """A demonstration in a session of its own, and what it has printed."""

    def __init__(self, directory: Path, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "queue_connector", "demo", "--dishes=2", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env={**os.environ, "TMPDIR": str(directory)},
        )
        self.children: list[psutil.Process] = []
        self.text = ""

    def prints(self, words: str) -> None:
        """Wait for a line that has *words* in it."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.text += line
            if words in line:
                self.children = psutil.Process(self.process.pid).children(recursive=True)
                return
        raise AssertionError(f"no {words!r} in: {self.text}")

    def child(self, word: str) -> psutil.Process:
        [found] = [child for child in self.children if word in child.cmdline()]
        return found

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def ends(self) -> int:
        """Wait for the end; the exit status."""
        self.text += self.process.communicate(timeout=TIMEOUT)[0]
        return self.process.returncode

    def leaves_nobody(self) -> bool:
        until = time.monotonic() + 5
        while any(map(alive, self.children)) and time.monotonic() < until:
            time.sleep(0.01)
        # Five: the last one looks after the others.
        return len(self.children) == 5 and not any(map(alive, self.children))


def alive(process: psutil.Process) -> bool:
    """Whether it runs; one that nobody has buried yet, as in some containers, does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@contextlib.contextmanager
def running(directory: Path, *arguments: str) -> Iterator[Running]:
    demo = Running(directory, *arguments)
    try:
        yield demo
    finally:
        demo.process.kill()  # its children notice
        with contextlib.suppress(ValueError):  # all of its output has been read
            demo.process.communicate()


Start = Callable[..., AbstractContextManager[Running]]


@pytest.fixture
def start(tmp_path: Path) -> Start:
    return lambda *arguments: running(tmp_path, *arguments)


def ledgers(text: str) -> dict[str, list[int]]:
    """In, out, dropped, failed and in flight of each exchange in a summary."""
    rows = re.findall(r"^(\w+\[\d+\]) .* → \S+((?: +\d+){5})$", text, re.MULTILINE)
    return {name: [int(number) for number in numbers.split()] for name, numbers in rows}


def ways(text: str) -> list[list[int]]:
    """What each dish handed out, and what arrived at each place after it, in a summary."""
    rows = re.findall(r"^SKA\d+ +(\d+) \+ (\d+)((?: +\d+){7})$", text, re.MULTILINE)
    return [[int(pushed) + int(read), *map(int, rest.split())] for pushed, read, rest in rows]


def test_stops_by_itself_and_every_count_agrees(start: Start, tmp_path: Path):
    with start("--seconds=3", "--rate=20") as demo:
        demo.prints("Streaming")
        assert demo.ends() == 0
        assert demo.leaves_nobody()
    counted = ledgers(demo.text)
    assert sorted(counted) == ["offsets[0]", "offsets[1]", "pointings[0]", "pointings[1]"]
    for received, delivered, *lost in counted.values():
        assert received == delivered > 10
        assert lost == [0, 0, 0]
    for number, way in enumerate(ways(demo.text)):
        assert way == [counted[f"pointings[{number}]"][0]] * 8
    assert "All counts agree" in demo.text
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_stops_in_order_and_sums_up(start: Start):
    with start() as demo:
        demo.prints("events; SKA001")
        demo.interrupt()
        assert demo.ends() == 0
        assert demo.leaves_nobody()
    assert len(ledgers(demo.text)) == 4
    assert "All counts agree" in demo.text


def test_it_says_where_the_status_page_of_the_connector_is(start: Start):
    port = free_port()
    with start(f"--metrics-port={port}") as demo:
        demo.prints(f"Its status page is http://127.0.0.1:{port}/")
        page = httpx.get(f"http://127.0.0.1:{port}/", trust_env=False)
        assert "<title>Queue Connector</title>" in page.text
        demo.interrupt()
        assert demo.ends() == 0


def test_a_second_ctrl_c_ends_everything_at_once(start: Start):
    with start() as demo:
        demo.prints("Streaming")
        demo.child("serve").suspend()  # or it might be over before the second one comes
        demo.interrupt()
        demo.prints("Stopping")
        demo.interrupt()
        assert demo.ends() == 130
        assert demo.leaves_nobody()
    assert "agree" not in demo.text


def test_says_which_process_died(start: Start, tmp_path: Path):
    with start() as demo:
        demo.prints("Streaming")
        demo.child("serve").kill()
        assert demo.ends() == 1
        assert demo.leaves_nobody()
    assert "the connector ended unasked with signal SIGKILL; the end of its log:" in demo.text
    [directory] = tmp_path.iterdir()
    assert f"The logs are in {directory}" in demo.text
    assert (directory / "connector.log").stat().st_size


def test_no_process_outlives_one_that_is_killed(start: Start):
    with start() as demo:
        demo.prints("Streaming")
        demo.process.kill()
        assert demo.ends() == -signal.SIGKILL
        assert demo.leaves_nobody()


@pytest.mark.parametrize(
    "argument", ["--seconds=0", "--seconds=nan", "--rate=x", "--dishes=0", "--dishes=1.5"]
)
def test_refuses_what_it_cannot_do(argument: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit, match="2"):
        main(["demo", argument])
    assert "expected" in capsys.readouterr().err


def test_its_configuration_is_valid():
    text = json.dumps(configuration(first_dishes(197), 10000, "127.0.0.1:9092"))
    assert [len(group) for group in document.parse(text).groups.values()] == [197, 197]


@pytest.mark.parametrize(
    ("utc", "seconds"),
    [
        ((1999, 12, 31, 23, 59, 28), 0),
        ((2005, 12, 31, 23, 59, 59), 189_388_831),
        ((2006, 1, 1, 0, 0, 0), 189_388_833),
        ((2026, 1, 1, 0, 0, 0), 820_540_837),
    ],
)
def test_dishes_count_the_seconds_of_tai(utc: tuple[int, ...], seconds: int):
    unix = datetime(*utc, tzinfo=UTC).timestamp()  # type: ignore[misc,arg-type]
    assert tai_seconds(unix) == seconds


def test_offsets_are_relative_to_the_smoothed_pointing():
    calibration = Calibration()
    assert calibration.offset(np.array([0.0, 180.0, 60.0])).tolist() == [0, 0, 0]
    scan, cross, elevation = calibration.offset(np.array([41.0, 181.0, 61.0]))
    assert scan == 2
    assert cross == pytest.approx(0.9 * np.cos(np.radians(61)))
    assert elevation == pytest.approx(0.9)


def ledger(received: int, delivered: int) -> dict[str, object]:
    return {
        "received": received,
        "delivered": delivered,
        "dropped": {},
        "failed": 0,
        "in_flight": received - delivered,
        "upstream": {},
    }


def agreeing() -> Tally:
    return Tally(
        [Dish(0)],
        handed_out=[(4, 1)],
        ledgers={"pointings[0]": ledger(5, 5), "offsets[0]": ledger(5, 5)},
        pipeline={"SKA001": {"read": 5, "written": 5, "failed": 0}},
        telescope={"SKA001": 5},
    )


def test_a_tally_without_loss_agrees():
    assert list(agreeing().disagreements()) == []
    assert agreeing().totals() == [5] * 8


def test_a_tally_names_where_a_datum_was_lost():
    tally = agreeing()
    tally.telescope = {"SKA001": 4}
    assert list(tally.disagreements()) == ["SKA001: attribute published 5, but telescope got 4"]


def test_a_tally_tells_of_loss_that_the_counts_alone_do_not_show():
    tally = agreeing()
    tally.ledgers["offsets[0]"]["upstream"] = {"missed events": 1}
    tally.ledgers["pointings[0]"]["in_flight"] = 2
    tally.trouble = {"API_MissedEvents": 3}
    assert list(tally.disagreements()) == [
        "pointings[0]: 2 in flight",
        "offsets[0]: upstream 1 (missed events)",
        "telescope: 3 error events (API_MissedEvents)",
    ]
