"""Apache Kafka in KRaft mode, run by ``java`` from jars that Maven fetched once.

* jars      named by ``pom.xml`` beside this file, kept in ``build/kafka-jars-VERSION-DIGEST``;
  while that directory is there, neither Maven nor a network is needed
* node      `KafkaServer`: broker and controller in one process, its own data, two loopback ports.
  A cluster is the same class with the same *voters* and *cluster_id*; `launch` all members, then
  `wait_ready` each
* sizes     messages up to 100 MiB; a heap of 512 MB
* instead   `KAFKA_BOOTSTRAP_SERVERS` names a Kafka that runs elsewhere: `ExternalKafka`, which the
  tests use but cannot stop
* source    Apache Kafka documentation, "KRaft" and "Broker Configs"
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import os
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from xml.etree import ElementTree

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from tests.services.process import (
    LOOPBACK,
    ServiceFailed,
    ServiceProcess,
    ServiceUnavailable,
    find_program,
    free_port,
)

POM = Path(__file__).with_name("pom.xml")
BUILD = Path(__file__).resolve().parents[2] / "build"
MAX_MESSAGE_BYTES = 100 * 1024 * 1024
_BATCH_MAX_BYTES = MAX_MESSAGE_BYTES + 1024 * 1024  # room for the headers of a record batch
_MAVEN_TIMEOUT = 600.0  # s
_ADMIN_TIMEOUT = 15.0  # s
# What a client sees while a cluster gathers or mends itself.
_TRANSIENT = {
    KafkaError._ALL_BROKERS_DOWN,
    KafkaError._DESTROY_BROKER,
    KafkaError._TIMED_OUT,
    KafkaError._TRANSPORT,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_CONTROLLER,
    KafkaError.REQUEST_TIMED_OUT,
}

_JVM = (
    "-Xms64m",
    "-Xmx512m",
    "-XX:+UseSerialGC",
    "-XX:TieredStopAtLevel=1",
    "-XX:+ExitOnOutOfMemoryError",
    "-Djava.awt.headless=true",
    "-Djava.net.preferIPv4Stack=true",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
    "-Dorg.slf4j.simpleLogger.showDateTime=true",
    "-Dorg.slf4j.simpleLogger.dateTimeFormat=yyyy-MM-dd'T'HH:mm:ss.SSS",
)


@dataclass(frozen=True)
class KafkaNode:
    """One member of a cluster: its number and its two loopback ports."""

    id: int
    port: int = field(default_factory=free_port)
    controller_port: int = field(default_factory=free_port)


class KafkaServer(ServiceProcess):
    """A Kafka node, alone unless *voters* names the members of its cluster.

    *properties* override what is written to ``server.properties``.
    """

    name: ClassVar[str] = "kafka"
    start_timeout: ClassVar[float] = 60.0

    def __init__(
        self,
        directory: Path,
        *,
        node: KafkaNode | None = None,
        voters: Sequence[KafkaNode] = (),
        cluster_id: str | None = None,
        properties: Mapping[str, object] | None = None,
        jars: Path | None = None,
    ) -> None:
        super().__init__(directory)
        self.node = node or KafkaNode(1)
        self.voters = tuple(voters) or (self.node,)
        self.cluster_id = cluster_id or new_cluster_id()
        self.properties = dict(properties or {})
        self._java = find_java()
        self._jars = kafka_jars() if jars is None else jars
        self._config = directory / "server.properties"
        self._data = directory / "data"

    @property
    def bootstrap_servers(self) -> str:
        """The address of this node; one of a cluster is enough for a client to find the rest."""
        return f"{LOOPBACK}:{self.node.port}"

    @property
    def format_arguments(self) -> Sequence[str]:
        """What else the storage tool is told when it makes the data."""
        return ()

    def command(self) -> Sequence[str]:
        return [*self._java_command("kafka.Kafka"), str(self._config)]

    def prepare(self) -> None:
        lines = [f"{key}={value}" for key, value in self._server_properties().items()]
        self._config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        if (self._data / "meta.properties").exists():
            return
        arguments = ["format", "-t", self.cluster_id, "-c", str(self._config)]
        arguments += self.format_arguments
        with self.log_path.open("ab") as log:
            done = subprocess.run(
                [*self._java_command("kafka.tools.StorageTool"), *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                timeout=self.start_timeout,
                check=False,
            )
        if done.returncode != 0:
            raise ServiceFailed(f"Kafka's storage was not formatted; log:\n{self.log_tail()}")

    def probe(self) -> bool:
        admin = _admin(self.bootstrap_servers)
        try:
            return self.node.id in admin.list_topics(timeout=1.0).brokers
        except KafkaException:
            return False

    def _java_command(self, main_class: str) -> list[str]:
        return [self._java, *_JVM, "-cp", f"{self._jars}/*", main_class]

    def _server_properties(self) -> dict[str, object]:
        replicas = min(3, len(self.voters))
        voters = (f"{voter.id}@{LOOPBACK}:{voter.controller_port}" for voter in self.voters)
        return {
            "process.roles": "broker,controller",
            "node.id": self.node.id,
            "controller.quorum.voters": ",".join(voters),
            "listeners": (
                f"CLIENT://{LOOPBACK}:{self.node.port},"
                f"CONTROLLER://{LOOPBACK}:{self.node.controller_port}"
            ),
            "advertised.listeners": f"CLIENT://{LOOPBACK}:{self.node.port}",
            "listener.security.protocol.map": "CLIENT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "CLIENT",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": self._data,
            "auto.create.topics.enable": "true",
            "num.partitions": 1,
            "default.replication.factor": replicas,
            "min.insync.replicas": max(1, replicas - 1),
            "offsets.topic.num.partitions": 1,
            "offsets.topic.replication.factor": replicas,
            "transaction.state.log.num.partitions": 1,
            "transaction.state.log.replication.factor": replicas,
            "transaction.state.log.min.isr": max(1, replicas - 1),
            "group.initial.rebalance.delay.ms": 0,
            # A killed broker is let in again once its old session is over: 9 s by default.
            "broker.session.timeout.ms": 3000,
            "broker.heartbeat.interval.ms": 500,
            "message.max.bytes": _BATCH_MAX_BYTES,
            "replica.fetch.max.bytes": _BATCH_MAX_BYTES,
            "socket.request.max.bytes": 2 * _BATCH_MAX_BYTES,
            "log.cleaner.dedupe.buffer.size": 4 * 1024 * 1024,  # 128 MB of heap otherwise
            "num.network.threads": 2,
            "num.io.threads": 4,
            "background.threads": 2,
            **self.properties,
        }


@dataclass(frozen=True)
class ExternalKafka:
    """A Kafka that runs elsewhere; the tests have no power over its process."""

    bootstrap_servers: str


def new_cluster_id() -> str:
    """Return a random identity in the form that Kafka's storage tool asks for."""
    while True:
        text = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        if not text.startswith("-"):  # the tool would take it for an option
            return text


def create_topic(
    bootstrap_servers: str,
    topic: str,
    partitions: int = 1,
    config: Mapping[str, str] | None = None,
) -> None:
    """Make *topic*, replicated as the broker does by default; wait until all of it has leaders."""
    admin = _admin(bootstrap_servers)
    new = NewTopic(topic, num_partitions=partitions, config=dict(config or {}))
    _request(
        lambda: admin.create_topics([new], operation_timeout=_ADMIN_TIMEOUT)[topic],
        repeated=KafkaError.TOPIC_ALREADY_EXISTS,
    )

    def has_leaders() -> bool:
        found = admin.list_topics(timeout=1.0).topics.get(topic)
        return (
            found is not None
            and len(found.partitions) == partitions
            and all(part.leader >= 0 for part in found.partitions.values())
        )

    _wait_until(has_leaders, f"topic {topic} has no leaders")


def leader_of(bootstrap_servers: str, topic: str) -> int:
    """The number of the node that leads partition 0; -1 while the cluster has no answer."""
    try:
        found = _admin(bootstrap_servers).list_topics(timeout=2.0).topics.get(topic)
    except KafkaException as error:
        if error.args[0].code() not in _TRANSIENT:
            raise
        return -1
    return found.partitions[0].leader if found is not None and found.partitions else -1


def delete_topic(bootstrap_servers: str, topic: str) -> None:
    """Delete *topic* and wait until the broker has forgotten it."""
    admin = _admin(bootstrap_servers)
    _request(
        lambda: admin.delete_topics([topic], operation_timeout=_ADMIN_TIMEOUT)[topic],
        repeated=KafkaError.UNKNOWN_TOPIC_OR_PART,
    )
    _wait_until(
        lambda: topic not in admin.list_topics(timeout=1.0).topics, f"topic {topic} is still there"
    )


def find_java() -> str:
    """Return the ``java`` program, of ``JAVA_HOME`` if that is set."""
    if home := os.environ.get("JAVA_HOME"):
        java = Path(home) / "bin" / "java"
        if java.exists():
            return str(java)
    return find_program("java", "Kafka needs a Java runtime, 11 or later")


def kafka_jars() -> Path:
    """Return the directory that holds the broker's jars; fetch them first if it is not there."""
    digest = hashlib.sha256(POM.read_bytes()).hexdigest()[:8]
    target = BUILD / f"kafka-jars-{_kafka_version()}-{digest}"
    if target.is_dir():
        return target
    maven = find_program("mvn", "Maven fetches the jars of Kafka")
    BUILD.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kafka-jars-", dir=BUILD) as scratch:
        fetched = Path(scratch) / "jars"
        _fetch(maven, fetched)
        try:
            fetched.rename(target)  # all or nothing
        except OSError:
            if not target.is_dir():  # else another run was faster
                raise
    return target


def _fetch(maven: str, directory: Path) -> None:
    command = [
        maven,
        *("--quiet", "--batch-mode", "--no-transfer-progress", "--file", str(POM)),
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={directory}",
    ]
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_MAVEN_TIMEOUT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ServiceUnavailable(
            f"Maven did not fetch Kafka's jars within {_MAVEN_TIMEOUT:g} s"
        ) from error
    if done.returncode != 0:
        # The first lines say what failed, the rest how to debug Maven.
        reason = "\n".join(line for line in done.stdout.splitlines() if "[ERROR]" in line)[:1000]
        raise ServiceUnavailable(f"Maven could not fetch Kafka's jars:\n{reason or done.stdout}")


def _kafka_version() -> str:
    namespaces = {"m": "http://maven.apache.org/POM/4.0.0"}
    version = ElementTree.parse(POM).findtext("m:properties/m:kafka.version", None, namespaces)
    assert version is not None, "pom.xml names no kafka.version"
    return version


def _request(ask: Callable[[], Future[None]], *, repeated: int) -> None:
    """Ask until answered; an error *repeated* means that an earlier try had succeeded unheard."""
    deadline = time.monotonic() + _ADMIN_TIMEOUT
    for attempt in itertools.count():
        try:
            return ask().result(_ADMIN_TIMEOUT)
        except KafkaException as error:
            code = error.args[0].code()
            if attempt > 0 and code == repeated:
                return None
            if code not in _TRANSIENT or time.monotonic() > deadline:
                raise
        time.sleep(0.05)
    return None


def _wait_until(condition: Callable[[], bool], otherwise: str) -> None:
    """Wait for what a broker learns a moment after the controller has decided it."""
    deadline = time.monotonic() + _ADMIN_TIMEOUT
    while True:
        try:
            if condition():
                return
        except KafkaException as error:
            if error.args[0].code() not in _TRANSIENT:
                raise
        if time.monotonic() > deadline:
            raise ServiceFailed(f"{otherwise} after {_ADMIN_TIMEOUT:g} s")
        time.sleep(0.02)


def _admin(bootstrap_servers: str) -> AdminClient:
    return AdminClient(
        {
            "bootstrap.servers": bootstrap_servers,
            "log_level": 0,  # a server that is still starting is no news
            "reconnect.backoff.ms": 10,
            "reconnect.backoff.max.ms": 50,
        }
    )
