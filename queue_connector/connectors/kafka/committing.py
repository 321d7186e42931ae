"""What a reader does for its group: commit what is settled, and notice what others commit.

* threads   everything here is called in the thread that polls, but `Committing.moved`
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition

from .bookmark import REPEAT, Bookmark
from .client import HOPELESS, describe
from .partitions import POSITION_GONE, POSITION_TAKEN, TopicPartitions
from .subscription import Place, Subscription

_LONGEST_CHECK = 0.1  # s that a look at what is committed may hold up the topics of the group
_WARN_AGAIN = 60.0  # s between warnings that somebody else commits


class Committing:
    """For the topics of one reader; the *unmarked* wait until it is committed where they begin."""

    def __init__(
        self,
        bookmark: Bookmark,
        topics: Mapping[str, TopicPartitions],
        unmarked: set[TopicPartitions],
        tell: Callable[..., None],
    ) -> None:
        self._bookmark = bookmark
        self._topics = topics
        self._unmarked = unmarked
        self._tell = tell
        self._moved: deque[tuple[str, Mapping[int, Place]]] = deque()
        self._leaving: dict[str, Subscription] = {}
        self._next_check = 0.0
        self._warned: dict[str, float] = {}

    @property
    def urgent(self) -> bool:
        """Whether somebody waits for a commit."""
        return bool(self._leaving or self._unmarked)

    def moved(self, topic: str, places: Mapping[int, Place]) -> None:
        """Note that the positions of a topic are others; in any thread."""
        self._moved.append((topic, places))

    def leaves(self, subscription: Subscription) -> None:
        """A source waits for the commit of what was settled, to leave."""
        self._leaving[subscription.topic] = subscription

    def left(self, subscription: Subscription) -> None:
        """It waits no longer."""
        self._leaving.pop(subscription.topic, None)
        if self._bookmark.behind(subscription.topic):
            subscription.log.warning(
                "Kafka topic %s: the position was not committed in time; some data will come again",
                subscription.topic,
            )

    def commit(self, consumer: Consumer) -> None:
        """Send what was settled, and tell those of it who wait for the answer."""
        bookmark = self._bookmark
        self._note_moved()
        for topic in list(self._unmarked):
            topic.mark()
            if bookmark.refusal is not None and bookmark.refusal.code() in HOPELESS:
                topic.fail(bookmark.refusal)
            elif bookmark.refusal is not None and bookmark.is_shared_by_others:
                topic.subscription.condition.waits(
                    f"the group {bookmark.group!r} to have no members: others share it; write "
                    "members 'shared' here too, or another group_id",
                    describe(bookmark.refusal),
                )
        bookmark.commit(consumer, at_once=self.urgent)
        for name, subscription in list(self._leaving.items()):
            if not bookmark.behind(name):
                del self._leaving[name]
                self._tell(subscription.committed.set)

    def give_back(self, consumer: Consumer, topic: str, numbers: Collection[int]) -> bool:
        """Commit what was settled of partitions that another member is given; whether it is."""
        self._note_moved()
        return self._bookmark.commit_now(consumer, topic, numbers)

    def _note_moved(self) -> None:
        while self._moved:
            name, places = self._moved.popleft()
            if (moved := self._topics.get(name)) is not None:
                self._bookmark.settle(name, moved.valid(places))

    def check_if_due(self, consumer: Consumer, now: float) -> None:
        """Now and then, notice positions that are gone, or that somebody else has committed."""
        if now < self._next_check or self._bookmark.shared:
            return
        self._next_check = now + REPEAT
        bookmark = self._bookmark
        asked = [TopicPartition(*place) for place in bookmark.places]
        try:
            found = consumer.committed(asked, _LONGEST_CHECK) if asked else []
        except KafkaException:
            return  # the next time, maybe
        gone, foreign = bookmark.compare(found)
        for name in gone & set(self._topics):
            self._topics[name].subscription.upstream[POSITION_GONE] += 1
            self._warn(
                name,
                f"the position of the group {bookmark.group!r} was gone (expired, see "
                "offsets.retention.minutes, or deleted): committed again",
            )
        for name in foreign.keys() & set(self._topics):
            self._topics[name].subscription.upstream[POSITION_TAKEN] += 1
            self._warn(
                name,
                f"the position of the group {bookmark.group!r} was committed by another, "
                f"{foreign[name]!r}: give each connector a group_id of its own",
            )
        if gone or foreign:
            bookmark.repeat()

    def _warn(self, name: str, text: str) -> None:
        now = time.monotonic()
        if now - self._warned.get(name, -_WARN_AGAIN) >= _WARN_AGAIN:
            self._warned[name] = now
            self._topics[name].subscription.log.warning("Kafka topic %s: %s", name, text)
