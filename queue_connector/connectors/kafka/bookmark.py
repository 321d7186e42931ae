"""Positions that a consumer group keeps in Kafka, for all topics that one reader reads.

No membership is asked for: the group is a name under which positions are committed and found again.
Commits are asynchronous; their answers come when the consumer is polled. Each says who made it, so
that two connectors with one group notice each other.

* threads   everything here is called in the thread that polls
* again     what is committed is committed anew every `REPEAT` seconds, since a broker forgets the
            positions of a group without members (``offsets.retention.minutes``)
* source    Apache Kafka protocol, ``OffsetCommit`` and ``OffsetFetch`` by a client without a member
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from confluent_kafka import OFFSET_INVALID, Consumer, KafkaError, KafkaException, TopicPartition

from .client import Trouble, describe, error_of

Place = tuple[str, int]
"""A topic and the number of a partition."""

REPEAT = 30.0
"""Seconds between commits of what has not moved, and between looks for those of others."""

_INTERVAL = 1.0  # s between commits, so that a fast stream does not spend its time on them
_TIMEOUT = 3000  # ms that a commit waits for its coordinator; closing waits for that
_SHARED_OUT_ANEW = frozenset(
    {
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
    }
)
"""A commit comes again, or another member has the partition: no trouble, but in a single one."""
_PATIENCE = 2.0  # s for the answer to a commit before another is sent, of all that was settled


class Bookmark:
    """What is settled of some topics, and what of that is committed for *group*."""

    def __init__(self, group: str, trouble: Trouble, *, shared: bool = False) -> None:
        self.group = group
        self.shared = shared
        """Whether the group has members, who move its positions each in its turn."""
        self.identity = f"{socket.gethostname()} pid {os.getpid()} {secrets.token_hex(4)}"
        self.refusal: KafkaError | None = None
        """Why the latest commit was not accepted."""
        self._trouble = trouble
        self._settled: dict[Place, int] = {}
        self._committed: dict[Place, int] = {}
        self._behind: set[Place] = set()
        self._unanswered = False
        self._sent_at = self._whole_at = 0.0

    def settings(self) -> dict[str, Any]:
        """What the consumer must be made with."""
        return {
            "group.id": self.group,
            "on_commit": self._answered,
            "session.timeout.ms": _TIMEOUT,  # of no session, but of a commit
            "heartbeat.interval.ms": _TIMEOUT // 3,
        }

    def settle(self, topic: str, positions: Mapping[int, int]) -> None:
        """Everything before these positions has come to its end."""
        for number, offset in positions.items():
            place = (topic, number)
            self._settled[place] = offset
            self._compare(place)

    def forget(self, topic: str, numbers: Iterable[int] | None = None) -> None:
        """Nothing is settled of these partitions, or of the whole topic, and nothing committed."""
        for place in [p for p in self._settled if p[0] == topic]:
            if numbers is None or place[1] in numbers:
                del self._settled[place]
                self._committed.pop(place, None)
                self._behind.discard(place)

    @property
    def is_shared_by_others(self) -> bool:
        """Whether the group takes commits of its members only, and this is none."""
        refusal = self.refusal
        return (
            not self.shared
            and refusal is not None
            and refusal.code() == KafkaError.UNKNOWN_MEMBER_ID
        )

    def behind(self, topic: str) -> bool:
        """Whether something was settled of the topic that is not committed."""
        return any(place[0] == topic for place in self._behind)

    @property
    def places(self) -> list[Place]:
        """The partitions of which something is committed."""
        return list(self._committed)

    def knows(self, topic: str, number: int) -> bool:
        """Whether anything is committed of this partition since it was forgotten."""
        return (topic, number) in self._committed

    def commit(self, consumer: Consumer, *, at_once: bool = False) -> None:
        """Send what was settled since the last commit, unless one is on its way or was just now.

        Now and then all is sent, whether it was settled since or not.
        """
        now = time.monotonic()
        whole = now - self._whole_at > REPEAT
        if not self._settled or not (self._behind or whole):
            return
        age = now - self._sent_at
        if self._unanswered and age < _PATIENCE:
            return
        if not self._unanswered and not at_once and age < _INTERVAL:
            return
        self._unanswered = True
        self._sent_at = now
        self._whole_at = now if whole else self._whole_at
        places = self._settled if whole else self._behind
        offsets = [
            TopicPartition(topic, number, self._settled[topic, number], self.identity)
            for topic, number in places
        ]
        try:
            consumer.commit(offsets=offsets, asynchronous=True)
        except KafkaException as exception:
            self._unanswered = False
            self._trouble.report(f"commit: {describe(error_of(exception))}")

    def commit_now(self, consumer: Consumer, topic: str, numbers: Iterable[int]) -> bool:
        """Wait until what was settled of these partitions is committed; whether it is."""
        places = self._behind.intersection((topic, number) for number in numbers)
        offsets = [TopicPartition(*place, self._settled[place], self.identity) for place in places]
        if not offsets:
            return True
        try:
            answered = consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as exception:
            self._note(error_of(exception), offsets)
            return False
        self._note(None, answered or [])
        return places.isdisjoint(self._behind)

    def commit_for_others(
        self, consumer: Consumer, topic: str, positions: Mapping[int, int]
    ) -> None:
        """Send where other members begin in partitions of which nothing is committed yet."""
        offsets = [TopicPartition(topic, *place, self.identity) for place in positions.items()]
        if offsets:
            try:
                consumer.commit(offsets=offsets, asynchronous=True)
            except KafkaException as exception:
                self._trouble.report(f"commit: {describe(error_of(exception))}")

    def repeat(self) -> None:
        """Commit everything anew, as soon as may be."""
        self._whole_at = 0.0

    def compare(self, found: Iterable[TopicPartition]) -> tuple[set[str], dict[str, str]]:
        """Topics whose committed position is gone, and those whose is another's, with who made it.

        What we have not committed yet is not looked at.
        """
        gone, foreign = set(), {}
        for place in found:
            if (place.topic, place.partition) not in self._committed or place.error is not None:
                continue
            if place.offset == OFFSET_INVALID:
                gone.add(place.topic)
            elif place.metadata != self.identity:
                foreign[place.topic] = place.metadata or "nobody that says its name"
        return gone, foreign

    def _compare(self, place: Place) -> None:
        if self._committed.get(place) == self._settled[place]:
            self._behind.discard(place)
        else:
            self._behind.add(place)

    def _answered(self, error: KafkaError | None, places: Sequence[TopicPartition]) -> None:
        self._unanswered = False
        self._note(error, places)

    def _note(self, error: KafkaError | None, places: Sequence[TopicPartition]) -> None:
        self.refusal = error
        for found in places:
            refusal = error or found.error
            place = (found.topic, found.partition)
            if refusal is not None:
                self.refusal = refusal
                if self.shared and refusal.code() in _SHARED_OUT_ANEW:
                    continue
                self._trouble.report(f"commit: {describe(refusal)}")
            elif place in self._settled:
                self._committed[place] = found.offset
                self._compare(place)
