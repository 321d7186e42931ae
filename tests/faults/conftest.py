"""Fixtures of the fault tests: a broker for most of them, and the rows for the table.

What cannot be had is a reason to skip, and a failure where ``CI`` is set.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest

from tests.faults.rig import Account
from tests.faults.rows import Row, save
from tests.services.etcd import EtcdServer
from tests.services.fixtures import running
from tests.services.kafka import KafkaServer

TIMEOUT = 300.0
"""Seconds for one test; it waits for nothing longer than 30 s, but several times."""

_HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _HERE in item.path.parents:
            item.add_marker(pytest.mark.services)
            item.add_marker(pytest.mark.timeout(TIMEOUT))


def pytest_configure() -> None:
    """Let SIGTERM end the tests in order: with it, what they have started."""
    signal.signal(signal.SIGTERM, lambda *_: pytest.exit("SIGTERM", returncode=143))


@pytest.fixture(scope="session")
def _broker() -> Iterator[KafkaServer]:
    with running(KafkaServer) as server:
        yield server


@pytest.fixture
def kafka(_broker: KafkaServer) -> Iterator[KafkaServer]:
    """One broker, brought back after each test."""
    _broker.ensure_running()
    yield _broker
    _broker.ensure_running()


@pytest.fixture
def etcd() -> Iterator[EtcdServer]:
    """An etcd server of the test's own."""
    with running(EtcdServer) as server:
        yield server


@pytest.fixture(scope="session")
def _rows() -> Iterator[list[Row]]:
    found: list[Row] = []
    yield found
    save(found)


@pytest.fixture
def publish(_rows: list[Row]) -> Callable[[Mapping[str, Account]], None]:
    """Put the rows of these accounts into the table of this run."""
    return lambda accounts: _rows.extend(account.row for account in accounts.values())
