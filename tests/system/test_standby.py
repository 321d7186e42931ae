"""Two real connectors on one path of a real etcd, with data of a real Kafka: which one streams."""

from __future__ import annotations

import contextlib
import itertools
import json
import signal
import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import tango
from confluent_kafka import Producer

from queue_connector.reconfiguration.holding import LEASE, Terms
from tests.device.connector import Events, close_events
from tests.faults.link import Link
from tests.services.etcd import EtcdServer
from tests.services.kafka import ExternalKafka, KafkaServer, create_topic
from tests.support.waiting import eventually
from tests.system.following import Follower

PERIOD = 0.02
"""Seconds from one number to the next."""

SEEN = Terms().period + 2.0
"""Seconds after which a holder has seen who stands by, on a busy machine too."""


class Numbers(Events):
    """What a subscriber receives, each with the time; 0 is what an attribute has at first."""

    def _receive(self, event: Any) -> None:
        if not event.err and event.attr_value.value:
            self.values.append((time.monotonic(), int(event.attr_value.value)))


class Device(Follower):
    """A connector on the path, and what one who subscribes to it receives, with the times."""

    def __init__(self, directory: Path, etcd: EtcdServer, path: str, *options: str, port: int):
        directory.mkdir()
        self.name = f"test-sdp/queueconnector/{directory.name}"
        self.received: list[tuple[float, int]] = []
        arguments = ("--config-path", path, *options)
        super().__init__(directory, etcd, *arguments, device=self.name, SDP_CONFIG_PORT=str(port))

    def subscribe(self) -> None:
        eventually(lambda: "value" in self.proxy().get_attribute_list(), 30, self.log)
        self.received = Numbers(self.proxy(), "value").values

    def status(self) -> str:
        return str(self.proxy().Status())

    def state(self) -> str:
        return str(self.proxy().State())

    def streams(self) -> bool:
        """Whether a number has come just now."""
        return bool(self.received) and self.received[-1][0] > time.monotonic() - 0.5

    def numbers(self, since: float = 0.0) -> list[int]:
        return [number for when, number in self.received if when >= since]


class Feed:
    """Whole numbers from 1 on, in a topic."""

    def __init__(self, servers: str, topic: str) -> None:
        self._producer = Producer({"bootstrap.servers": servers, "linger.ms": 0, "log_level": 0})
        self._topic = topic
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        number = 1
        while not self._over.wait(PERIOD):
            self._producer.produce(self._topic, str(number).encode())
            self._producer.poll(0)
            number += 1

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._producer.flush(10)


class Pair:
    """Two devices on one path; the first one's line to etcd can be cut."""

    def __init__(self, directory: Path, etcd: EtcdServer, path: str, link: Link) -> None:
        self._directory, self._etcd, self.path = directory, etcd, path
        self.link = link
        self.devices: list[Device] = []

    def begin(self, name: str, *options: str) -> Device:
        port = self._etcd.port if self.devices else self.link.port
        device = Device(self._directory / name, self._etcd, self.path, *options, port=port)
        self.devices.append(device)
        device.subscribe()
        return device

    def holder(self) -> dict[str, Any]:
        key = f"{self.path.count('/') + 2}{self.path}/state/holder"
        text = self._etcd.etcdctl("get", "--print-value-only", key)
        return json.loads(text) if text else {}

    def move(self) -> None:
        """Have the holder be a process of another machine, of which nobody sees that it ended."""
        key = f"{self.path.count('/') + 2}{self.path}/state/holder"
        (found,) = json.loads(self._etcd.etcdctl("get", "-w", "json", key))["kvs"]
        record = json.dumps({**self.holder(), "process": "another machine"})
        self._etcd.etcdctl("put", f"--lease={found['lease']:x}", key, stdin=record)


@pytest.fixture
def pair(
    tmp_path: Path, own_etcd: EtcdServer, kafka: KafkaServer | ExternalKafka, topic: str
) -> Iterator[Pair]:
    path = f"/component/lmc-queueconnector-{uuid.uuid4().hex[:8]}/owner"
    create_topic(kafka.bootstrap_servers, topic)
    source = {
        "type": "KafkaConsumerSource",
        "servers": kafka.bootstrap_servers,
        "topic": topic,
        "group_id": topic,
        "start": "earliest",
        "encoding": "json",
    }
    sink = {"type": "TangoLocalAttributeSink", "attribute_name": "value"}
    exchange = {"dtype": "int64", "source": source, "sink": sink}
    text = json.dumps({"exchanges": [exchange]})
    own_etcd.etcdctl("put", f"{path.count('/') + 1}{path}/numbers", stdin=text)
    link = Link(own_etcd.port)
    feed = Feed(kafka.bootstrap_servers, topic)
    found = Pair(tmp_path, own_etcd, path, link)
    try:
        yield found
    finally:
        feed.close()
        for device in found.devices:
            with contextlib.suppress(tango.DevFailed):
                device.proxy().command_inout("Abort")  # who unsubscribes has lines for each event
        close_events()
        for device in found.devices:
            if device.running():
                device.kill()
        link.close()


def standing_by(pair: Pair) -> tuple[Device, Device]:
    first = pair.begin("first", "--standby")
    eventually(first.streams, 30, first.log)
    second = pair.begin("second", "--standby")
    eventually(lambda: "standing by for" in second.status(), 30, second.status)
    time.sleep(SEEN)
    return first, second


def gapless(one: list[int], other: list[int]) -> None:
    """What the second had goes on where the first stopped; what came twice is told."""
    assert other[0] <= one[-1] + 1, "nothing is left out"
    assert other == list(range(other[0], other[-1] + 1))


def test_a_killed_device_is_followed_by_its_standby_within_the_lease(
    pair: Pair, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = standing_by(pair)
    assert second.state() == "OFF"
    assert first.name in second.status()
    assert pair.holder()["device"] == first.name
    assert second.numbers() == []
    pair.move()
    killed = time.monotonic()
    first.kill()
    eventually(second.streams, LEASE + 10, second.log)
    took = second.received[0][0] - killed
    with capfd.disabled():
        print(f"\nvalues again {took:.2f} s after SIGKILL")
    assert took <= LEASE + 2.0
    gapless(first.numbers(), second.numbers())
    assert second.state() == "ON"
    assert pair.holder()["device"] == second.name


def test_of_two_devices_never_both_stream_when_the_first_is_cut_off_from_etcd(
    pair: Pair, capfd: pytest.CaptureFixture[str]
) -> None:
    first, second = standing_by(pair)
    cut = time.monotonic()
    pair.link.become("half-open")
    eventually(second.streams, LEASE + 10, second.log)
    stopped, began = first.received[-1][0], second.received[0][0]
    with capfd.disabled():
        print(f"\nstopped {stopped - cut:.2f} s, the other began {began - cut:.2f} s after the cut")
    assert stopped < began
    gapless(first.numbers(), second.numbers())
    assert "another device stands by" in first.log()
    assert first.state() == "OFF"
    assert first.proxy().read_attribute("value").value == first.numbers()[-1], "it is kept"
    pair.link.become("passes")
    eventually(lambda: "standing by for" in first.status(), 30, first.status)
    assert first.received[-1][0] == stopped
    assert second.proxy().State() == tango.DevState.ON


def test_a_device_that_ends_in_order_is_followed_at_once(pair: Pair) -> None:
    first, second = standing_by(pair)
    first.signal(signal.SIGTERM)
    assert first.wait() == 0
    ended = time.monotonic()
    eventually(second.streams, LEASE + 10, second.log)
    assert second.received[0][0] - ended <= 2.0
    assert second.numbers()[0] == first.numbers()[-1] + 1
    gapless(first.numbers(), second.numbers())


def test_without_a_standby_nothing_stops_while_etcd_is_gone(
    pair: Pair, own_etcd: EtcdServer
) -> None:
    first = pair.begin("first")
    eventually(first.streams, 30, first.log)
    own_etcd.kill()
    time.sleep(2.5 * LEASE)
    own_etcd.start()
    eventually(first.monitoring, 30, first.status)
    eventually(lambda: pair.holder().get("device") == first.name, 30)
    time.sleep(1)
    times = [when for when, _ in first.received]
    assert max(later - sooner for sooner, later in itertools.pairwise(times)) < 2.0
    numbers = first.numbers()
    assert numbers == list(range(numbers[0], numbers[-1] + 1))
    assert first.state() == "ON"


def test_a_second_device_is_refused_and_names_the_first(pair: Pair) -> None:
    first = pair.begin("first")
    eventually(first.streams, 30, first.log)
    second = pair.begin("second")
    eventually(lambda: "FAULT" in second.state(), 30, second.status)
    held = pair.holder()
    told = f"{pair.path}: held by {first.name} on {held['host']} since {held['since']}: "
    assert told in second.status()
    with pytest.raises(tango.DevFailed) as failed:
        second.proxy().Start()
    assert told in failed.value.args[0].desc
    assert second.numbers() == []
    killed = time.monotonic()
    first.kill()
    # Its process has ended, as every process of this machine can see.
    eventually(second.streams, 30, second.status)
    assert time.monotonic() - killed < LEASE / 2
    assert second.state() == "ON"
