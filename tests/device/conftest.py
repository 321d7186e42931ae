"""The servers of these tests are forked: each start would else import Tango, Kafka and the rest."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.device.servers import forked


@pytest.fixture(scope="session", autouse=True)
def _forked() -> Iterator[None]:
    with forked(
        "queue_connector.cli.serve",
        "queue_connector.device.server",
        "queue_connector.connectors.kafka.reader",
        "queue_connector.connectors.kafka.writer",
        "queue_connector.connectors.tango.client",
        "tests.device.servers",
    ):
        yield
