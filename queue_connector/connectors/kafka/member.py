"""A consumer that is a member of its group, which shares out the partitions of one topic.

Kafka's own groups do it: members join and leave, and those that are not heard of for a *session*
are left out. Sharing is cooperative: only partitions that change hands stop.

* alone     one topic of one source: what is taken away is waited for, and nobody else should be
* taken     what was handed over of partitions that are taken away is settled and committed first,
            for `GIVING_BACK` seconds at most; what waits is left to the next reader
* lost      who was not heard of, or has not heard of the group, for a session is asked nothing: its
            commits are not taken any more, and others may have its partitions already
* threads   callbacks of the group are called in the thread that polls, while it does
* source    librdkafka, CONFIGURATION.md; KIP-429, incremental cooperative rebalancing
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from ...model.shared import Shared
from .client import HOPELESS, describe
from .cluster import Cluster, Found
from .held import HeldPartitions
from .reader import Reader
from .subscription import Subscription

GIVING_BACK = 5.0
"""Seconds that what was handed over of partitions that are taken away has to be settled."""

_STUCK = 60_000  # ms that the thread may not poll: more than it takes to give back and commit
_HEARTBEAT = 3000  # ms between words to the group, at most
_METADATA = 5000  # ms between looks for a topic that is made, and for partitions that are added
_TURN = 0.002  # s between looks whether all is settled
_CANNOT_JOIN = HOPELESS | {
    KafkaError.INCONSISTENT_GROUP_PROTOCOL,
    KafkaError.INVALID_SESSION_TIMEOUT,
    KafkaError.GROUP_MAX_SIZE_REACHED,
}


class Member(Reader):
    """One member; ``async with`` joins the group, once a topic is claimed, and leaves it."""

    is_member: ClassVar[bool] = True

    def __init__(
        self, shared: Shared, cluster: Cluster, group: str, log: logging.Logger, session: float
    ) -> None:
        super().__init__(shared, cluster, group, log)
        self._name = group
        self._session = int(session * 1000)
        self._held: HeldPartitions | None = None

    def looked(self, found: Mapping[str, Found]) -> None:
        """What the cluster says of the topic, and who is in the group if we have nothing of it."""
        held = self._held
        if held is not None and held.is_idle:
            self.post(held.others_are, self.asker.members(self._name) - 1)
        super().looked(found)

    # -- in the thread that polls ------------------------------------------------------------------

    def _settings(self) -> dict[str, Any]:
        return {
            **super()._settings(),
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": self._session,
            "heartbeat.interval.ms": min(self._session // 5, _HEARTBEAT),
            "max.poll.interval.ms": max(self._session, _STUCK),
            "topic.metadata.refresh.interval.ms": _METADATA,
        }

    def _read(self, subscription: Subscription) -> HeldPartitions:
        self._held = HeldPartitions(self, subscription)
        self._join(subscription.topic)
        return self._held

    def _join(self, topic: str) -> None:
        self.consumer.subscribe(
            [topic], on_assign=self._given, on_revoke=self._taken_away, on_lost=self._lost
        )

    def _connect(self) -> None:
        super()._connect()
        for topic in self._topics:
            self._join(topic)

    def _renew(self) -> None:
        """Go on with another client, which joins as another member."""
        if self._held is not None:
            self._held.lose(set(self._held.numbers))
        super()._renew()

    def _sort(self, burst: tuple[Message[Any, Any], ...]) -> None:
        for message in burst:
            error: Any = message.error()
            if error is None or message.topic() is not None or self._held is None:
                continue
            if error.code() in _CANNOT_JOIN:
                self._held.fail(error)
            else:
                self.asker.trouble.report(describe(error))
        super()._sort(burst)

    # -- what the group does -----------------------------------------------------------------------

    def _given(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        """Answer that none is fetched from: where to begin is found out first."""
        consumer.incremental_assign([])
        if self._held is not None:
            self._held.give({place.partition for place in places})

    def _taken_away(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        held = self._held
        if held is not None and held.subscription.topic in self._topics:
            numbers = {place.partition for place in places}
            held.take_away(numbers)
            deadline = time.monotonic() + GIVING_BACK
            while not held.subscription.returned and time.monotonic() < deadline:
                time.sleep(_TURN)
            assert self._committing is not None
            topic = held.subscription.topic
            committed = self._committing.give_back(consumer, topic, numbers)
            held.let_go(numbers, committed and held.subscription.returned)
        consumer.incremental_unassign([])

    def _lost(self, consumer: Consumer, places: Sequence[TopicPartition]) -> None:
        if self._held is not None:
            self._held.lose({place.partition for place in places})
        consumer.incremental_unassign([])
