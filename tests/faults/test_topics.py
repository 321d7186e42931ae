"""What may become of a topic while it is read."""

from __future__ import annotations

import time

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions

from tests.faults.guarantees import check_pair, check_streaming, endure
from tests.faults.rig import KAFKA_ROUTES, Rig, eventually
from tests.services.kafka import create_topic, delete_topic

GONE = 3.0
"""Seconds for which a topic must be gone to be taken for deleted, see the docs, and one more."""

FETCHED = 10
"""Messages that a fetch which was under way may bring to a connector that stands still."""

LIMIT = 20.0  # s for what a broker is asked to do


@pytest.fixture
def admin(kafka) -> AdminClient:
    return AdminClient({"bootstrap.servers": kafka.bootstrap_servers, "log_level": 0})


def test_topic_deleted_and_made_again(kafka, publish):
    servers = kafka.bootstrap_servers
    with Rig(servers, routes=KAFKA_ROUTES) as rig:

        def hurt() -> None:
            rig.kafka.pause()
            eventually(rig.complete, rig.report)  # what a deleted topic has is nobody's to save
            rig.kafka.close()  # a producer makes the topic that it writes to
            delete_topic(servers, rig.input_topic)
            gone_until = time.monotonic() + GONE
            eventually(lambda: time.monotonic() > gone_until, "")
            create_topic(servers, rig.input_topic)
            rig.kafka.reconnect()
            rig.kafka.start()

        publish(endure(rig, "topic deleted and made again", hurt))


def test_partitions_added(kafka, admin, publish):
    with Rig(kafka.bootstrap_servers, routes=KAFKA_ROUTES) as rig:

        def hurt() -> None:
            rig.kafka.pause()
            more = [NewPartitions(rig.input_topic, 3)]
            admin.create_partitions(more)[rig.input_topic].result(LIMIT)
            rig.kafka.partitions = 3
            rig.kafka.reconnect()
            rig.kafka.start()

        publish(endure(rig, "partitions added", hurt))


def test_retention_overrun(kafka, admin, publish):
    """A connector that stands still is overtaken; what it skips is what it says."""
    with Rig(kafka.bootstrap_servers, routes=KAFKA_ROUTES) as rig:
        rig.feed()
        rig.kafka.pause()
        eventually(rig.complete, rig.report)
        before = rig.kafka.handed.next
        rig.connector.freeze()
        try:
            rig.kafka.give(FETCHED)
            rig.kafka.pause()  # until all are acknowledged
            rig.kafka.give(1000 - FETCHED)
            rig.kafka.pause()
            cut = TopicPartition(rig.input_topic, 0, before - 1 + 700)
            admin.delete_records([cut])[cut].result(LIMIT)
        finally:
            rig.connector.thaw()
        over = time.time()
        rig.kafka.start()
        rig.await_flow(over)
        rig.settle()
        check_streaming(rig)
        accounts = rig.rows("retention overrun", over)
        publish(accounts)
        for account in accounts.values():
            lost = list(account.lost)
            assert lost == list(range(lost[0], before + 700))
            assert before <= lost[0] <= before + FETCHED
            assert account.row.counted == {"offsets skipped by retention": len(lost)}
            check_pair(account, outages=[(0.0, over)])
