"""Signals, the log's writer and the count of threads."""

import fcntl
import os
import subprocess
import sys
import threading
import time

import pytest

from queue_connector.runtime import process
from queue_connector.runtime.process import Writer, spare_threads


def gap(lost):
    return f"{lost} lost\n"


@pytest.fixture
def pipe():
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)
    yield reading, writing
    for descriptor in (reading, writing):
        os.close(descriptor)


def read_until(reading, end):
    text = b""
    while not text.endswith(end):
        text += os.read(reading, 65536)
    return text.decode()


def test_what_is_put_is_written_in_order(pipe):
    reading, writing = pipe
    writer = Writer(writing, gap)
    for number in range(100):
        writer.put(f"{number}\n")
    assert writer.drain(5)
    assert os.read(reading, 4096).decode().split() == [str(number) for number in range(100)]


def test_nobody_waits_for_a_reader_and_what_is_lost_is_counted_and_told(pipe, monkeypatch):
    monkeypatch.setattr(process, "MAX_UNWRITTEN", 10_000)
    reading, writing = pipe
    writer = Writer(writing, gap)
    began = time.monotonic()
    for number in range(1000):
        writer.put(f"{number:99}\n")
    assert time.monotonic() - began < 1.0
    assert not writer.drain(0.05)
    assert 890 <= writer.lost < 1000
    text = read_until(reading, b"lost\n")
    assert writer.drain(5), "it does not know yet that there is room again"
    writer.put("and on\n")
    text += read_until(reading, b"and on\n")
    written = 1000 - writer.lost
    assert text.split("\n")[:written] == [f"{number:99}" for number in range(written)]
    assert text.split("\n")[written:] == [f"{writer.lost} lost", "and on", ""]
    assert writer.drain(5)


def test_what_was_lost_is_told_though_nothing_more_comes(pipe, monkeypatch):
    monkeypatch.setattr(process, "MAX_UNWRITTEN", 10_000)
    reading, writing = pipe
    writer = Writer(writing, gap)
    writer.put("x" * 9_999 + "\n")
    first = os.read(reading, 1)  # it has taken the text, and waits for room
    writer.put("y\n")
    assert writer.lost == 1
    assert read_until(reading, b"lost\n") == "x" * 9_998 + "\n1 lost\n"
    assert first == b"x"
    assert writer.drain(5)


def test_a_reader_that_has_gone_is_no_error():
    reading, writing = os.pipe()
    os.close(reading)
    writer = Writer(writing, gap)
    writer.put("x\n")
    assert writer.drain(5)
    os.close(writing)


def test_a_descriptor_that_does_not_block_is_waited_for(pipe):
    reading, writing = pipe
    os.set_blocking(writing, False)
    writer = Writer(writing, gap)
    writer.put("x" * 20_000 + "\n")
    assert len(read_until(reading, b"\n")) == 20_001
    assert writer.drain(5)


def test_threads_are_counted_and_none_stays():
    before = threading.active_count()
    assert spare_threads(20) == 20
    assert threading.active_count() == before


@pytest.mark.skipif(os.getuid() != 0, reason="root is not held by the limit, a user made here is")
def test_fewer_threads_than_are_wanted_are_no_error():
    script = """
import os, resource
from queue_connector.runtime.process import spare_threads
resource.setrlimit(resource.RLIMIT_NPROC, (12, 12))
os.setuid(123_457)
print(spare_threads(50))
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert done.stdout == "11\n"


def test_an_end_that_does_not_come_in_time_is_cut_off_and_says_where_it_stands():
    script = """
import logging, os, signal, time
from queue_connector.runtime.process import Signals
logging.basicConfig()

def hang_here():
    time.sleep(60)

signals = Signals()
signals.heed()
signals.ready(lambda: None, 0.2)
os.kill(os.getpid(), signal.SIGTERM)
hang_here()
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert "it does not end in time and is cut off" in done.stderr
    assert "MainThread: hang_here <string>#7 < <module> <string>#13" in done.stderr


def test_a_start_that_does_not_come_up_is_cut_off_too(monkeypatch):
    script = """
import os, signal, time
from queue_connector.runtime import process
process.START_GRACE = 0.2
signals = process.Signals()
signals.heed()
os.kill(os.getpid(), signal.SIGINT)
time.sleep(60)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=30)
    assert done.returncode == 1


def test_numpy_is_given_no_thread_for_each_processor():
    script = """
import os, sys
from queue_connector import entry
sys.argv[1:] = ["--help"]
try:
    entry.tool()
except SystemExit:
    pass
import numpy
numpy.ones((500, 500)) @ numpy.ones((500, 500))
print(len(os.listdir("/proc/self/task")), file=sys.stderr)
"""
    environment = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, env=environment
    )
    assert done.stderr.split()[-1] == "1"


IMPORTING = """
import os, signal
from queue_connector.runtime.process import HELD, hold_signals, signals_held
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
try:
    with signals_held():
        os.kill(os.getpid(), signal.SIGINT)
        print("all of it", end=", ")
    print("unheeded")
except KeyboardInterrupt:
    print("then the signal")
hold_signals()
with signals_held():
    pass
print(signal.pthread_sigmask(signal.SIG_BLOCK, ()) == HELD)
"""


def test_a_signal_that_comes_while_something_is_imported_is_heeded_afterwards():
    done = subprocess.run(
        [sys.executable, "-c", IMPORTING], capture_output=True, text=True, timeout=30
    )
    assert done.stdout == "all of it, then the signal\nTrue\n", done.stderr
