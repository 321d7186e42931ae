"""The broker is hurt while numbers are under way on every pair."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from tests.faults.guarantees import endure
from tests.faults.rig import Rig, eventually
from tests.services.fixtures import unavailable
from tests.services.kafka import KafkaNode, KafkaServer, leader_of, new_cluster_id
from tests.services.process import ServiceUnavailable

FROZEN = 4.0  # s


def stop(kafka):
    kafka.stop()
    kafka.start()


def kill(kafka):
    kafka.kill()
    kafka.start()


def freeze(kafka):
    kafka.freeze()
    thaw_at = time.monotonic() + FROZEN
    eventually(lambda: time.monotonic() > thaw_at, "")
    kafka.thaw()
    kafka.wait_ready()


@pytest.mark.parametrize(
    ("fault", "hurt"),
    [("broker stopped", stop), ("broker killed", kill), ("broker frozen", freeze)],
)
def test_broker(fault, hurt, kafka, publish):
    with Rig(kafka.bootstrap_servers) as rig:
        publish(endure(rig, fault, lambda: hurt(kafka)))


@pytest.fixture(scope="module")
def _cluster() -> Iterator[dict[int, KafkaServer]]:
    with ExitStack() as stack:
        directory = stack.enter_context(
            TemporaryDirectory(prefix="kafka-3-", ignore_cleanup_errors=True)
        )
        nodes = [KafkaNode(number) for number in (1, 2, 3)]
        cluster_id = new_cluster_id()
        try:
            servers = {
                node.id: KafkaServer(
                    Path(directory) / str(node.id), node=node, voters=nodes, cluster_id=cluster_id
                )
                for node in nodes
            }
        except ServiceUnavailable as error:
            unavailable(error)
        for server in servers.values():
            stack.callback(server.kill)
            server.launch()
        for server in servers.values():
            server.wait_ready()
        yield servers


@pytest.fixture
def cluster(_cluster: dict[int, KafkaServer]) -> Iterator[dict[int, KafkaServer]]:
    """Three nodes by their numbers, all of them brought back after each test."""
    yield _cluster
    for server in _cluster.values():
        server.ensure_running()


@pytest.mark.parametrize(
    ("fault", "end"), [("leader moved (3 nodes)", "stop"), ("leader killed (3 nodes)", "kill")]
)
def test_leader(fault, end, cluster, publish):
    servers = ",".join(server.bootstrap_servers for server in cluster.values())
    with Rig(servers) as rig:

        def leader() -> int:
            return max(0, leader_of(servers, rig.input_topic))

        def hurt() -> None:
            before = eventually(leader, "no leader")
            getattr(cluster[before], end)()
            eventually(lambda: leader() not in (before, 0), "no other leader")

        publish(endure(rig, fault, hurt))
