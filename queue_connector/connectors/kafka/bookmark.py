"""Positions that a consumer group keeps in Kafka, as the bookmark of one reader.

No membership is asked for: the group is a name under which positions are committed and found again.
Commits are asynchronous; their answers come when the consumer is polled.

* threads   everything here is called in the thread that polls
* errors    `KafkaException` where a question is asked; a commit that fails is reported and repeated
* source    Apache Kafka protocol, ``OffsetCommit`` and ``OffsetFetch`` by a client without a member
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from .client import Trouble, describe, error_of

_INTERVAL = 1.0  # s between commits, so that a fast stream does not spend its time on them
_TIMEOUT = 3000  # ms that a commit waits for its coordinator; closing waits for that
_PATIENCE = 2.0  # s for the answer to a commit before another is sent, of all that was settled


class Bookmark:
    """What is settled of a topic, and what of that is committed for *group*."""

    def __init__(self, group: str, topic: str, trouble: Trouble) -> None:
        self._group = group
        self._topic = topic
        self._trouble = trouble
        self.forget()

    def forget(self) -> None:
        """Begin anew: nothing is settled, nothing committed."""
        self._settled: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._unanswered = False
        self._sent_at = 0.0

    def settings(self) -> dict[str, Any]:
        """What the consumer must be made with."""
        return {
            "group.id": self._group,
            "on_commit": self._answered,
            "session.timeout.ms": _TIMEOUT,  # of no session, but of a commit
            "heartbeat.interval.ms": _TIMEOUT // 3,
        }

    def find(self, consumer: Consumer, partitions: Sequence[int], timeout: float) -> dict[int, int]:
        """Where the group has committed before, of the partitions where it has."""
        if not partitions:
            return {}
        asked = [TopicPartition(self._topic, number) for number in partitions]
        found = consumer.committed(asked, timeout)
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
        self._committed = {
            place.partition: place.offset for place in found if place.offset != OFFSET_INVALID
        }
        return dict(self._committed)

    def settle(self, positions: Mapping[int, int]) -> None:
        """Everything before these positions has come to its end."""
        self._settled = {**self._settled, **positions}

    @property
    def behind(self) -> bool:
        """Whether something was settled that is not committed."""
        return any(self._committed.get(n) != offset for n, offset in self._settled.items())

    def commit(self, consumer: Consumer, *, at_once: bool = False) -> None:
        """Send what was settled since the last commit, unless one is on its way or was just now."""
        if not self.behind:
            return
        age = time.monotonic() - self._sent_at
        if self._unanswered and age < _PATIENCE:
            return
        if not self._unanswered and not at_once and age < _INTERVAL:
            return
        self._unanswered = True
        self._sent_at = time.monotonic()
        offsets = [TopicPartition(self._topic, *place) for place in self._settled.items()]
        try:
            consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as exception:
            self._unanswered = False
            self._trouble.report(f"commit: {describe(error_of(exception))}")

    def _answered(self, error: KafkaError | None, places: Sequence[TopicPartition]) -> None:
        self._unanswered = False
        for place in places:
            found = error or place.error
            if found is not None:
                self._trouble.report(f"commit: {describe(found)}")
            else:
                self._committed[place.partition] = place.offset
