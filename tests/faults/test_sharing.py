"""Two and three connectors share a topic of twelve partitions, and are hurt while numbers flow."""

from __future__ import annotations

import contextlib
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Self

import numpy as np
import pytest
import tango

from tests.faults.collectors import TopicCollector
from tests.faults.feeders import KafkaFeeder
from tests.faults.processes import ConnectorProcess
from tests.faults.rig import check_balance, eventually
from tests.faults.sharing import Takeover, save
from tests.faults.tally import Tally
from tests.services.kafka import create_topic

PARTITIONS = 12
RATE = 2000.0  # 1/s
TAKEN_OVER = 30.0
"""Seconds within which all partitions must have a reader that goes on."""


class Sharing:
    """Connectors that copy one topic to another as members of one group, and what came of it."""

    def __init__(self, servers: str) -> None:
        self.servers = servers
        self.run = uuid.uuid4().hex[:8]
        self.rows: list[Takeover] = []
        self._cleanup = contextlib.ExitStack()

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as cleanup:
            directory = tempfile.TemporaryDirectory(prefix="sharing-", ignore_cleanup_errors=True)
            self.directory = Path(cleanup.enter_context(directory))
            came, went = f"in-{self.run}", f"out-{self.run}"
            create_topic(self.servers, came, PARTITIONS)
            create_topic(self.servers, went, config={"message.timestamp.type": "LogAppendTime"})
            self.connectors = [self._connector(name, came, went) for name in "abc"]
            for connector in self.connectors:
                cleanup.callback(connector.kill)
            self.feeder = KafkaFeeder(self.servers, came, RATE)
            self.feeder.partitions = PARTITIONS
            cleanup.callback(self.feeder.close)
            self._collector = TopicCollector(self.servers, went)
            cleanup.callback(self._collector.close)
            self.tally = Tally(self.feeder.handed)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def _connector(self, name: str, came: str, went: str) -> ConnectorProcess:
        common = {"servers": self.servers.split(","), "encoding": "utf-8"}
        shared = {"group_id": f"g-{self.run}", "members": "shared", "start": "earliest"}
        source = {"type": "KafkaConsumerSource", "topic": came, **common, **shared}
        sink = {"type": "KafkaProducerSink", "topic": went, **common}
        exchange = {"dtype": "int64", "source": source, "sink": sink}
        return ConnectorProcess(self.directory / name, {"exchanges": {"shared": [exchange]}})

    def relaunch(self, session: float) -> None:
        """End all, and start all with sessions of so many seconds."""
        for connector in self.connectors:
            connector.stop()
            (exchange,) = connector.configuration["exchanges"]["shared"]
            exchange["source"]["session_timeout"] = session
            connector.launch()
        for connector in self.connectors:
            connector.wait_ready()
        self.await_sharing("a", "b", "c")

    # -- who reads what ----------------------------------------------------------------------------

    def held(self, *names: str) -> dict[str, int]:
        """How many partitions each connector reads, or those of *names*, that answers."""
        found = {}
        for connector in self.connectors:
            name = connector.directory.name
            if connector.running and (not names or name in names):
                with contextlib.suppress(tango.DevFailed, AttributeError):  # it starts
                    statistics = connector.statistics()
                    check_balance(statistics)
                    (source,) = statistics["shared[0]"]["sources"]
                    found[name] = source["condition"].get("partitions", 0)
        return found

    def shared_by(self, *names: str) -> bool:
        """Whether these read all partitions, evenly, and nobody else has any."""
        each = PARTITIONS // len(names)
        return self.held() == dict.fromkeys(names, each)

    def await_sharing(self, *names: str) -> None:
        eventually(lambda: self.shared_by(*names), self.report, TAKEN_OVER)

    # -- what came of it ---------------------------------------------------------------------------

    def collect(self) -> None:
        fresh = self._collector.fresh()
        _ = self.feeder.handed
        self.tally.add(fresh)

    def flows(self, since: float) -> bool:
        """Whether numbers have come out of each partition that went in after *since*."""
        self.collect()
        first = self.feeder.handed.since(since)
        out = np.flatnonzero(self.tally.times()[first:]) + first
        return len({self.feeder.handed.partition(int(number)) for number in out}) == PARTITIONS

    def complete(self, last: int) -> bool:
        """Whether all numbers before *last* have come out, acknowledged yet or not."""
        self.collect()
        return bool(self.tally.times()[1:last].all())

    def repeated(self) -> int:
        return self.tally.count - int(np.count_nonzero(self.tally.times()))

    def report(self) -> str:
        logs = "\n".join(f"{c.directory.name}:\n{c.log_tail()}" for c in self.connectors)
        return f"{self.held()} read, {self.tally.count} came out\n{logs}"

    def endure(
        self, event: str, connectors: str, hurt: Callable[[], None], *names: str
    ) -> Takeover:
        """The account of what *hurt* did, after which the connectors *names* share the topic."""
        self.collect()
        first, repeated, began = self.feeder.handed.next, self.repeated(), time.time()
        hurt()
        self.await_sharing(*names)
        taken_over = time.time()
        eventually(lambda: self.flows(taken_over), self.report, TAKEN_OVER)
        last = self.feeder.handed.next
        eventually(lambda: self.complete(last), self.report, TAKEN_OVER)
        out = int(np.count_nonzero(self.tally.times()[first:last]))
        row = Takeover(
            event=event,
            connectors=connectors,
            sent=last - first,
            out=out,
            duplicated=self.repeated() - repeated,
            lost=last - first - out,
            shared_out=taken_over - began,
            longest_wait=max(self.tally.waited(first, last - 1)),
        )
        self.rows.append(row)
        assert self.tally.overtaken == [], row
        return row


@pytest.fixture
def sharing(kafka) -> Iterator[Sharing]:
    with Sharing(kafka.bootstrap_servers) as sharing:
        yield sharing


def test_sharing(sharing, kafka):
    """Nothing is lost, order is kept, and only what was killed or stopped makes data come twice."""
    a, b, c = sharing.connectors
    for connector in (a, b):
        connector.launch()
    for connector in (a, b):
        connector.wait_ready()
    sharing.await_sharing("a", "b")
    sharing.feeder.start()
    eventually(lambda: sharing.flows(0.0), sharing.report)

    def frozen() -> None:
        c.freeze()
        try:
            taken_over = {"a": 6, "b": 6}
            eventually(lambda: sharing.held(*"ab") == taken_over, "taken over", TAKEN_OVER)
        finally:
            c.thaw()

    orderly = [
        sharing.endure("one ends (SIGTERM)", "2 → 1", b.stop, "a"),
        sharing.endure("one joins", "1 → 2", b.start, "a", "b"),
        sharing.endure("one joins", "2 → 3", c.start, "a", "b", "c"),
        sharing.endure("one ends (SIGTERM)", "3 → 2", c.stop, "a", "b"),
    ]
    hard = [sharing.endure("one is killed (SIGKILL)", "2 → 1", b.kill, "a")]
    b.launch()
    c.launch()
    b.wait_ready()
    sharing.await_sharing("a", "b", "c")
    hard += [
        sharing.endure("one is stopped (SIGSTOP) and goes on", "3 → 2 → 3", frozen, *"abc"),
        sharing.endure("one is killed (SIGKILL)", "3 → 2", c.kill, "a", "b"),
    ]
    sharing.relaunch(session=60.0)  # longer than a broker needs for a restart on a busy machine
    restart = "the broker restarts within the session"
    orderly.append(sharing.endure(restart, "3", kafka.restart, "a", "b", "c"))
    sharing.feeder.pause()
    eventually(lambda: sharing.complete(sharing.feeder.handed.next), sharing.report)
    save(sharing.rows)
    assert [row.lost for row in sharing.rows] == [0] * len(sharing.rows)
    assert [row.duplicated for row in orderly] == [0] * len(orderly)
    assert sharing.tally.overtaken == []
