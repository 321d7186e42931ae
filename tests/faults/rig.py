"""The real thing under test: one connector with a group for each pair of source and sink.

* in        consecutive numbers from a Kafka feeder and from a Tango device
* out       a topic, the attributes of another device, and the connector's own attributes as a
  subscriber in another process gets them
* accounts  every reading of ``statistics`` must balance; `Rig.rows` compares what came out with
  what went in, for each pair
"""

from __future__ import annotations

import contextlib
import itertools
import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import attrs
import numpy as np
import tango

from tests.faults.collectors import FileCollector, TopicCollector
from tests.faults.feeders import KafkaFeeder, TangoFeeder
from tests.faults.processes import (
    ConnectorProcess,
    SourceProcess,
    TargetProcess,
    TelescopeProcess,
)
from tests.faults.rows import Row
from tests.faults.tally import Tally
from tests.services.kafka import create_topic
from tests.services.process import ServiceProcess
from tests.support import waiting

RECOVERY = 30.0
"""Seconds within which data must flow again once a fault is over."""

PATIENCE = 60.0
"""Seconds in which what must come does, on a machine that has other work too."""

QUIET = 1.5
"""Seconds without anything new after which nothing more is expected."""


def kafka_source_keys(group: str) -> dict[str, Any]:
    """What a Kafka source is given beside servers and topic."""
    return {"group_id": group}


@attrs.frozen
class Route:
    """One pair of source and sink: a group of its own with one exchange."""

    name: str
    pair: str

    @property
    def source(self) -> str:
        return self.name.split("_to_")[0]

    @property
    def sink(self) -> str:
        return self.name.split("_to_")[1]

    @property
    def by_events(self) -> bool:
        """Whether Tango's events carry the numbers for a part of the way."""
        return self.source == "tango" or self.sink == "local"


ROUTES = tuple(
    itertools.starmap(
        Route,
        [
            ("kafka_to_kafka", "Kafka → Kafka"),
            ("kafka_to_local", "Kafka → attribute"),
            ("kafka_to_remote", "Kafka → other device"),
            ("tango_to_kafka", "Tango → Kafka"),
            ("tango_to_local", "Tango → attribute"),
            ("tango_to_remote", "Tango → other device"),
        ],
    )
)
KAFKA_ROUTES = tuple(route for route in ROUTES if route.source == "kafka")
TANGO_ROUTES = tuple(route for route in ROUTES if route.source == "tango")


def routes_to(*sinks: str) -> tuple[Route, ...]:
    return tuple(route for route in ROUTES if route.sink in sinks)


def eventually(
    condition: Callable[[], Any], what: Callable[[], object] | str, timeout: float = PATIENCE
) -> Any:
    """What *condition* gives once it is true; what is hurt takes longer than elsewhere."""
    return waiting.eventually(condition, timeout, what)


def check_balance(statistics: Mapping[str, Any]) -> None:
    """The law of the ledger, for each exchange and each of its sources and sinks."""
    for name, exchange in statistics.items():
        parts = [exchange, *exchange.get("sources", ()), *exchange.get("sinks", ())]
        for counts in parts:
            settled = counts["delivered"] + counts["filtered"] + counts["failed"]
            settled += sum(counts["dropped"].values())
            assert counts["received"] == settled + counts["in_flight"], (name, counts)


class Rig:
    """Everything that takes part, beside the broker at *servers*; ``with`` starts and ends it.

    *keys* are what each exchange has beside source and sink; *arguments* tell the connector where
    its configuration is, if not in a file.
    """

    patience = RECOVERY
    """Seconds within which what is awaited must come."""

    reads_topics_whole = True
    """Whether the accounts read topics anew; else they count what was read on the way."""

    def __init__(
        self,
        servers: str,
        *,
        routes: Sequence[Route] = ROUTES,
        keys: Mapping[str, Any] | None = None,
        kafka_rate: float = 200.0,
        tango_rate: float = 100.0,
        topic_settings: Mapping[str, str] | None = None,
        output_settings: Mapping[str, str] | None = None,
        dtype: str = "int64",
        environment: Mapping[str, str] | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        self.servers = servers
        self.routes = tuple(routes)
        self.keys = dict(keys or {})
        self.run = uuid.uuid4().hex[:8]
        self.topic_settings = dict(topic_settings or {})
        self.output_settings = {
            "message.timestamp.type": "LogAppendTime",  # the broker's clock is nobody's to step
            **(output_settings or {}),
        }
        self.dtype = dtype
        self.kafka_rate = kafka_rate
        self.tango_rate = tango_rate
        self._cleanup = contextlib.ExitStack()
        directory = tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True)
        self.directory = Path(self._cleanup.enter_context(directory))
        self.source = SourceProcess(self.directory / "source")
        self.target = TargetProcess(self.directory / "target")
        self.connector = ConnectorProcess(
            self.directory / "connector", {}, environment=environment, arguments=arguments
        )
        local = [route.name for route in self.routes if route.sink == "local"]
        self.telescope = TelescopeProcess(
            self.directory / "telescope", self.connector.address, local
        )
        self.statistics: dict[str, Any] = {}

    # -- life --------------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        try:
            self.prepare()
            self.assemble()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with self._cleanup:
            for process in self.processes:
                self._cleanup.callback(process.kill)

    @property
    def processes(self) -> tuple[ServiceProcess, ...]:
        return (self.source, self.target, self.connector, self.telescope)

    @property
    def input_topic(self) -> str:
        return f"in-{self.run}"

    def output_topic(self, route: str) -> str:
        return f"out-{self.run}-{route}"

    def prepare(self) -> None:
        """Make topics and devices, and the configuration that names them."""
        create_topic(self.servers, self.input_topic, config=self.topic_settings)
        for route in self.routes:
            if route.sink == "kafka":
                create_topic(
                    self.servers, self.output_topic(route.name), config=self.output_settings
                )
        self.connector.configuration = self.configuration()

    def assemble(self) -> None:
        """Start all, in an order in which whoever receives is there before whoever sends."""
        devices = [self.source, self.target, self.connector]
        for process in devices:
            process.launch()
        self.kafka = KafkaFeeder(self.servers, self.input_topic, self.kafka_rate)
        self._cleanup.callback(self.kafka.close)
        self.tango = TangoFeeder(self.source, self.tango_rate)
        for process in devices:
            process.wait_ready()
        self.await_streaming()
        if any(route.sink == "local" for route in self.routes):
            self.telescope.start()
        self._files = {
            "local": FileCollector(self.telescope.file),
            "remote": FileCollector(self.target.file),
        }
        self._topics = {
            route.name: TopicCollector(self.servers, self.output_topic(route.name))
            for route in self.routes
            if route.sink == "kafka"
        }
        for topic in self._topics.values():
            self._cleanup.callback(topic.close)
        self._tallies = {
            route.name: Tally(self.feeders[route.source].handed) for route in self.routes
        }

    def configuration(self) -> dict[str, Any]:
        """What the connector is told: a group for each route."""
        return {"exchanges": {route.name: [self.exchange(route)] for route in self.routes}}

    def exchange(self, route: Route) -> dict[str, Any]:
        """The configuration of one route."""
        ends = {
            "source": {
                "kafka": {
                    "type": "KafkaConsumerSource",
                    "servers": self.servers.split(","),
                    "topic": self.input_topic,
                    "encoding": "utf-8",
                    **kafka_source_keys(f"{self.run}-{route.name}"),
                },
                "tango": {
                    "type": "TangoSubscriptionSource",
                    "device_name": self.source.address,
                    "attribute_name": "number",
                },
            }[route.source],
            "sink": {
                "kafka": {
                    "type": "KafkaProducerSink",
                    "servers": self.servers.split(","),
                    "topic": self.output_topic(route.name),
                    "encoding": "utf-8",
                },
                "local": {
                    "type": "TangoLocalAttributeSink",
                    "attribute_name": route.name,
                    "default_value": -1,
                },
                "remote": {
                    "type": "TangoRemoteAttributeSink",
                    "device_name": self.target.address,
                    "attribute_name": route.name,
                },
            }[route.sink],
        }
        return {"dtype": self.dtype, **ends, **self.keys}

    def await_streaming(self) -> None:
        """Until every group is ON and each subscription has brought the value of its start."""

        def ready() -> bool:
            statistics = self.take_statistics()
            return set(self.connector.states().values()) == {"ON"} and all(
                statistics[f"{route.name}[0]"]["received"]
                for route in self.routes
                if route.source == "tango"
            )

        eventually(ready, self.report, self.patience)

    # -- flow --------------------------------------------------------------------------------------

    @property
    def feeders(self) -> dict[str, KafkaFeeder | TangoFeeder]:
        return {"kafka": self.kafka, "tango": self.tango}

    def feed(self) -> None:
        """Let the numbers flow, and return when they come out everywhere."""
        for name in {route.source for route in self.routes}:
            self.feeders[name].start()
        self.await_flow(since=0.0)
        self.await_flow(since=time.time(), count=1)  # what waited for the start has come through

    def await_flow(
        self, since: float, routes: Iterable[Route] | None = None, count: int = 100
    ) -> None:
        """Until *count* numbers that went in after *since* have come out of each route."""
        waiting = {route.name: route for route in routes or self.routes}

        def flows() -> bool:
            for name, route in list(waiting.items()):
                if self.tally(route).fresh(since) >= count:
                    del waiting[name]
            return not waiting

        eventually(
            flows, lambda: f"numbers from {', '.join(waiting)}\n{self.report()}", self.patience
        )

    def tally(self, route: Route) -> Tally:
        """What has come out of a route as yet."""
        tally = self._tallies[route.name]
        if route.sink == "kafka":
            fresh = self._topics[route.name].fresh()
        else:
            fresh = self._files[route.sink].fresh(route.name)
        _ = self.feeders[route.source].handed  # read after: what came out has gone in before
        tally.add(fresh)
        return tally

    def settle(self) -> None:
        """Stop feeding, and wait until all has arrived, or nothing has for `QUIET` seconds."""
        for name in {route.source for route in self.routes}:
            self.feeders[name].pause()
        counts: dict[str, int] = {}
        changed = time.monotonic()

        def settled() -> bool:
            nonlocal counts, changed
            now = {route.name: self.tally(route).count for route in self.routes}
            if now != counts:
                counts, changed = now, time.monotonic()
            statistics = self.take_statistics()
            if any(exchange["in_flight"] for exchange in statistics.values()):
                return False
            return self.complete() or time.monotonic() - changed > QUIET

        eventually(settled, self.report, self.patience)

    def complete(self) -> bool:
        """Whether everything that is known to be in has come out."""
        return not any(self.tally(route).lost() for route in self.routes)

    def reconfigure(self) -> None:
        """Lead groups out of FAULT, with the configuration as it is now, and stream again."""
        self.connector.configuration = self.configuration()
        proxy = self.connector.proxy()
        if "ON" in self.connector.states().values():
            proxy.Stop()
            ended = {"OFF", "FAULT"}
            eventually(lambda: ended.issuperset(self.connector.states().values()), self.report)
        proxy.Reset()
        proxy.Configure(json.dumps(self.connector.configuration))
        proxy.Start()
        self.await_streaming()

    # -- accounts ----------------------------------------------------------------------------------

    def take_statistics(self) -> dict[str, Any]:
        """The connector's ledgers, which must balance whenever they are read."""
        self.statistics = self.connector.statistics()
        check_balance(self.statistics)
        return self.statistics

    def counted(self, route: Route) -> dict[str, int]:
        """What the connector, and a subscriber, say of data that did not make it."""
        ledger = self.statistics[f"{route.name}[0]"]
        told = {
            **ledger["dropped"],
            "failed": ledger["failed"],
            "skipped": ledger.get("skipped", 0),
            "dead-lettered": ledger.get("dead_lettered", 0),
            **ledger["upstream"],
        }
        if route.sink == "local":
            missed = self._files["local"].errors(route.name)["API_MissedEvents"]
            told["missed by the subscriber"] = missed
        return {name: count for name, count in told.items() if count}

    def rows(
        self, fault: str, over: float, routes: Iterable[Route] | None = None
    ) -> dict[str, Account]:
        """The accounts of each route, once all is quiet: `settle` first."""
        self.take_statistics()
        return {route.name: self._account(fault, over, route) for route in routes or self.routes}

    def _account(self, fault: str, over: float, route: Route) -> Account:
        handed = self.feeders[route.source].handed
        tally = self.tally(route)
        if route.sink == "kafka" and self.reads_topics_whole:
            tally = Tally(handed)
            tally.add(self._topics[route.name].all())
        out = int(np.count_nonzero(tally.times()))
        lost = tally.lost()
        first = tally.first(over) if over else None
        row = Row(
            fault=fault,
            pair=route.pair,
            sent=out + len(lost),
            out=out,
            duplicated=tally.count - out,
            lost=len(lost),
            counted=self.counted(route),
            recovered=None if first is None else max(0.0, first - over),
        )
        return Account(
            route=route,
            row=row,
            lost={number: handed.times[number] for number in lost},
            repeated=tally.repeated(),
            overtaken=tally.overtaken,
        )

    def report(self) -> str:
        """What there is to see, for a failure."""
        try:
            state = self.connector.proxy().Status()
            state += f"\n{self.take_statistics()}"
        except tango.DevFailed as error:
            state = f"the connector does not answer: {error.args[0].desc}"
        return f"{state}\nits log:\n{self.connector.log_tail()}"


@attrs.frozen
class Account:
    """A row, and what a test asks beyond it."""

    route: Route
    row: Row
    lost: Mapping[int, float]
    """Lost number → when it went in."""
    repeated: list[int]
    overtaken: list[tuple[int, int]]

    def gaps(self) -> list[tuple[int, int]]:
        """The first and the last number of each run of lost ones."""
        first = [number for number in self.lost if number - 1 not in self.lost]
        last = [number for number in self.lost if number + 1 not in self.lost]
        return list(zip(first, last, strict=True))
