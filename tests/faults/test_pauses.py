"""One sick peer is one stream's trouble: the longest pause of everything else, peer by peer.

Two streams that have nothing to do with the peer flow all the time, Kafka → attribute and Tango →
attribute, and a client of its own process asks for a value, for ``State`` and for a command. What
is measured is the time from a datum's origin to a subscriber in another process, and how long each
question took.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest

from tests.faults.link import Link, Manner
from tests.faults.pauses import Pause, save
from tests.faults.processes import (
    SourceProcess,
    TargetProcess,
    TelescopeProcess,
    WatcherProcess,
)
from tests.faults.records import Records
from tests.faults.rig import Rig, Route, eventually
from tests.faults.test_database import PATH
from tests.services.etcd import EtcdServer
from tests.services.kafka import KafkaNode, KafkaServer, create_topic
from tests.services.process import LOOPBACK

LIMIT = 200
"""Milliseconds that nothing else may be held up by one sick peer."""

LASTS = 8.0
"""Seconds that a fault lasts; what froze the device did so after three or four."""

AFTERWARDS = 3.0
"""Seconds that are watched after it, for what the recovery holds up."""

MANY = 10
"""Streams that have to do with the peer."""

STEADY = (
    Route("kafka_to_local", "Kafka → attribute"),
    Route("tango_to_local", "Tango → attribute"),
)

DATABASE = "configuration database"

Exchanges = Mapping[str, list[dict[str, Any]]]


class IsolationRig(Rig):
    """The steady streams, and beside them groups that have to do with a peer; all from etcd."""

    def __init__(self, servers: str, etcd: EtcdServer, port: int, sick: Exchanges) -> None:
        environment = {
            "SDP_CONFIG_BACKEND": "etcd3",
            "SDP_CONFIG_HOST": etcd.host,
            "SDP_CONFIG_PORT": str(port),
        }
        super().__init__(
            servers,
            routes=STEADY,
            environment=environment,
            arguments=["--config-path", PATH],
        )
        self._etcd = etcd
        self._sick = sick
        self._round = 0
        self.watcher = WatcherProcess(
            self.directory / "watcher", self.connector.address, ["kafka_to_local"]
        )

    @property
    def processes(self) -> tuple[Any, ...]:
        return (*super().processes, self.watcher)

    def prepare(self) -> None:
        super().prepare()
        for group, exchanges in self.connector.configuration["exchanges"].items():
            self._write(group, exchanges)
        self.write_sick()

    def write_sick(self) -> None:
        """Have the groups of the peer configured anew: they connect once more."""
        self._round += 1
        for group, exchanges in self._sick.items():
            anew = {"on_error": {"type": "skip", "breaker": {"errors": 1000 + self._round}}}
            self._write(group, [{**exchange, **anew} for exchange in exchanges])

    def _write(self, group: str, exchanges: list[dict[str, Any]]) -> None:
        text = json.dumps({"exchanges": exchanges})
        self._etcd.etcdctl("put", f"{PATH.count('/') + 1}{PATH}/{group}", stdin=text)

    def assemble(self) -> None:
        super().assemble()
        self.watcher.start()
        self._asked = Records(self.watcher.file)
        self.feed()

    def await_streaming(self) -> None:
        def ready() -> bool:
            states = self.connector.states()
            return {route.name for route in STEADY} <= states.keys() and all(
                states[route.name] == "ON" for route in STEADY
            )

        eventually(ready, self.report, self.patience)

    def watch(self, peer: str, fault: str, seconds: float, end: Callable[[], object]) -> Pause:
        """What is held up for so long, and while things mend after *end*."""
        begin = time.time()
        list(self._asked.read())
        before = {route.name: self.feeders[route.source].handed.next for route in STEADY}
        time.sleep(seconds)
        end()
        time.sleep(AFTERWARDS)
        stream = max(self._latest(route, before[route.name]) for route in STEADY)
        longest = dict.fromkeys(("read", "State", "command"), 0)
        for record in self._asked.read():
            if record.name in longest and not record.value.startswith("!"):
                longest[record.name] = max(longest[record.name], int(record.value))
        assert time.time() - begin < 3 * (seconds + AFTERWARDS), "the machine stood still itself"
        return Pause(
            peer=peer,
            fault=fault,
            stream=stream,
            read=longest["read"],
            state=longest["State"],
            command=longest["command"],
        )

    def _latest(self, route: Route, first: int) -> int:
        """Milliseconds from the origin to the subscriber, the most of all since number *first*."""
        last = self.feeders[route.source].handed.next - 1
        eventually(lambda: self.tally(route).waited(last, last), self.report)
        waited = self.tally(route).waited(first, last)
        assert len(waited) > 0.9 * (last - first), (route, len(waited), last - first)
        return round(1000 * max(waited))


def judge(found: list[Pause]) -> None:
    """Keep the rows for the docs; none may be longer than is allowed."""
    save(found)
    late = [pause for pause in found if pause.longest > LIMIT]
    assert not late, "\n".join(pause.markdown() for pause in late)


def memory(data: list[Any], delay: float) -> dict[str, Any]:
    return {"type": "InMemorySource", "data": data, "delay": delay}


def attribute(name: str) -> dict[str, Any]:
    return {"type": "TangoLocalAttributeSink", "attribute_name": name}


# -- peers behind a link ---------------------------------------------------------------------------


MANNERS: tuple[Manner, ...] = ("slow", "mute", "half-open", "refusing")


@contextlib.contextmanager
def linked(port: int) -> Iterator[Link]:
    link = Link(port)
    try:
        yield link
    finally:
        link.close()


def hurt_in_turn(rig: IsolationRig, peer: str, link: Link, process: Any) -> list[Pause]:
    """Each of the manners of a link, and then the process frozen."""
    found = []
    for manner in MANNERS:
        link.become(manner)
        if peer != DATABASE:
            rig.write_sick()
        found.append(rig.watch(peer, manner, LASTS, lambda: link.become("passes")))
    process.freeze()
    if peer != DATABASE:
        rig.write_sick()
    found.append(rig.watch(peer, "frozen", LASTS, process.thaw))
    return found


def test_nothing_is_wrong(kafka, etcd):
    """What this machine adds by itself."""
    with IsolationRig(kafka.bootstrap_servers, etcd, etcd.port, {}) as rig:
        judge([rig.watch("none", "nothing", LASTS, lambda: None)])


def test_a_source_device(kafka, etcd, tmp_path):
    peer = SourceProcess(tmp_path / "peer")
    with peer, linked(peer.port) as link:
        source = {
            "type": "TangoSubscriptionSource",
            "device_name": peer.address.replace(str(peer.port), str(link.port)),
            "attribute_name": "number",
        }
        sick = {
            f"sick{number}": [{"dtype": "int64", "source": source, "sink": attribute(f"s{number}")}]
            for number in range(MANY)
        }
        with IsolationRig(kafka.bootstrap_servers, etcd, etcd.port, sick) as rig:
            peer.proxy().Feed([1, 20.0])
            judge(hurt_in_turn(rig, "source device", link, peer))


def test_a_target_device(kafka, etcd, tmp_path):
    peer = TargetProcess(tmp_path / "peer")
    with peer, linked(peer.port) as link:
        sink = {
            "type": "TangoRemoteAttributeSink",
            "device_name": peer.address.replace(str(peer.port), str(link.port)),
            "attribute_name": "kafka_to_remote",
        }
        sick = {
            f"sick{number}": [
                {"dtype": "int64", "source": memory([*range(2000)], 0.05), "sink": sink}
            ]
            for number in range(MANY)
        }
        with IsolationRig(kafka.bootstrap_servers, etcd, etcd.port, sick) as rig:
            judge(hurt_in_turn(rig, "target device", link, peer))


def test_another_broker(kafka, etcd, tmp_path):
    node = KafkaNode(1)
    with linked(node.port) as link:
        advertised = {"advertised.listeners": f"CLIENT://{LOOPBACK}:{link.port}"}
        servers = f"{LOOPBACK}:{link.port}"
        with KafkaServer(tmp_path / "peer", node=node, properties=advertised) as peer:
            sick = {}
            for number in range(MANY):
                topic = f"sick{number}"
                create_topic(servers, topic)
                end = {"servers": servers, "topic": topic, "encoding": "utf-8"}
                write = memory([*range(2000)], 0.05)
                sick[topic] = [
                    {
                        "dtype": "int64",
                        "source": write,
                        "sink": {"type": "KafkaProducerSink", **end},
                    },
                    {
                        "dtype": "int64",
                        "source": {"type": "KafkaConsumerSource", **end},
                        "sink": attribute(f"s{number}"),
                    },
                ]
            with IsolationRig(kafka.bootstrap_servers, etcd, etcd.port, sick) as rig:
                judge(hurt_in_turn(rig, "another broker", link, peer))


def test_the_configuration_database(kafka, etcd):
    with (
        linked(etcd.port) as link,
        IsolationRig(kafka.bootstrap_servers, etcd, link.port, {}) as rig,
    ):
        judge(hurt_in_turn(rig, DATABASE, link, etcd))


# -- subscribers -----------------------------------------------------------------------------------

SIZES = {"scalar": [], "spectrum of 2,100": [2100], "image of 131,040": [360, 364]}


@pytest.mark.parametrize("size", SIZES)
def test_a_subscriber(kafka, etcd, tmp_path, size):
    sick = {
        "sick": [
            {
                "dtype": "float64",
                "shape": SIZES[size],
                "source": memory([float(number) for number in range(20_000)], 0.02),
                "sink": attribute("large"),
            }
        ]
    }
    with IsolationRig(kafka.bootstrap_servers, etcd, etcd.port, sick) as rig:
        address = rig.connector.address
        frozen = TelescopeProcess(tmp_path / "frozen", address, ["large"])
        slow = TelescopeProcess(tmp_path / "slow", address, ["large"], pondering=1.0)
        peer = f"subscriber: {size}"
        found = []
        with slow:
            found.append(rig.watch(peer, "slow: 1 s for each event", LASTS, lambda: None))
        with frozen:
            frozen.freeze()
            found.append(rig.watch(peer, "frozen", LASTS, frozen.thaw))
            seen = Records(frozen.file)
            list(seen.read())
            eventually(lambda: list(seen.read()), "a value once it is awake again")
        judge(found)
