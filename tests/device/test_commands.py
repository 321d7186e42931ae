"""Every command of the tool as a process: misuse, silent peers, Ctrl-C, an output that is closed.

The commands are those that the parser knows, so that a new one without a row here fails.
"""

import argparse
import contextlib
import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from queue_connector import cli
from tests.device.connector import connector
from tests.device.processes import TOOL, process
from tests.device.servers import ROOT
from tests.support.waiting import eventually

COMMAND = [sys.executable, "-c", TOOL]
DEVICE = "tango://127.0.0.1:{peer}/a/b/c#dbase=no"

ROWS = {
    "config apply": "config apply {flows}",
    "config check": "config check /a/b",
    "config delete": "config delete /a/b/c",
    "config get": "config get /a/b/c",
    "config list": "config list /a/b",
    "config put": "config put /a/b/c {file}",
    "doctor": "doctor {stream}",
    "exchange pause": f"exchange pause {DEVICE} default[0]",
    "exchange restart": f"exchange restart {DEVICE} default[0]",
    "exchange resume": f"exchange resume {DEVICE} default[0]",
    "explain": f"explain {DEVICE}",
    "flows": "flows 01",
    "graph": f"graph --running {DEVICE}",
    "plan": f"plan --device {DEVICE} {{file}}",
    "run": "run {stream}",
    "serve": "serve {stream}",
    "statistics": f"statistics {DEVICE}",
    "tap": f"tap {DEVICE} default[0]",
    "top": f"top {DEVICE}",
    # These ask nobody; what reads a file waits for what nobody writes.
    "demo": "demo",
    "init": "init",
    "schema": "schema",
    "test": "test {fifo}",
    "validate": "validate {fifo}",
}
"""Each command, and words for it that ask the peer at {peer}."""

ASKING = [name for name, words in ROWS.items() if "{peer}" in words or name in ("flows", "doctor")]
ASKING += [name for name in ROWS if name.startswith("config")]
STREAMING = ["run", "serve"]
READING = ["test", "validate"]
IN_A_TABLE = {"doctor": "WAITS Kafka at 127.0.0.1", "top": "cannot be asked: "}
"""What these print on stdout of a peer that does not answer, among the others."""

OPENAT = "257 "
"""How Linux on x86-64 tells of a process that opens a file: this one waits for a writer."""

CUT_OFF = {"serve": (0,), "run": (1,), "demo": (1,), "top": (1, 129)}
"""Statuses where the terminal has gone: 1 of what has ended in order, and cannot sum it up."""

PRINTING = [
    *("schema", "init", "validate {file}", "doctor {file}", "graph {file}", "test {tests}"),
    *("statistics {device}", "explain {device}", "top {device}", "tap {device} default[0] -n 1"),
    *("graph --running {device}", "plan --device {device} {file}"),
]

AT_ONCE = 4

SOON = 2.0
"""Seconds; Tango waits longer for who is silent."""


def batches(names):
    """Few at a time, as a machine has few processors."""
    together = [names[n : n + AT_ONCE] for n in range(0, len(names), AT_ONCE)]
    return pytest.mark.parametrize("names", together, ids=", ".join)


def leaves(parser, words=()):
    actions = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    if not actions:
        yield " ".join(words)
    for action in actions:
        for name, below in action.choices.items():
            yield from leaves(below, (*words, name))


def test_every_command_is_here():
    assert sorted(leaves(cli._parser())) == sorted(ROWS)


class Peer:
    """Accepts who connects, and says nothing, ever."""

    def __init__(self):
        self._server = socket.create_server(("127.0.0.1", 0))
        self._server.setblocking(False)
        self._accepted = []
        self.port = self._server.getsockname()[1]

    def asked(self):
        with contextlib.suppress(BlockingIOError):
            self._accepted.append(self._server.accept()[0])
        return bool(self._accepted)

    def close(self):
        for one in (self._server, *self._accepted):
            one.close()


@contextmanager
def started(directory, names, begin):
    """A process of each of these commands, by name, and the peer that each of them asks."""
    with ExitStack() as stack:
        found = {}
        for name in names:
            peer = stack.enter_context(closing(Peer()))
            place = directory / name.replace(" ", "-")
            place.mkdir()
            found[name] = stack.enter_context(begin(place, words(name, place, peer), peer)), peer
        yield found


def words(name, place, peer):
    source = {
        "type": "KafkaConsumerSource",
        "servers": f"127.0.0.1:{peer.port}",
        "topic": "t",
        "encoding": "json",
    }
    sink = {"type": "InMemorySink", "key": "k"}
    exchange = {"dtype": "int64", "source": source, "sink": sink}
    (place / "file.json").write_text("{}")
    (place / "flows.json").write_text(json.dumps({"/pb/pb-test-20260101-a": {"eb_id": None}}))
    (place / "stream.json").write_text(json.dumps({"exchanges": [exchange]}))
    os.mkfifo(place / "fifo")
    paths = {each: place / f"{each}.json" for each in ("file", "flows", "stream")}
    return [
        word.format(peer=peer.port, fifo=place / "fifo", **paths) for word in ROWS[name].split()
    ]


def environment(peer):
    return {
        "SDP_CONFIG_BACKEND": "etcd3",
        "SDP_CONFIG_HOST": "127.0.0.1",
        "SDP_CONFIG_PORT": str(peer.port),
        "LC_ALL": "C.UTF-8",
        "TERM": "xterm",
    }


def plain(place, words, peer):
    return process(place, *words, env=environment(peer), imported=True)


def in_the_background(place, words, peer):
    """As a script starts what it does not wait for: it ignores Ctrl-C."""
    under = ["bash", "-c", 'trap "" INT; exec "$@"', "bash"]
    return process(place, *words, env=environment(peer), under=under)


def is_in_the_middle(name, pid, peer):
    """Whether it has asked, or reads what nobody writes."""
    if name not in READING:
        return peer.asked
    return lambda: Path(f"/proc/{pid}/syscall").read_text().startswith(OPENAT)


@batches(list(ROWS))
def test_misuse_is_one_line_after_the_usage_and_status_2(tmp_path, names):
    def begin(place, words, peer):
        return process(place, *name_of(words).split(), "--no-such-option", imported=True)

    def name_of(words):
        return " ".join(words[:2] if words[0] in ("config", "exchange") else words[:1])

    with started(tmp_path, names, begin) as found:
        for name, (running, _) in found.items():
            assert running.ends() == 2, name
            assert running.out == ""
            *usage, told = running.err.splitlines()
            assert told.startswith("queue-connector"), told
            assert ": error: " in told, told
            assert all(line.startswith(("usage:", " ")) for line in usage), usage


@batches(ASKING)
def test_a_peer_that_says_nothing_is_one_sentence(tmp_path, names):
    with started(tmp_path, names, plain) as found:
        for name, (running, peer) in found.items():
            eventually(peer.asked, 30, name)
            assert running.ends(60) == 1, (name, running.out, running.err)
            told = running.err.splitlines()
            if name in IN_A_TABLE:
                assert IN_A_TABLE[name] in running.out
                continue
            assert "Traceback" not in running.err
            assert len(told) == 1, (name, told)
            assert told[0].startswith("queue-connector: "), told


@batches([*ASKING, *READING, *STREAMING])
@pytest.mark.parametrize(
    ("number", "begin"), [(signal.SIGINT, plain), (signal.SIGTERM, in_the_background)]
)
def test_a_signal_in_the_middle_ends_it_soon(tmp_path, names, number, begin):
    with started(tmp_path, names, begin) as found:
        for name, (running, peer) in found.items():
            eventually(is_in_the_middle(name, running.pid, peer), 30, name)
            running.signal(number)
        for name, (running, _) in found.items():
            status = running.ends(20 if name in STREAMING else SOON)
            assert status == (0 if name in STREAMING else 128 + number), (name, status, running.err)
            assert "Traceback" not in running.err, running.err


@pytest.fixture(scope="module")
def counting(tmp_path_factory):
    source = {"type": "InMemorySource", "data": [*range(6000)], "delay": 0.02}
    sink = {"type": "TangoLocalAttributeSink", "attribute_name": "number"}
    exchange = {"dtype": "int64", "source": source, "sink": sink}
    with connector(tmp_path_factory.mktemp("device"), {"exchanges": [exchange]}) as running:
        yield running.device_name


def nobody_reads():
    """A pipe whose other end has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    return os.fdopen(writing, "w")


@pytest.mark.parametrize("words", PRINTING)
def test_an_output_that_cannot_be_written_is_told_without_a_traceback(tmp_path, counting, words):
    (tmp_path / "file.json").write_text("{}")
    tests = ROOT / "docs/how-to/tests/dish-pointings.json"
    paths = {"file": tmp_path / "file.json", "tests": tests, "device": counting}
    command = [word.format(**paths) for word in words.split()]
    full = "queue-connector: cannot write the output: No space left on device\n"
    for opened, status, told in (partial(open, "/dev/full", "w"), 1, full), (nobody_reads, 141, ""):
        with (
            opened() as output,
            process(tmp_path, *command, imported=True, stdout=output) as running,
        ):
            assert (running.ends(60), running.err) == (status, told)
    closed = ["bash", "-c", 'exec "$@" >&- 2>&- <&-', "bash"]
    with process(tmp_path, *command, under=closed) as running:
        assert running.ends(60) == 0


class Session:
    """A command that leads a session of its own, in a terminal whose other end is ours."""

    def __init__(self, place, words, peer):
        self._master, terminal = pty.openpty()
        self._process = subprocess.Popen(
            [*COMMAND, *words],
            cwd=place,
            env={**os.environ, **environment(peer)},
            preexec_fn=lambda: os.login_tty(terminal),
        )
        os.close(terminal)
        self.pid = self._process.pid
        self._read = b""

    def said(self):
        """What it has written so far."""
        while select.select([self._master], [], [], 0)[0]:
            self._read += os.read(self._master, 65536)
        return self._read.decode()

    def close(self):
        """Close the terminal."""
        os.close(self._master)

    def ends(self, seconds):
        return self._process.wait(seconds)

    def has_said(self, text):
        return text in self.said()

    def is_alone(self):
        return not self.members()

    def members(self):
        """The processes of the session that live."""
        found = []
        for one in psutil.process_iter():
            with contextlib.suppress(ProcessLookupError):
                if os.getsid(one.pid) == self.pid and one.pid != self.pid:
                    found.append(one)
        return found

    def kill(self):
        self._process.kill()
        self._process.wait()
        for one in self.members():
            one.kill()


@contextmanager
def in_a_terminal(place, words, peer):
    session = Session(place, words, peer)
    try:
        yield session
    finally:
        session.kill()


@batches([*ASKING, *READING, *STREAMING, "demo"])
def test_a_terminal_that_is_closed_ends_it_and_all_that_it_has_started(tmp_path, names):
    with started(tmp_path, names, in_a_terminal) as found:
        for name, (session, peer) in found.items():
            if name == "demo":
                eventually(partial(session.has_said, "Streaming after"), 60, session.said)
            else:
                eventually(is_in_the_middle(name, session.pid, peer), 30, name)
            session.close()
        for name, (session, _) in found.items():
            assert session.ends(30) in CUT_OFF.get(name, (129,)), name
            eventually(session.is_alone, 10, name)
