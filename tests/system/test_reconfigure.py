"""The real connector follows a real etcd: written, hurt and restored while data flow.

``OUTAGE`` is how long, in seconds, etcd stands still (6); ``RECONFIGURATIONS`` how often the random
test writes (100); ``REPORT`` makes the bounds on times those that are promised, for a machine that
does nothing else.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import tango
import trio
from confluent_kafka import Producer

from queue_connector.cli import main
from queue_connector.configdb import from_environment
from queue_connector.connectors.tango.types import OWN_ATTRIBUTES
from queue_connector.demo.embedded_broker import embedded_broker
from tests.device.connector import Events, close_events
from tests.services.etcd import EtcdServer, find_etcd_program
from tests.services.process import free_port
from tests.support.reconfigurations import Model, exchange
from tests.support.waiting import eventually
from tests.system.following import Follower, variables

OUTAGE = float(os.environ.get("OUTAGE", "6"))
COUNT = int(os.environ.get("RECONFIGURATIONS", "100"))
SLACK = 1.0 if os.environ.get("REPORT") else 10.0
"""How much longer everything may take where several people test at once."""

SETTLED = 30.0


class Watcher(Follower):
    """``queue-connector serve --config-path``."""

    def __init__(self, directory: Path, etcd: EtcdServer, path: str, **environment: str) -> None:
        super().__init__(directory, etcd, "--config-path", path, **environment)

    def states(self) -> dict[str, str]:
        return {name: group["state"] for name, group in self.groups().items()}

    def attributes(self) -> set[str]:
        return set(self.proxy().get_attribute_list()) - set(OWN_ATTRIBUTES)

    def memory(self) -> float:
        """Resident MB."""
        return float(psutil.Process(self.pid).memory_info().rss) / 1e6


@contextlib.contextmanager
def watcher(directory: Path, etcd: EtcdServer, path: str, **environment: str) -> Iterator[Watcher]:
    running = Watcher(directory, etcd, path, **environment)
    try:
        eventually(running.monitoring)
        yield running
    finally:
        with contextlib.suppress(tango.DevFailed):
            running.proxy().command_inout(
                "Abort"
            )  # Tango has a line for each event that nobody waits for
        close_events()
        if running.running():
            running.kill()


@pytest.fixture
def path() -> str:
    return f"/component/lmc-queueconnector-{uuid.uuid4().hex[:8]}/owner"


def put(etcd: EtcdServer, path: str, text: str) -> None:
    etcd.etcdctl("put", f"{path.count('/')}{path}", stdin=text)


def value_at(etcd: EtcdServer, path: str) -> Any:
    text = etcd.etcdctl("get", "--print-value-only", f"{path.count('/')}{path}")
    return json.loads(text) if text else None


def counting(name: str, *, delay: float = 0.02, count: int = 20_000) -> dict[str, Any]:
    """Whole numbers from 0 on."""
    source = {"type": "InMemorySource", "data": list(range(count)), "delay": delay}
    return exchange(name, "int64", source)


def text(*exchanges: Any, **groups: Any) -> str:
    return json.dumps({"exchanges": groups or list(exchanges)})


def gapless(values: list[int]) -> bool:
    """Whether they follow each other, but for the first, which was read when it was subscribed."""
    return values[0] <= values[1] and values[1:] == list(range(values[1], values[-1] + 1))


def streams(running: Watcher, name: str) -> bool:
    with contextlib.suppress(tango.DevFailed):
        return bool(running.proxy().read_attribute(name).value)
    return False


# -- written ---------------------------------------------------------------------------------------


def test_written_by_etcdctl_or_by_our_tool_it_streams_within_a_second(
    etcd: EtcdServer,
    path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables(etcd).items():
        monkeypatch.setenv(name, value)
    file = tmp_path / "mine.json"

    def by_tool(name: str, configuration: str) -> None:
        file.write_text(configuration)
        assert main(["config", "put", f"{path}/{name}", str(file)]) == 0

    def by_etcdctl(name: str, configuration: str) -> None:
        put(etcd, f"{path}/{name}", configuration)

    with watcher(tmp_path, etcd, path) as running:
        for number, write in enumerate((by_tool, by_etcdctl, by_tool, by_etcdctl)):
            name = f"value{number}"
            began = time.monotonic()
            write(f"my_id{number}", text(counting(name, delay=0.001)))
            eventually(lambda name=name: streams(running, name))
            took = time.monotonic() - began
            with capfd.disabled():
                print(f"\n{write.__name__}: put -> streaming {1000 * took:.0f} ms")
            assert took < 1.0 * SLACK
        assert running.proxy().State() == tango.DevState.ON
        eventually(lambda: (value_at(etcd, f"{path}/my_id0/state") or {}).get("state") == "ON")
        plan = ["plan", "--device", running.device_name, "--group", "my_id3", str(file)]
        file.write_text(text(counting("value3", delay=0.001), counting("more")))
        assert main(plan) == 0
        assert "+ attribute more: int64" in capfd.readouterr().out
        by_etcdctl("my_id3", file.read_text())
        eventually(lambda: "more" in running.attributes())
        assert main(plan) == 0
        assert capfd.readouterr().out.endswith("nothing changes\n")
        assert main(["config", "delete", f"{path}/my_id3"]) == 0
        eventually(lambda: "value3" not in running.attributes())
        eventually(lambda: value_at(etcd, f"{path}/my_id3/state") is None)


def test_a_put_can_wait_until_it_streams_or_the_fault_is_known(
    etcd: EtcdServer,
    path: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    for name, value in variables(etcd).items():
        monkeypatch.setenv(name, value)
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(text(counting("value")))
    bad.write_text("{")
    put_and_wait = ["config", "put", "--wait", "--timeout", "30"]
    with watcher(tmp_path, etcd, path) as running:
        assert main([*put_and_wait, f"{path}/my_id", str(good)]) == 0
        assert f"{path}/my_id: ON  by test-sdp/queueconnector/01 on " in capfd.readouterr().out
        assert running.states() == {"my_id": "ON"}
        assert main([*put_and_wait, "--force", f"{path}/my_id", str(bad)]) == 1
        assert "not taken on: ON, degraded  by" in (told := capfd.readouterr().err)
        assert "ConfigError: $: not JSON" in told


def test_states_end_with_a_device_that_is_killed(
    etcd: EtcdServer, path: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """So does that of a group whose key is deleted while no device lives."""
    put(etcd, f"{path}/stays", text(counting("stays")))
    put(etcd, f"{path}/goes", text(counting("goes")))
    with watcher(tmp_path, etcd, path) as running:
        for name in ("stays", "goes"):
            eventually(lambda name=name: value_at(etcd, f"{path}/{name}/state") is not None)
        running.kill()
        began = time.monotonic()
        etcd.etcdctl("del", f"4{path}/goes")
        for name in ("stays", "goes"):
            eventually(lambda name=name: value_at(etcd, f"{path}/{name}/state") is None, SETTLED)
        with capfd.disabled():
            print(f"\nstates ended {time.monotonic() - began:.1f} s after the device was killed")


async def applied(path: str, texts: list[str], etcd: EtcdServer) -> list[float]:
    """Milliseconds from each put to the state that says it streams."""
    times = []
    environment = variables(etcd)
    async with (
        from_environment(environment) as database,
        database.watch(path, on_connected=lambda _: None) as watch,
    ):
        with trio.fail_after(60):
            await anext(watch)
            for configuration in texts:
                began = time.monotonic()
                revision = await database.put(path, configuration)
                async for view in watch:
                    state = view.values.get("state")
                    told = json.loads(state.value) if state else {}
                    if told.get("state") == "ON" and told.get("revision", 0) >= revision:
                        break
                times.append(1000 * (time.monotonic() - began))
    return times


def percentiles(times: list[float]) -> tuple[float, float]:
    times = sorted(times)
    return times[len(times) // 2], times[min(len(times) * 99 // 100, len(times) - 1)]


@pytest.mark.parametrize("what", ["attribute stays", "attribute changes", "rewritten"])
def test_a_small_group_is_applied_within_100_ms(
    what: str, etcd: EtcdServer, path: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    names = ["a", "b"] if what == "attribute changes" else ["a", "a"]
    delays = [1.0, 1.0] if what == "rewritten" else [1.0, 1.1]
    texts = [
        text(counting("kept", delay=1, count=99), counting(name, delay=delay, count=99))
        for name, delay in zip(names, delays, strict=True)
    ]
    with watcher(tmp_path, etcd, path):
        times = trio.run(applied, f"{path}/my_id", texts * 60, etcd)[10:]
    p50, p99 = percentiles(times)
    with capfd.disabled():
        print(f"\n{what}: put -> applied p50 {p50:.1f} ms, p99 {p99:.1f} ms, {len(times)} puts")
    assert p50 < 100
    assert p99 < 100 * SLACK


def test_of_200_exchanges_one_changes_and_199_miss_nothing(
    etcd: EtcdServer, path: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def groups(changed: float) -> str:
        return text(
            **{
                f"part{part}": [
                    counting(f"v{number}", delay=0.8, count=100)
                    for number in range(20 * part, 20 * part + 20)
                    if number != 77
                ]
                + [counting("v77", delay=changed, count=100)] * (part == 3)
                for part in range(10)
            }
        )

    with watcher(tmp_path, etcd, path) as running:
        alone = trio.run(
            applied,
            f"{path}/alone",
            [text(counting("w", delay=d, count=200)) for d in (1, 2, 3, 4, 5)],
            etcd,
        )
        put(etcd, f"{path}/my_id", groups(0.2))
        eventually(lambda: list(running.states().values()) == ["ON"] * 11, SETTLED)
        names = [f"v{number}" for number in range(200)]
        events = {name: Events(running.proxy(), name) for name in names}
        eventually(lambda: all(len(event.values) > 3 for event in events.values()), SETTLED)
        took = trio.run(
            applied, f"{path}/my_id", [groups(d) for d in (0.3, 0.2, 0.3, 0.2, 0.3)], etcd
        )
        before = {name: len(event.values) for name, event in events.items()}
        eventually(lambda: all(len(e.values) > before[n] + 3 for n, e in events.items()), SETTLED)
        for name in names:
            assert events[name].errors == []
            if name != "v77":
                assert gapless(events[name].values), name
        assert 0 in events["v77"].values[2:], "it began anew, and its client heard of it"
        beyond = percentiles(took)[0] - percentiles(alone[1:])[0]
        with capfd.disabled():
            print(
                f"\n200 exchanges, one changed: applied in {[round(t) for t in took]} ms; "
                f"one alone {[round(t) for t in alone[1:]]} ms; beyond: {beyond:.0f} ms"
            )
        assert beyond < 100 * SLACK
        assert running.states()["my_id.part3"] == "ON"


# -- etcd is away ----------------------------------------------------------------------------------


@contextlib.contextmanager
def streaming(
    directory: Path, etcd: EtcdServer, path: str, **environment: str
) -> Iterator[tuple[Watcher, Events]]:
    """A connector with a group that must never pause, and a subscribed client that says so."""
    put(etcd, f"{path}/steady", text(counting("steady", count=30_000)))
    put(etcd, f"{path}/changes", text(counting("before")))
    with watcher(directory, etcd, path, **environment) as running:
        eventually(lambda: running.states() == {"steady": "ON", "changes": "ON"})
        events = Events(running.proxy(), "steady")
        eventually(lambda: len(events.values) > 5)
        yield running, events
        before = len(events.values)
        eventually(lambda: len(events.values) > before + 5)
        assert events.errors == []
        assert gapless(events.values), "the stream that did not change was interrupted"
        statistics = running.statistics()["steady[0]"]
        assert statistics["received"] == statistics["delivered"] + statistics["in_flight"]


@pytest.mark.parametrize("how", ["stop", "kill", "freeze"])
def test_etcd_goes_away_and_comes_back(
    how: str, own_etcd: EtcdServer, path: str, tmp_path: Path
) -> None:
    with streaming(tmp_path, own_etcd, path) as (running, events):
        began, before = time.monotonic(), len(events.values)
        getattr(own_etcd, how)()
        eventually(lambda: not running.monitoring(), SETTLED)
        assert "not watched" in running.proxy().Status()
        time.sleep(max(0, began + OUTAGE - time.monotonic()))
        assert len(events.values) - before > OUTAGE / 0.02 / SLACK
        if how == "freeze":
            own_etcd.thaw()
        else:
            own_etcd.start()
        # Perhaps before the connector is back.
        put(own_etcd, f"{path}/changes", text(counting("after")))
        eventually(lambda: "after" in running.attributes(), SETTLED)
        eventually(running.monitoring, SETTLED)
        assert running.attributes() == {"steady", "after"}
        eventually(lambda: value_at(own_etcd, f"{path}/changes/state")["state"] == "ON")


def away(etcd: EtcdServer, do: Callable[[], None]) -> None:
    """Do something to a stopped server's data where the connector does not see it."""
    port, etcd.port = etcd.port, free_port()
    etcd.start()
    do()
    etcd.stop()
    etcd.port = port


def test_what_was_changed_and_compacted_meanwhile_is_applied(
    own_etcd: EtcdServer, path: str, tmp_path: Path
) -> None:
    with streaming(tmp_path, own_etcd, path) as (running, _):
        own_etcd.stop()
        eventually(lambda: not running.monitoring(), SETTLED)

        def change() -> None:
            put(own_etcd, f"{path}/steady", text(counting("steady", count=30_000)))
            for name in ("x", "y", "after"):
                put(own_etcd, f"{path}/changes", text(counting(name)))
            status = json.loads(own_etcd.etcdctl("endpoint", "status", "--write-out=json"))
            revision = status[0]["Status"]["header"]["revision"]
            own_etcd.etcdctl("compaction", "--physical", str(revision))

        away(own_etcd, change)
        own_etcd.start()
        eventually(lambda: running.attributes() == {"steady", "after"}, SETTLED)
        eventually(running.monitoring, SETTLED)


def test_an_older_snapshot_is_restored(own_etcd: EtcdServer, path: str, tmp_path: Path) -> None:
    with streaming(tmp_path, own_etcd, path) as (running, _):
        eventually(lambda: value_at(own_etcd, f"{path}/steady/state"))
        own_etcd.etcdctl("snapshot", "save", str(tmp_path / "snapshot"))
        put(own_etcd, f"{path}/changes", text(counting("after")))
        put(own_etcd, f"{path}/younger", text(counting("younger")))
        eventually(lambda: running.attributes() == {"steady", "after", "younger"})
        own_etcd.stop()
        data = own_etcd.directory / "data"
        shutil.rmtree(data)
        peer = f"http://127.0.0.1:{own_etcd.peer_port}"
        subprocess.run(
            [find_etcd_program("etcdutl"), "snapshot", "restore", str(tmp_path / "snapshot"),
             f"--data-dir={data}", "--name=default", f"--initial-cluster=default={peer}",
             f"--initial-advertise-peer-urls={peer}"],
            check=True, capture_output=True, timeout=30,
        )  # fmt: skip
        own_etcd.start()
        eventually(lambda: running.attributes() == {"steady", "before"}, SETTLED)
        eventually(running.monitoring, SETTLED)
        eventually(lambda: running.states() == {"steady": "ON", "changes": "ON"}, SETTLED)
        eventually(lambda: value_at(own_etcd, f"{path}/changes/state")["state"] == "ON")


# -- clients ---------------------------------------------------------------------------------------


def test_a_client_gets_values_of_an_attribute_that_came_later_and_changed_its_shape(
    etcd: EtcdServer, path: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def shaped(shape: list[int], base: int) -> str:
        data: list[Any] = [base + number for number in range(3000)]
        for length in reversed(shape):
            data = [[value] * length for value in data]
        source = {"type": "InMemorySource", "data": data, "delay": 0.05}
        return text({**exchange("late", "int64", source), "shape": shape})

    received: list[Any] = []

    def receive(event: Any) -> None:
        if not event.err:
            value = event.attr_value.value
            received.append(value.tolist() if hasattr(value, "tolist") else value)

    with watcher(tmp_path, etcd, path) as running:
        proxy = running.proxy()
        number = proxy.subscribe_event(
            "late", tango.EventType.CHANGE_EVENT, receive, tango.EventSubMode.AsyncRead
        )
        try:
            time.sleep(0.5)
            for what, configuration, arrived in (
                ("appears", shaped([], 0), lambda value: isinstance(value, int)),
                ("spectrum", shaped([3], 10_000), lambda value: value[0] >= 10_000),
                ("longer", shaped([4], 20_000), lambda value: len(value) == 4),
                ("image", shaped([2, 2], 30_000), lambda value: len(value) == 2),
                ("scalar", shaped([], 40_000), lambda value: value >= 40_000),
                ("removed and back", shaped([], 50_000), lambda value: value >= 50_000),
            ):
                if what == "removed and back":
                    etcd.etcdctl("del", f"4{path}/my_id")
                    eventually(lambda: running.attributes() == set())
                put(etcd, f"{path}/my_id", configuration)
                began, before = time.monotonic(), len(received)

                def came(before: int = before, arrived: Any = arrived) -> bool:
                    def fits(value: Any) -> bool:
                        try:
                            return bool(arrived(value))
                        except TypeError:
                            return False

                    return any(fits(value) for value in received[before:])

                eventually(came, 15 if SLACK == 1 else 40)
                with capfd.disabled():
                    print(f"\n{what}: values after {time.monotonic() - began:.2f} s")
                time.sleep(0.3)
        finally:
            proxy.unsubscribe_event(number)


# -- secrets ---------------------------------------------------------------------------------------


def test_secrets_are_told_to_nobody(etcd: EtcdServer, path: str, tmp_path: Path) -> None:
    password = "s3cret-Pa55word"
    with EtcdServer(tmp_path / "locked") as server:
        put(server, f"{path}/my_id", text(counting("value")))
        put(server, f"{path}/bad", "{")
        server.etcdctl("user", "add", f"root:{password}")
        server.etcdctl("user", "grant-role", "root", "root")
        server.etcdctl("auth", "enable")
        shown = []
        right = {"SDP_CONFIG_USERNAME": "root", "SDP_CONFIG_PASSWORD": password}
        with watcher(tmp_path, server, path, **right) as running:
            eventually(lambda: running.states() == {"my_id": "ON", "bad": "FAULT"})
            server.kill()
            eventually(lambda: not running.monitoring(), SETTLED)
            shown.append(running.proxy().Status())
            server.start()
            eventually(running.monitoring, SETTLED)
            as_root = [f"--user=root:{password}", "get", "--prefix", f"5{path}/"]
            eventually(lambda: server.etcdctl(*as_root).count('"last_updated"') == 2)
            shown.append(server.etcdctl(*as_root))
            proxy = running.proxy()
            shown += [proxy.Status(), proxy.groups, proxy.configuration, proxy.statistics]
            shown += [str(proxy.read_attribute(each).value) for each in running.attributes()]
            shown += [running.log()]
            running.terminate()
        wrong = {"SDP_CONFIG_USERNAME": "root", "SDP_CONFIG_PASSWORD": f"wrong-{password}"}
        directory = tmp_path / "wrong"
        directory.mkdir()
        running = Watcher(directory, server, path, **wrong)
        try:
            eventually(lambda: "not watched" in running.proxy().Status())
            shown += [running.proxy().Status(), running.proxy().groups, running.log()]
        finally:
            running.kill()
        everything = "\n".join(shown)
        assert '"my_id[0]"' in everything
        assert "JSON" in everything
        assert password not in everything


# -- at random -------------------------------------------------------------------------------------


class Flood:
    """Whole numbers into a topic, a thousand a second, from librdkafka's own thread."""

    def __init__(self, servers: str, topic: str) -> None:
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 5})
        self._topic = topic
        self._sent = 0
        self._began = time.monotonic()

    def turn(self) -> None:
        due = int((time.monotonic() - self._began) * 500)
        for number in range(self._sent, due):
            self._producer.produce(self._topic, str(number).encode(), partition=0)
        self._sent = max(due, self._sent)
        self._producer.poll(0)


def test_random_reconfigurations_of_the_real_device(
    own_etcd: EtcdServer, path: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    topic = f"flood-{uuid.uuid4().hex[:8]}"
    with embedded_broker([topic]) as servers:
        kafka = {"type": "KafkaConsumerSource", "servers": servers, "topic": topic}

        def make(name: str, dtype: str, rng: Any) -> Any:
            if rng.random() < 0.2:
                return exchange(name, dtype, kafka)
            source = {"type": "InMemorySource", "data": list(range(40)), "delay": 60}
            return exchange(name, dtype, source)

        flood, model = Flood(servers, topic), Model(COUNT, make=make)
        put(own_etcd, f"{path}/steady", text(exchange("steady", "int64", kafka)))
        with watcher(tmp_path, own_etcd, path) as running:
            eventually(lambda: running.states() == {"steady": "ON"}, SETTLED)
            events = Events(running.proxy(), "steady")
            flood.turn()
            eventually(lambda: len(events.values) > 1)
            sizes: list[tuple[float, ...]] = []
            slowest = 0.0

            async def write() -> None:
                nonlocal slowest
                async with from_environment(variables(own_etcd)) as database:
                    for step in range(COUNT):
                        began = time.monotonic()
                        for name, configuration in model.burst().items():
                            revision = 0
                            if configuration is None:
                                await database.delete(f"{path}/{name}")
                            else:
                                revision = await database.put(f"{path}/{name}", configuration)
                            model.wrote(name, configuration, revision)
                        with trio.fail_after(SETTLED):
                            while not await settled(database):  # noqa: ASYNC110  another process
                                await trio.sleep(0.005)
                        slowest = max(slowest, time.monotonic() - began)
                        if step % max(COUNT // 10, 1) == 0:
                            sizes.append((*running.resources(), round(running.memory(), 1)))

            async def settled(database: Any) -> bool:
                flood.turn()
                groups = running.groups()
                groups.pop("steady")
                found = {
                    name: (group["state"], group["revision"], group["fault"] is not None)
                    for name, group in groups.items()
                }
                if found != model.groups():
                    return False
                if running.attributes() - {"steady"} != set(model.attributes()):
                    return False
                for name, (state, revision, faulty) in model.children().items():
                    told = await database.get(f"{path}/{name}/state")
                    fault = await database.get(f"{path}/{name}/fault")
                    if told is None or (fault is not None) is not faulty:
                        return False
                    record = json.loads(told.value)
                    if (record["state"], record["revision"]) != (state, revision):
                        return False
                return True

            began = time.monotonic()
            trio.run(write)
            took = time.monotonic() - began

            async def remove() -> None:
                async with from_environment(variables(own_etcd)) as database:
                    for name in model.written:
                        await database.delete(f"{path}/{name}")

            trio.run(remove)
            eventually(lambda: running.attributes() == {"steady"}, SETTLED)
            eventually(
                lambda: (
                    own_etcd.etcdctl("get", "--prefix", "--keys-only", f"5{path}/").split()
                    == [f"5{path}/state/holder", f"5{path}/steady/state"]
                ),
                SETTLED,
            )
            # A thread that has nothing to do waits ten seconds for something.
            with contextlib.suppress(AssertionError):
                eventually(lambda: running.resources()[0] <= sizes[0][0] + 4, 20)
            sizes.append((*running.resources(), round(running.memory(), 1)))
            with capfd.disabled():
                print(f"\n{COUNT} random reconfigurations in {took:.0f} s, slowest {slowest:.2f} s")
                print(f"threads, descriptors, MB: {sizes}; {len(events.values)} events; ")
                print(f"{model.counts}")
            assert events.errors == []
            assert gapless(events.values)
            assert sizes[-1][0] <= sizes[0][0] + 4
            assert sizes[-1][1] <= sizes[0][1] + 4
            middle = max(size[2] for size in sizes[: len(sizes) // 2])
            assert sizes[-1][2] <= middle * 1.25 + 10
            close_events()
            assert running.terminate() == 0
            assert "Traceback" not in running.log()
