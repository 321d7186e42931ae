"""What a real Kafka does to readers: idle ends, expired positions, transactions, rights."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import trio
from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, Producer, TopicPartition
from confluent_kafka.admin import (
    AclBinding,
    AclOperation,
    AclPermissionType,
    AdminClient,
    ResourcePatternType,
    ResourceType,
)

from queue_connector.model.errors import EndpointError
from queue_connector.model.services import Services
from queue_connector.model.shared import Shared
from tests.services.fixtures import running
from tests.services.kafka import KafkaNode, KafkaServer, create_topic
from tests.services.line import slow_line
from tests.services.process import LOOPBACK, free_port
from tests.support.kafka_topics import make_sink, make_source, produce
from tests.support.waiting import until

LIMIT = 30.0  # s for anything that must come

PROPERTIES = {
    "connections.max.idle.ms": 1500,
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
    "super.users": "User:nobody-else",
}


@pytest.fixture(scope="module")
def servers() -> Iterator[str]:
    """A broker that closes idle connections soon, and heeds access lists."""
    with running(lambda directory: KafkaServer(directory, properties=PROPERTIES)) as server:
        yield server.bootstrap_servers


async def numbers(source, count):
    found = []
    with trio.fail_after(LIMIT):
        while len(found) < count:
            batch = await source.receive_batch()
            found += [int(value) for value in batch.values]
            source.acknowledge(batch)
    return found


async def test_an_idle_connection_that_the_broker_closes_is_no_outage(servers, topic, caplog):
    caplog.set_level(logging.INFO)
    create_topic(servers, topic)
    services = Services()
    async with (
        make_source(servers, topic, services=services, group_id=topic) as source,
        make_sink(servers, topic) as sink,
    ):
        await sink.awrite(1)
        assert await numbers(source, 1) == [1]
        caplog.clear()  # a young broker makes the topic of the positions first
        await trio.sleep(4)  # longer than any connection may be idle here
        await sink.awrite(2)
        assert await numbers(source, 1) == [2]
        assert services.condition.connected
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_what_an_aborted_transaction_leaves_is_not_lost_when_retention_takes_it(
    servers, topic
):
    create_topic(servers, topic)
    producer = Producer({"bootstrap.servers": servers, "transactional.id": topic})
    producer.init_transactions(LIMIT)
    services = Services()
    async with make_source(servers, topic, group_id=topic, services=services) as source:
        produce(servers, topic, [b"0"])
        assert await numbers(source, 1) == [0]
        producer.begin_transaction()
        for _ in range(50):
            producer.produce(topic, b"9")
        producer.flush(LIMIT)
        producer.abort_transaction(LIMIT)
        with trio.fail_after(LIMIT):
            await until(lambda: services.condition.as_dict()["end_offset"] == 52)
            await until(lambda: services.condition.as_dict()["lag"] == 0)
    admin = AdminClient({"bootstrap.servers": servers})
    cut = TopicPartition(topic, 0, 52)
    admin.delete_records([cut])[cut].result(LIMIT)
    async with make_source(servers, topic, group_id=topic, services=services) as source:
        produce(servers, topic, [b"1"])
        assert await numbers(source, 1) == [1]
    assert services.account.upstream == {}


async def test_a_position_that_is_gone_is_committed_again_and_said(
    servers, topic, monkeypatch, caplog
):
    for room in ("bookmark", "committing"):
        monkeypatch.setattr(f"queue_connector.connectors.kafka.{room}.REPEAT", 0.5)
    create_topic(servers, topic)
    services = Services()
    asked = [ConsumerGroupTopicPartitions(topic, [TopicPartition(topic, 0)])]
    admin = AdminClient({"bootstrap.servers": servers})

    def committed():
        (place,) = admin.list_consumer_group_offsets(asked)[topic].result(LIMIT).topic_partitions
        return place.offset

    async with make_source(servers, topic, group_id=topic, services=services) as source:
        produce(servers, topic, [b"0", b"1"])
        assert await numbers(source, 2) == [0, 1]
        with trio.fail_after(LIMIT):
            await until(lambda: committed() == 2)
            admin.delete_consumer_groups([topic])[topic].result(LIMIT)
            await until(lambda: committed() == 2)
            await until(lambda: services.account.upstream["committed position gone"])
    assert "was gone (expired, see offsets.retention.minutes, or deleted)" in caplog.text


async def test_positions_are_committed_again_where_nothing_moves(servers, topic, monkeypatch):
    """As Kafka forgets them some time after the last commit, quiet topic or not."""
    monkeypatch.setattr("queue_connector.connectors.kafka.bookmark.REPEAT", 0.3)
    create_topic(servers, topic)
    commits = []
    monkeypatch.setattr(
        "queue_connector.connectors.kafka.reader.Consumer",
        lambda settings: Noting(settings, commits),
    )
    async with make_source(servers, topic, group_id=topic):
        with trio.fail_after(LIMIT):
            await until(lambda: len(commits) >= 3)
    assert all([(place.topic, place.offset) for place in each] == [(topic, 0)] for each in commits)


class Noting(Consumer):
    """A consumer that notes what it commits."""

    def __init__(self, settings, commits):
        super().__init__(settings)
        self.commits = commits

    def commit(self, offsets, **options):
        self.commits.append(offsets)
        return super().commit(offsets=offsets, **options)


@pytest.mark.parametrize("denied", [AclOperation.READ, AclOperation.DESCRIBE])
async def test_a_topic_that_may_not_be_read_is_a_fault_of_its_own_source_alone(
    servers, topic, denied
):
    create_topic(servers, topic)
    create_topic(servers, f"{topic}-2")
    admin = AdminClient({"bootstrap.servers": servers})
    deny = AclBinding(
        ResourceType.TOPIC,
        f"{topic}-2",
        ResourcePatternType.LITERAL,
        "User:ANONYMOUS",
        "*",
        denied,
        AclPermissionType.DENY,
    )
    admin.create_acls([deny])[deny].result(LIMIT)
    shared = Shared()
    well, refused = (
        make_source(servers, name, services=Services(shared=shared))
        for name in (topic, f"{topic}-2")
    )
    async with well:
        with trio.fail_after(LIMIT), pytest.raises(EndpointError, match="AUTHORIZATION_FAILED"):
            async with refused:
                await refused.receive()
        produce(servers, topic, [b"0"])
        assert await numbers(well, 1) == [0]


@pytest.fixture(scope="module")
def far_away() -> Iterator[tuple[str, str]]:
    """A broker behind a line with round trips of 700 ms, and its address without the line."""
    port, node = free_port(), KafkaNode(1)
    near = free_port()
    properties = {
        "listeners": f"CLIENT://{LOOPBACK}:{node.port},NEAR://{LOOPBACK}:{near},"
        f"CONTROLLER://{LOOPBACK}:{node.controller_port}",
        "advertised.listeners": f"CLIENT://{LOOPBACK}:{port},NEAR://{LOOPBACK}:{near}",
        "listener.security.protocol.map": "CLIENT:PLAINTEXT,NEAR:PLAINTEXT,CONTROLLER:PLAINTEXT",
    }
    with (
        slow_line(port, node.port, 0.35),
        running(lambda directory: KafkaServer(directory, node=node, properties=properties)),
    ):
        yield f"{LOOPBACK}:{port}", f"{LOOPBACK}:{near}"


async def test_a_line_with_long_round_trips_is_no_obstacle(far_away, topic):
    servers, near = far_away
    create_topic(near, topic, partitions=3)
    shared = Shared()
    first, second = Services(shared=shared), Services(shared=shared)
    with trio.fail_after(LIMIT):
        async with make_source(servers, topic, services=first, group_id=topic) as source:
            produce(near, topic, [b"0", b"1"])
            assert await numbers(source, 2) == [0, 1]
            async with make_source(servers, topic, services=second, start="earliest") as other:
                assert await numbers(other, 2) == [0, 1]
            assert first.condition.connected
    assert first.account.upstream == {}
