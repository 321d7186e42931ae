"""Fixtures of the system tests: real Kafka, real etcd, one of each per session.

What cannot be had is a reason to skip, and a failure where ``CI`` is set.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.services.etcd import EtcdServer
from tests.services.fixtures import running
from tests.services.kafka import ExternalKafka, KafkaServer

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.services)


@pytest.fixture(scope="session")
def kafka() -> Iterator[KafkaServer | ExternalKafka]:
    """A Kafka broker: ``kafka.bootstrap_servers``."""
    if servers := os.environ.get("KAFKA_BOOTSTRAP_SERVERS"):
        yield ExternalKafka(servers)
        return
    with running(KafkaServer) as server:
        yield server


@pytest.fixture
def controlled_kafka(kafka: KafkaServer | ExternalKafka) -> Iterator[KafkaServer]:
    """The same broker for tests that stop, kill or freeze it; brought back after the test."""
    if isinstance(kafka, ExternalKafka):
        pytest.skip("KAFKA_BOOTSTRAP_SERVERS names a broker that the tests cannot stop")
    kafka.ensure_running()
    yield kafka
    kafka.ensure_running()


@pytest.fixture(scope="session")
def etcd() -> Iterator[EtcdServer]:
    """An etcd server: ``etcd.endpoint``, ``etcd.etcdctl(...)``."""
    with running(EtcdServer) as server:
        yield server


@pytest.fixture
def controlled_etcd(etcd: EtcdServer) -> Iterator[EtcdServer]:
    """The same server for tests that stop, kill or freeze it; brought back after the test."""
    etcd.ensure_running()
    yield etcd
    etcd.ensure_running()


@pytest.fixture
def own_etcd(etcd: EtcdServer, tmp_path: Path) -> Iterator[EtcdServer]:
    """A server for one test, empty; the shared one shows that there can be one."""
    with EtcdServer(tmp_path / "own") as server:
        yield server
