"""The device server as a process: how it begins, and how it ends."""

import contextlib
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest
import tango

from queue_connector.cli import main
from queue_connector.device.prerequisites import (
    CannotStartError,
    check,
    database_complaint,
    unix_transport,
)
from tests.device.connector import connector
from tests.device.processes import SERVER, TOOL, as_stranger, needs_root, process
from tests.device.servers import ROOT
from tests.device.tango_database import Database
from tests.services.process import free_port
from tests.support.waiting import eventually

ENDPOINT = ("-nodb", "-dlist", "test/queueconnector/01", "-ORBendPoint", "giop:tcp:127.0.0.1:0")


@pytest.fixture
def empty(tmp_path):
    file = tmp_path / "empty.json"
    file.write_text("{}")
    return str(file)


def endless(**sink):
    source = {"type": "InMemorySource", "data": ["x"] * 10_000, "delay": 0.001}
    sink = sink or {"type": "TangoLocalAttributeSink", "attribute_name": "value"}
    return {"exchanges": [{"source": source, "sink": sink}]}


def unreachable():
    """An exchange that fills up, since there is no broker."""
    return endless(type="KafkaProducerSink", servers="127.0.0.1:1", topic="t0")


# -- signals ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("delay", [0.0, 0.1, 0.4])
def test_a_signal_at_any_moment_of_the_start_ends_it_without_a_traceback(
    tmp_path, empty, number, status, delay
):
    with process(tmp_path, "serve", empty) as running:
        running.until_it_holds_signals()
        time.sleep(delay)
        running.signal(number)
        assert running.ends() in (status, 0)
        assert "Traceback" not in running.err


@pytest.mark.parametrize("program", ["tool", "server"])
def test_no_thread_of_a_library_takes_the_signals(tmp_path, empty, program):
    """One that did would leave them to Python, whose main thread belongs to the ORB."""
    port = free_port()
    arguments = ["serve", empty, "--port", str(port)]
    if program == "server":
        arguments = ["01", *ENDPOINT[:-1], f"giop:tcp:127.0.0.1:{port}"]
    with process(tmp_path, *arguments, program=TOOL if program == "tool" else SERVER) as running:
        running.until(lambda: "Ready to accept request" in running.out)
        threads = running.threads_that_hold_signals()
        assert len(threads) > 8
        assert threads.count(False) == 1  # the one that waits for them


@needs_root
def test_process_1_of_a_container_heeds_sigterm_before_it_is_up(tmp_path):
    under = ["unshare", "--pid", "--fork", "--kill-child"]
    with process(tmp_path, "01", *ENDPOINT, program=SERVER, under=under) as running:
        running.until_it_holds_signals()
        running.signal(signal.SIGTERM)
        assert running.ends() == 0
        assert running.out.count("Ready to accept request") <= 1


def test_an_end_that_waits_says_what_for_and_a_second_ctrl_c_ends_it_at_once(tmp_path):
    with connector(tmp_path, unreachable()) as running:
        proxy = running.proxy()
        eventually(lambda: json.loads(proxy.statistics)["default[0]"]["in_flight"])
        running.signal(signal.SIGINT)
        told = "still ending: default[0]: "
        eventually(lambda: told in running.log(), what=running.log)
        assert "in flight at KafkaProducerSink(t0)" in running.log()
        began = time.monotonic()
        running.signal(signal.SIGINT)
        assert running.wait() == 130
        assert time.monotonic() - began < 1.0
        assert "Ctrl-C again: ended at once" in running.log()


# -- a log that nobody reads -----------------------------------------------------------------------


def test_a_log_that_nobody_reads_holds_nothing_up_not_the_end_either(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(endless()))
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETPIPE_SZ, 4096)  # some 25 lines
    with process(tmp_path, "serve", str(file), "-v", stderr=writing) as running:
        os.close(writing)
        proxy = tango.DeviceProxy(running.address())
        for _ in range(15):
            eventually(lambda: proxy.State() == tango.DevState.ON)
            proxy.Abort()
            assert proxy.State() == tango.DevState.OFF
            proxy.Start()
        began = time.monotonic()
        running.signal(signal.SIGINT)
        assert running.ends() == 0
        assert time.monotonic() - began < 5.0
    os.close(reading)


@pytest.fixture
def full():
    """A pipe that nobody reads and that has no room: its writing end."""
    reading, writing = os.pipe()
    # By an end of its own: what the flag says is common to all that share one.
    filling = os.open(f"/proc/self/fd/{writing}", os.O_WRONLY | os.O_NONBLOCK)
    for size in (4096, 1):
        with contextlib.suppress(BlockingIOError):
            while True:
                os.write(filling, b"x" * size)
    os.close(filling)
    yield writing
    os.close(reading)
    os.close(writing)


def test_a_crash_ends_it_though_nobody_reads_what_is_told_of_it(tmp_path, empty, full):
    with process(tmp_path, "serve", empty, stderr=full) as running:
        running.address()
        running.signal(signal.SIGSEGV)
        assert running.ends(10.0) == -signal.SIGSEGV


def test_it_ends_though_nobody_reads_what_omniorb_has_to_say(tmp_path, empty, full):
    port = free_port()
    with process(tmp_path, "serve", empty, "--port", str(port), stderr=full) as running:
        proxy = tango.DeviceProxy(running.address())
        for _ in range(5):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(b"GIOP\1\0\1\3\xff\xff\xff\xff" + b"x" * 100)
                client.settimeout(0.2)
                with contextlib.suppress(OSError):
                    client.recv(100)
        assert proxy.State() == tango.DevState.STANDBY
        running.signal(signal.SIGTERM)
        assert running.ends(10.0) == 0


@pytest.mark.parametrize("stream", ["2>&-", "2>/dev/full", ">&- 2>&- <&-"])
def test_a_log_that_cannot_be_written_at_all_harms_nothing(tmp_path, empty, stream):
    port = free_port()
    script = f'exec "$@" {stream}'
    under = ["bash", "-c", script, "bash"]
    with process(tmp_path, "serve", empty, "-v", "--port", str(port), under=under) as running:
        name = f"tango://127.0.0.1:{port}/test-sdp/queueconnector/01#dbase=no"
        proxy = tango.DeviceProxy(eventually(lambda: up(name)))
        eventually(lambda: initialised(proxy))
        assert proxy.State() == tango.DevState.STANDBY
        running.signal(signal.SIGTERM)
        assert running.ends() == 0


def initialised(proxy):
    """Whether ``Init`` is done; Tango refuses it until it has started, which it tells nobody."""
    try:
        proxy.Init()
    except tango.DevFailed as error:
        assert error.args[0].reason == "LoopStoppedError", error
        return False
    return True


def up(name):
    """The name, once the device has been initialised: before, it refuses commands and says so."""
    try:
        return tango.DeviceProxy(name).state() == tango.DevState.STANDBY and name
    except tango.DevFailed:
        return None


# -- where it must start ---------------------------------------------------------------------------


@needs_root
def test_too_few_threads_are_told_in_one_sentence(tmp_path, empty):
    under = [*as_stranger("123458"), "bash", "-c", 'ulimit -u 20; exec "$@"', "bash"]
    with process(tmp_path, "serve", empty, under=under) as running:
        assert running.ends() == 1
        assert running.out == ""
        [line] = running.err.splitlines()
        assert re.search(r"no more than 1\d threads can be started here, and it needs 24", line)


def test_too_few_files_are_told_in_one_sentence(tmp_path, empty):
    under = ["bash", "-c", 'ulimit -n 30; exec "$@"', "bash"]
    with process(tmp_path, "serve", empty, under=under) as running:
        assert running.ends() == 1
        [line] = running.err.splitlines()
        assert "no more than 30 files and sockets may be open here, and it needs 128" in line


def test_a_low_limit_of_files_that_may_be_raised_is_raised(tmp_path, empty):
    under = ["bash", "-c", 'ulimit -Sn 30; exec "$@"', "bash"]
    with process(tmp_path, "serve", empty, under=under) as running:
        assert tango.DeviceProxy(running.address()).State() == tango.DevState.STANDBY


@pytest.mark.parametrize("variable", ["TANGO_ZMQ_EVENT_PORT", "TANGO_ZMQ_HEARTBEAT_PORT"])
def test_event_ports_that_cannot_be_had_are_told_at_the_start(monkeypatch, variable):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        for value, words in [("abc", "expected a port"), ("0", "expected"), (port, "in use")]:
            monkeypatch.setenv(variable, value)
            with pytest.raises(CannotStartError, match=f"{variable}: .*{words}"):
                check(["01", "-ORBendPoint", "giop:tcp:127.0.0.1:0"])
    monkeypatch.setenv(variable, "*")
    check(["01"])


@needs_root
def test_clients_for_which_there_are_no_threads_are_a_fault_of_their_group_alone(tmp_path):
    kafka = {"type": "KafkaConsumerSource"}
    tango_sink = {"type": "TangoLocalAttributeSink"}
    many = [
        {
            "source": {**kafka, "topic": "t", "servers": f"127.0.0.1:{number + 1}"},
            "sink": {**tango_sink, "attribute_name": f"a{number}"},
        }
        for number in range(12)
    ]
    file = tmp_path / "config.json"
    file.write_text(json.dumps({"exchanges": {"many": many, "one": endless()["exchanges"]}}))
    under = [*as_stranger("123459"), "bash", "-c", 'ulimit -u 40; exec "$@"', "bash"]
    with process(tmp_path, "serve", str(file), under=under) as running:
        proxy = tango.DeviceProxy(running.address())

        def at_fault():
            with contextlib.suppress(tango.DevFailed):  # a client needs a thread, too
                return (found := json.loads(proxy.groups))["many"]["fault"] and found

        groups = eventually(at_fault, 20, lambda: running.err)
        assert (
            "no more threads can be started here; raise the limit"
            in groups["many"]["fault"]["message"]
        )
        eventually(lambda: json.loads(proxy.groups)["one"]["state"] == "ON")
        running.signal(signal.SIGTERM)
        assert running.ends() == 0


@needs_root
@pytest.mark.parametrize("user", [[], as_stranger()], ids=["root", "no name"])
@pytest.mark.parametrize("writable", ["/tmp", "/dev/shm"])
def test_it_runs_as_any_user_on_a_file_system_that_cannot_be_written(
    tmp_path, empty, user, writable
):
    frozen = 'mount --make-rprivate / && mount --bind "$0" "$0" && mount -o remount,ro,bind /'
    script = f'{frozen} && cd / && ! touch /var/tmp/x 2>/dev/null && exec "$@"'
    under = ["unshare", "--mount", "bash", "-c", script, writable, *user]
    with process(tmp_path, "serve", empty, under=under, env={"HOME": "/"}) as running:
        proxy = tango.DeviceProxy(running.address())
        assert proxy.State() == tango.DevState.STANDBY
        running.signal(signal.SIGTERM)
        assert running.ends() == 0
        assert "omniORB" not in running.err


def test_where_no_directory_can_be_written_it_says_so(monkeypatch):
    monkeypatch.setattr("queue_connector.device.prerequisites.SOCKET_DIRECTORIES", ("", "/proc"))
    with pytest.raises(CannotStartError, match="none of /proc can be written"):
        unix_transport([])


def test_a_directory_that_was_chosen_by_hand_stays(monkeypatch):
    monkeypatch.setattr("queue_connector.device.prerequisites.SOCKET_DIRECTORIES", ("/proc",))
    assert unix_transport(["-ORBunixTransportDirectory", "/x"]) == []
    monkeypatch.setenv("ORBunixTransportDirectory", "/x")
    assert unix_transport([]) == []


@pytest.fixture
def database(tmp_path):
    made = Database(tmp_path)
    yield made
    made.stop()


def test_what_is_no_tango_database_is_told_from_one(monkeypatch):
    monkeypatch.setattr("queue_connector.device.prerequisites.ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        assert database_complaint("127.0.0.1", port) == "timed out"
    assert database_complaint("127.0.0.1", port) == "Connection refused"
    assert "Name or service" in database_complaint("no such host", 1)


def test_a_tango_database_that_is_not_up_yet_is_waited_for_with_a_word(tmp_path, database):
    name = "test-sdp/queueconnector/01"
    database.start()
    database.register("SDPQueueConnector/01", name)
    database.stop()
    env = {"TANGO_HOST": database.address}
    with process(tmp_path, "01", program=SERVER, env=env) as running:
        waiting = f"waiting for the Tango database: {database.address}: Connection refused"
        running.until(lambda: waiting in running.err)
        database.start()
        running.until(lambda: "Ready to accept request" in running.out)
        proxy = tango.DeviceProxy(f"tango://{database.address}/{name}")
        assert proxy.State() == tango.DevState.STANDBY
        proxy.Init()
        assert proxy.State() == tango.DevState.STANDBY
        running.signal(signal.SIGTERM)
        assert running.ends() == 0
        assert running.err.count("waiting for the Tango database") == 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_waiting_for_the_tango_database_ends_with_a_signal(tmp_path, database, number):
    env = {"TANGO_HOST": database.address}
    with process(tmp_path, "01", program=SERVER, env=env) as running:
        running.until(lambda: "waiting for the Tango database" in running.err)
        running.signal(number)
        assert running.ends(5.0) == 0


# -- where clients reach it ------------------------------------------------------------------------


def free_ports(count):
    """The first of so many ports that are free, one after the other."""
    while True:
        first = free_port()
        try:
            for number in range(first, first + count):
                socket.create_server(("127.0.0.1", number)).close()
        except (OSError, OverflowError):
            continue
        return first


@needs_root
def test_events_reach_a_client_by_three_forwarded_ports_as_from_a_container(tmp_path):
    file = tmp_path / "config.json"
    file.write_text(json.dumps(endless()))
    command = ["unshare", "--net", sys.executable, "-m", "tests.device.forwarded"]
    done = subprocess.run(
        [*command, str(file), "45450", "45451"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    address, values, errors = done.stdout.splitlines()
    assert address == "tango://127.0.0.1:45450/test-sdp/queueconnector/01#dbase=no"
    assert values.count("'x'") >= 4, done.stderr
    assert errors == "[]"


def test_events_come_from_the_port_that_was_given(tmp_path, empty):
    first = free_ports(2)
    with process(tmp_path, "serve", empty, "--event-port", str(first)) as running:
        proxy = tango.DeviceProxy(running.address())
        admin = tango.DeviceProxy(proxy.adm_name())
        question = ["test-sdp/queueconnector/01", "State", "subscribe", "change", "6"]
        _numbers, texts = admin.ZmqEventSubscriptionChange(question)
        assert texts[:2] == [f"tcp://127.0.0.1:{first + 1}", f"tcp://127.0.0.1:{first}"]


# -- the command line ------------------------------------------------------------------------------


def run(*arguments, under=(), **options):
    options = {"capture_output": True, "text": True, "timeout": 30, "check": False, **options}
    return subprocess.run([*under, sys.executable, "-c", TOOL, *arguments], **options)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--port", "-1"], "expected a port, 0 to 65535, found -1"),
        (["--port", "99999"], "expected a port, 0 to 65535, found 99999"),
        (["--port", "x" * 1000], "expected a port, 0 to 65535, found xxx"),
        (["--event-port", "65535"], "--event-port: it takes this port and the next one"),
        (["--port", "{taken}"], "cannot listen at 127.0.0.1 port {taken}: Address already in use"),
        (["--event-port", "{taken}"], "cannot listen at 127.0.0.1 port {taken}: "),
        (["--host", "192.0.2.77"], "cannot listen at 192.0.2.77: Cannot assign requested address"),
        (["--host", "no.such.host.invalid"], "cannot listen at no.such.host.invalid: "),
        (["--host", "x" * 300], "cannot listen at xxx"),
        (["--host", "::1"], "cannot listen at ::1: Address family for hostname not supported"),
        (["--publish", "10.0.0.1"], "--publish: give --port too"),
        (["--device", "a/b/c#x"], "expected domain/family/member"),
        (["--device", "a/b"], "expected domain/family/member"),
        (["--device", ""], "expected domain/family/member"),
        (["--device", "a/b/c,d/e/f"], "expected domain/family/member"),
    ],
)
def test_where_it_cannot_listen_is_one_sentence_and_status_2(empty, options, words, capsys):
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken = str(server.getsockname()[1])
        options = [option.replace("{taken}", taken) for option in options]
        with pytest.raises(SystemExit) as ended:
            main(["serve", empty, *options])
    assert ended.value.code == 2
    told = capsys.readouterr().err.splitlines()
    assert words.replace("{taken}", taken) in told[-1]
    assert len([line for line in told if not line.startswith(("usage", " "))]) == 1


def test_a_server_that_cannot_listen_says_so_without_a_traceback(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        endpoint = f"giop:tcp:127.0.0.1:{server.getsockname()[1]}"
        arguments = [*ENDPOINT[:-1], endpoint]
        with process(tmp_path, "01", *arguments, program=SERVER) as running:
            assert running.ends() == 1
            assert "SDPQueueConnector: omniORB cannot start" in running.err
            assert "Traceback" not in running.err


def test_a_demonstration_that_cannot_be_shown_says_so_without_a_traceback():
    with open("/dev/full", "w") as full:
        done = run(
            "demo", "--seconds", "1", stdout=full, stderr=subprocess.PIPE, capture_output=False
        )
    assert done.returncode == 1
    *_, told = done.stderr.splitlines()
    assert told == "queue-connector: cannot write the output: No space left on device"
    assert "Traceback" not in done.stderr


def test_ctrl_c_while_it_reads_its_input_is_status_130(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    with process(tmp_path, "validate", str(fifo)) as running:
        running.until_it_holds_signals()
        time.sleep(0.8)  # until it reads; before, the signal is held and does the same
        running.signal(signal.SIGINT)
        assert running.ends(10.0) == 130
        assert running.err == ""


def test_names_that_the_locale_cannot_write_are_escaped(tmp_path):
    file = tmp_path / "\u2192.json"
    file.write_text("{}")
    done = run("validate", str(file), env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0
    assert done.stdout.endswith("\\u2192.json: valid\n")


@pytest.mark.parametrize("arguments", [["config", "list", "/a"], ["config", "get", "/a/b"]])
def test_a_command_whose_output_is_closed_ends_without_a_traceback(arguments):
    env = {**os.environ, "SDP_CONFIG_BACKEND": "memory"}
    done = run(*arguments, under=["bash", "-c", 'exec "$@" >&-', "bash"], env=env)
    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr


@needs_root
def test_a_demonstration_that_can_keep_no_logs_says_so():
    frozen = 'mount --make-rprivate / && mount -o remount,ro,bind / && cd / && exec "$@"'
    read_only = "mount -o remount,ro,bind /dev/shm; " + frozen
    under = ["unshare", "--mount", "bash", "-c", read_only, "bash"]
    done = run("demo", "--seconds", "1", under=under)
    assert done.returncode == 1
    assert done.stderr.startswith("queue-connector: nowhere to keep the logs")
    assert len(done.stderr.splitlines()) == 1


def test_each_line_is_written_at_once_as_others_write_to_the_same_file(tmp_path, empty):
    reading, writing = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)  # one for a write
    reading.settimeout(30.0)
    both = {"stdout": writing, "stderr": writing, "env": {"PYTHONUNBUFFERED": "1"}}
    with reading, process(tmp_path, "serve", empty, "-v", **both) as running:
        writing.close()
        written = []
        while packet := reading.recv(1 << 16):
            written.append(packet)
            if packet.startswith(b"tango://"):
                running.signal(signal.SIGINT)
        assert running.ends() == 0
    assert len(written) > 2
    assert [packet for packet in written if not packet.endswith(b"\n")] == []
