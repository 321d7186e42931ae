"""Metrics of the real device over HTTP, while data flow and while it ends."""

import contextlib
import json
import signal
import socket
import time

import httpx
import psutil
import pytest
import tango
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from queue_connector import __version__
from queue_connector.observability.http_server import ANSWER_SECONDS
from tests.device.connector import Connector, Events, close_events, connector
from tests.device.test_device import DevState, config, endless, memory
from tests.services.process import free_port
from tests.support.waiting import eventually

HOST = "127.0.0.1"
COUNTS = [
    *("dataReceived", "dataDelivered", "dataFiltered", "dataDropped", "dataFailed"),
    "dataInFlight",
]
OPENMETRICS = {"Accept": "application/openmetrics-text; version=1.0.0"}


@contextlib.contextmanager
def serving(directory, configuration, port):
    running = Connector(directory, configuration, options=["--metrics-port", str(port)])
    try:
        eventually(lambda: answers(port))
        yield running
    finally:
        close_events()
        if running.running():
            running.kill()


def answers(port):
    """Whether somebody listens there: the device opens the port beside everything else."""
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


@pytest.fixture
def port():
    return free_port()


@pytest.fixture
def client(port):
    with httpx.Client(base_url=f"http://{HOST}:{port}", trust_env=False, timeout=10) as opened:
        yield opened


def scrape(client, headers=(), parser=prometheus):
    answer = client.get("/metrics", headers=dict(headers))
    assert answer.status_code == 200
    return {family.name: family for family in parser(answer.text)}


def ledgers(families):
    """Labels of a part → how far its received is from what accounts for it; its received."""
    found = {}
    for scope in ("", "source_", "sink_"):
        for name, sign in [
            ("received", 1),
            ("delivered", -1),
            ("dropped", -1),
            ("failed", -1),
            ("in_flight", -1),
        ]:
            family = families[f"queue_connector_{scope}{name}"]
            for sample in family.samples:
                labels = {k: v for k, v in sample.labels.items() if k != "reason"}
                part = found.setdefault(json.dumps(labels, sort_keys=True), [0, 0])
                part[0] += sign * sample.value
                part[1] += sample.value if name == "received" else 0
    return found


def states(families):
    samples = families["queue_connector_group_state"].samples
    return {one.labels["group"]: one.labels["state"] for one in samples if one.value}


def test_the_ledger_balances_in_every_scrape_while_data_flow(tmp_path, port, client):
    exchanges = config(*(endless(f"value{number}", delay=0.0005) for number in range(3)))
    with serving(tmp_path, exchanges, port) as running:
        proxy = running.proxy()
        seen = set()

        def look():
            for headers, parser in ((), prometheus), (OPENMETRICS, openmetrics):
                found = ledgers(scrape(client, headers, parser))
                assert len(found) == 9  # each exchange with its source and its sink
                assert all(missing == 0 for missing, _ in found.values()), found
                seen.add(sum(received for _, received in found.values()))
            return len(seen)

        eventually(lambda: look() > 10)
        proxy.Init()  # everything from the start
        before = len(seen)
        eventually(lambda: look() > before + 10)
        proxy.Stop()
        eventually(lambda: look() and proxy.State() == DevState.OFF)
        received = {name: told["received"] for name, told in running.statistics().items()}
        assert all(0 < number < 20_000 for number in received.values())
        eventually(lambda: told_by_exchange(scrape(client)) == received)


def told_by_exchange(families):
    samples = families["queue_connector_received"].samples
    return {one.labels["exchange"]: one.value for one in samples}


def test_it_tells_the_version_the_states_of_groups_and_what_the_process_takes(
    tmp_path, port, client
):
    groups = {"bad": [memory(["Ω"], dtype="str")], "good": [endless("good")]}
    with serving(tmp_path, {"exchanges": groups}, port):
        eventually(lambda: states(scrape(client)) == {"bad": "FAULT", "good": "ON"})
        families = scrape(client)
        faults = families["queue_connector_group_fault"].samples
        assert {one.labels["group"]: one.value for one in faults} == {"bad": 1, "good": 0}
        (build,) = families["queue_connector_build_info"].samples
        assert build.labels == {"version": __version__}
        assert families["process_open_fds"].samples[0].value > 3
        assert families["queue_connector_configuration_database_connected"].samples == []


def test_what_the_error_policy_skips_is_counted_among_what_failed(tmp_path, port, client):
    exchange = {**memory(["one", "Ω", "two"], dtype="str"), "on_error": "skip"}
    with serving(tmp_path, config(exchange), port) as running:
        eventually(lambda: running.proxy().State() == DevState.OFF)
        eventually(lambda: told_by_exchange(scrape(client)) == {"default[0]": 3})
        families = scrape(client)
        for name, expected in ("delivered", 2), ("failed", 1), ("skipped", 1), ("dead_lettered", 0):
            (sample,) = families[f"queue_connector_{name}"].samples
            assert sample.value == expected
        assert all(missing == 0 for missing, _ in ledgers(families).values())


@pytest.mark.parametrize(("backend", "seen"), [("memory", 1), ("etcd3", 0)])
def test_it_tells_whether_the_configuration_database_is_seen(
    tmp_path, port, client, monkeypatch, backend, seen
):
    monkeypatch.setenv("SDP_CONFIG_BACKEND", backend)
    monkeypatch.setenv("SDP_CONFIG_PORT", "1")
    with serving(tmp_path, {}, port) as running:

        def told():
            family = scrape(client)["queue_connector_configuration_database_connected"]
            return [sample.value for sample in family.samples]

        assert told() == []
        running.proxy().Monitor("/component/x/owner")
        eventually(lambda: told() == [seen])
        running.proxy().Monitor("")
        eventually(lambda: told() == [])


def test_a_port_that_is_taken_is_told_and_costs_no_stream(tmp_path, port, client):
    with socket.socket() as other, contextlib.ExitStack() as stack:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind((HOST, port))
        other.listen()
        running = stack.enter_context(serving(tmp_path, config(endless()), port))
        proxy = running.proxy()
        told = (
            f"status page and metrics: cannot listen at {HOST} port {port}: Address already in use"
        )
        eventually(lambda: told in proxy.Status())
        assert told in running.log()
        eventually(lambda: proxy.State() == DevState.ON)
        before = proxy.value
        eventually(lambda: proxy.value > before)
        other.close()
        proxy.Init()
        eventually(lambda: states(scrape(client)) == {"default": "ON"})
        assert "metrics" not in proxy.Status()


def test_init_many_times_keeps_the_port_and_leaves_nothing_behind(tmp_path, port, client):
    with serving(tmp_path, config(endless()), port) as running:
        proxy = running.proxy()
        sizes = []
        for number in range(20):
            scrape(client)  # over a connection that is open when the device begins anew
            started = time.monotonic()
            proxy.Init()
            assert time.monotonic() - started < ANSWER_SECONDS
            eventually(lambda: listening(client))
            if number >= 5:
                sizes.append(running.resources()[1])
        assert "cannot listen" not in running.log()
        assert max(sizes) - min(sizes) <= 4, sizes
        assert len(bound(running, port)) == 1
        assert running.terminate() == 0


def listening(client):
    try:
        return scrape(client)
    except (httpx.ConnectError, httpx.RemoteProtocolError, httpx.ReadError):
        return None


def bound(running, port):
    return [
        one
        for one in psutil.Process(running.pid).net_connections("tcp")
        if one.laddr.port == port and one.status == psutil.CONN_LISTEN
    ]


@pytest.mark.parametrize("how", ["idle", "half a request", "never reads"])
def test_sigterm_ends_it_quickly_whatever_its_http_clients_do(tmp_path, port, client, how):
    with serving(tmp_path, config(endless()), port) as running:
        scrape(client)
        with socket.create_connection((HOST, port)) as other:
            if how == "half a request":
                other.sendall(b"GET /metrics HTTP/1.1\r\nHost:")
            elif how == "never reads":
                flood(other)
            scrape(client)
            started = time.monotonic()
            running.signal(signal.SIGTERM)
            assert running.wait() == 0
            assert time.monotonic() - started < ANSWER_SECONDS  # what waiting for it would take
        assert "Traceback" not in running.log()
        assert "default: CLOSE -> OFF" in running.log()
        with socket.socket() as again:
            again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            again.bind((HOST, port))
            again.listen()


def flood(connection):
    """Ask, without reading any answer, until the device takes in no more requests."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(1)
    try:
        while True:
            connection.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 1000)
    except TimeoutError:
        return


def test_a_pause_and_the_latency_are_told(tmp_path, port, client):
    with serving(tmp_path, config(endless("value")), port) as running:
        eventually(lambda: running.proxy().dataDelivered > 0)
        running.proxy().Pause("default[0]")
        eventually(lambda: "default[0] is paused since" in client.get("/ready").text)
        assert client.get("/ready").status_code == 200
        families = scrape(client)
        assert [one.value for one in families["queue_connector_paused"].samples] == [1]
        samples = families["queue_connector_latency_seconds"].samples
        total = {one.name.rpartition("_")[2]: one.value for one in samples}["count"]
        assert total == families["queue_connector_delivered"].samples[0].value > 0


def test_the_main_counts_are_numeric_attributes_that_balance(tmp_path):
    bad = {**memory(["one", "Ω"], dtype="str"), "on_error": "skip"}
    with connector(tmp_path, config(endless("a"), endless("b"), bad)) as running:
        proxy = running.proxy()

        def read():
            values = [each.value for each in proxy.read_attributes(COUNTS)]
            received, *others = values
            assert received == sum(others)
            return dict(zip(COUNTS, values, strict=True))

        eventually(lambda: read()["dataReceived"] > 300)
        for name in COUNTS:
            assert proxy.get_attribute_config(name).data_type == tango.CmdArgType.DevLong64
        assert read()["dataFailed"] == 1
        assert proxy.exchangesPaused == proxy.upstreamTrouble == 0
        proxy.Pause("default[0]")
        eventually(lambda: proxy.exchangesPaused == 1)
        # An archiver has Tango poll what nobody pushes.
        proxy.poll_attribute("dataDelivered", 100)
        archived = Events(proxy, "dataDelivered", tango.EventType.PERIODIC_EVENT)
        eventually(lambda: len(archived.values) > 2)
        assert archived.values == sorted(archived.values)
        proxy.Stop()
        eventually(lambda: proxy.State() == DevState.OFF)
        told = running.statistics().values()
        eventually(lambda: read()["dataDelivered"] == sum(each["delivered"] for each in told))
