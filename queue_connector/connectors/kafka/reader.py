"""Messages of all partitions of a topic, taken by blocking calls in one `Worker`.

* start     watermarks or times are asked for, then absolute offsets are assigned: what is produced
            once `TopicReader.open` has returned will be taken
* changes   partitions that are added, a topic that is deleted, made, or made again, and offsets
            that retention took are noticed and counted
* source    librdkafka, CONFIGURATION.md; Apache Kafka protocol, ``ListOffsets``
"""

from __future__ import annotations

import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import attrs
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from ...bridge import TICK, check_cancelled
from ...errors import EndpointError
from .bookmark import Bookmark
from .client import HOPELESS, TopicClient, describe
from .options import Value

__all__ = [
    "COMMIT_GRACE",
    "SKIPPED_BY_RETENTION",
    "TOPIC_DELETED",
    "TOPIC_MADE_AGAIN",
    "Message",
    "Start",
    "TopicReader",
]

T = TypeVar("T")

SKIPPED_BY_RETENTION = "offsets skipped by retention"
TOPIC_DELETED = "topic deleted"
TOPIC_MADE_AGAIN = "topic made again"
"""What a source counts in the ledger's ``upstream``."""

COMMIT_GRACE = 5.0
"""Seconds that the last commit of a source gets when it stops."""

_LOOK_INTERVAL = 2.0  # s between looks for new partitions
_WAIT_INTERVAL = 0.25  # s between looks for a topic that does not exist
_GONE_AFTER = 2.0  # s that a topic must be unknown to be taken for deleted
FETCH_WAIT = 20
"""Milliseconds that a broker may hold back the answer that there is nothing."""
_READ_AHEAD = 16 * 1024  # KiB that a consumer fetches beyond what was taken
_NO_SUCH_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
_OFFSET_LOST = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError._LOG_TRUNCATION,
    }
)


@attrs.frozen
class Start:
    """Where reading begins in partitions that it was not in before."""

    at: Literal["latest", "earliest", "offset", "time"] = "latest"
    value: int = 0
    """The offset, or the time in ms since the Unix epoch."""


class TopicReader(TopicClient):
    """Reads all partitions of one topic, from where *start* says or from given positions.

    ``positions`` holds the next offset to be taken of every partition that is read. ``upstream``
    counts what was lost before it could be taken.

    With a *group*, what `settled` is told is committed to Kafka, and reading begins where the group
    has committed. No membership is asked for: the group is a bookmark of one reader. Where reading
    begins is committed at once, so that nothing is missed if that was all that there was time for.
    Partitions of a topic for which the group has committed others are read from their beginning.

    That a topic was deleted and made again shows when it is gone for `_GONE_AFTER` seconds, or
    when it ends before the position. One that is back sooner and has outgrown the position
    already cannot be told from the old one: what it has before the position is missed.
    ``generation`` goes up when that is noticed, as positions mean something else from then on.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        log: logging.Logger,
        upstream: Counter[str],
        *,
        options: Mapping[str, Value] | None = None,
        start: Start | None = None,
        group: str | None = None,
    ) -> None:
        super().__init__(servers, topic, "reading", log, options or {})
        self.positions: dict[int, int] = {}
        self.generation = 0
        self.closing = False
        self._start = start or Start()
        self._bookmark = Bookmark(group, topic, self._trouble) if group else None
        self._upstream = upstream
        self._consumer: Consumer | None = None
        self._lost: set[int] = set()
        self._hopeless: EndpointError | None = None
        self._next_look = 0.0
        self._unknown_since: float | None = None
        self._reports: deque[tuple[int, Mapping[int, int]]] = deque()

    def open(self, positions: Mapping[int, int] | None = None) -> None:
        """Return once it is known where to begin, or that there is no topic.

        What is produced from then on will be taken, since a position is an absolute offset.
        With *positions*, those are where reading begins, and what they do not name is new.
        """
        self.close()
        self.closing = False
        self.positions = {}
        self._lost.clear()
        self._hopeless = self._unknown_since = None
        self._reports.clear()
        self._consumer = self._connect()
        try:
            partitions = self._insist(self._partitions)
            committed = {}
            if self._bookmark is not None:
                self._bookmark.forget()
                find = self._bookmark.find
                committed = self._insist(
                    lambda timeout: find(self._open_consumer(), partitions, timeout)
                )
            if positions is not None or committed:
                known = committed if positions is None else positions
                self.positions = {number: known.get(number, 0) for number in partitions}
            elif partitions:
                self.positions = self._insist(partial(self._beginnings, partitions))
            if not partitions:
                self._log.info("Kafka topic %s does not exist yet: awaited", self._topic)
            self._mark(self.positions)
            self._assign()
        except BaseException:
            self.close()
            raise

    def _connect(self) -> Consumer:
        self._heard_at = time.monotonic()
        return self._make(
            Consumer,
            {
                **self._common_settings(),
                "group.id": "queue-connector",  # librdkafka asks for one
                **(self._bookmark.settings() if self._bookmark else {}),
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "auto.offset.reset": "error",
                "fetch.queue.backoff.ms": 5,
                "fetch.wait.max.ms": FETCH_WAIT,
                "queued.max.messages.kbytes": _READ_AHEAD,
            },
        )

    def _renew(self) -> None:
        """Go on with another client where this one was."""
        if self._consumer is not None:
            self._consumer.close()
        self._consumer = self._connect()
        self._assign()

    def take(self, most: int) -> list[Message[Any, Any]]:
        """The next messages, at least one and at most *most*; none after ``closing`` was set.

        Raises:
            EndpointError: the topic may not be read.
        """
        while not self.closing:
            consumer = self._open_consumer()
            check_cancelled()  # nothing has been taken, so nothing can be lost
            if self._hopeless is not None:
                raise self._hopeless
            if self._lost:
                self._find_positions()
            if time.monotonic() >= self._next_look:
                self._look_for_partitions()
            if self._behind() and self._bookmark is not None:
                self._bookmark.commit(consumer)
            first = consumer.poll(TICK)
            if first is None:
                self._check_refusal()
                if self._stranded(self._partitions):
                    self._renew()
                continue
            self._heard_at = time.monotonic()
            messages = (first, *consumer.consume(most - 1, 0))
            if taken := [message for message in messages if self._usable(message)]:
                self._trouble.over()
                return taken
        return []

    def settled(self, generation: int, positions: Mapping[int, int]) -> None:
        """Everything before these positions has come to its end; any thread may call it."""
        if self._bookmark is not None:
            self._reports.append((generation, positions))

    def close(self, grace: float = 0.0) -> None:
        """Commit what was settled, for *grace* seconds at most, and leave the broker.

        Calling it again does nothing.
        """
        if self._consumer is None:
            return
        until = time.monotonic() + grace
        while self._behind() and time.monotonic() < until:
            self._commit_and_poll()
        if grace and self._behind():
            self._log.warning(
                "%s: the positions were not committed within %g s; some data will come again",
                *(self._endpoint, grace),
            )
        consumer, self._consumer = self._consumer, None
        consumer.close()

    def pause(self) -> None:
        """Fetch nothing more."""
        if self._consumer is not None:
            self._consumer.unassign()

    # -- committed positions -----------------------------------------------------------------------

    def _behind(self) -> bool:
        """Whether something was settled that is not committed."""
        while self._reports:
            generation, positions = self._reports.popleft()
            if generation == self.generation and self._bookmark is not None:
                self._bookmark.settle(positions)
        return self._bookmark is not None and self._bookmark.behind

    def _mark(self, positions: Mapping[int, int]) -> None:
        """Commit where reading begins, and return when that is done."""
        if self._bookmark is not None:
            self._bookmark.settle(positions)
        while self._behind() and not self.closing:
            check_cancelled()
            self._commit_and_poll()  # no partition is assigned now, so nothing is taken

    def _commit_and_poll(self) -> None:
        consumer = self._open_consumer()
        assert self._bookmark is not None
        self._bookmark.commit(consumer, at_once=True)
        consumer.poll(TICK)

    # -- partitions and positions ------------------------------------------------------------------

    def _open_consumer(self) -> Consumer:
        if self._consumer is None:
            raise RuntimeError("the source is not started")
        return self._consumer

    def _insist(self, question: Callable[[float], T]) -> T:
        while True:
            check_cancelled()
            answer = self._ask(question)
            if answer is not None:
                return answer
            self._open_consumer().poll(TICK)  # serves the log; no partition is assigned yet
            if self._stranded(self._partitions):
                self._renew()

    def _partitions(self, timeout: float) -> list[int]:
        """The numbers of the partitions; none: there is no such topic."""
        found = self._open_consumer().list_topics(self._topic, timeout).topics[self._topic]
        if found.error is not None:
            if found.error.code() in _NO_SUCH_TOPIC:
                return []
            raise KafkaException(found.error)
        return sorted(found.partitions)

    def _beginnings(self, partitions: Sequence[int], timeout: float) -> dict[int, int]:
        """The offsets that `Start` means."""
        match self._start.at:
            case "offset":
                return dict.fromkeys(partitions, self._start.value)
            case "earliest":
                return self._offsets(partitions, OFFSET_BEGINNING, timeout)
            case "time":
                found = self._offsets(partitions, self._start.value, timeout)
                later = [number for number, offset in found.items() if offset < 0]
                return {**found, **(self._offsets(later, OFFSET_END, timeout) if later else {})}
        return self._offsets(partitions, OFFSET_END, timeout)

    def _offsets(self, partitions: Iterable[int], when: int, timeout: float) -> dict[int, int]:
        asked = [TopicPartition(self._topic, number, when) for number in partitions]
        found = self._open_consumer().offsets_for_times(asked, timeout)
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
        return {place.partition: place.offset for place in found}

    def _assign(self) -> None:
        self._open_consumer().assign(
            [TopicPartition(self._topic, *position) for position in self.positions.items()]
        )
        self._next_look = time.monotonic() + (_LOOK_INTERVAL if self.positions else _WAIT_INTERVAL)

    def _look_for_partitions(self) -> None:
        """Notice a topic that was made, partitions that were added, a topic that was deleted."""
        now = time.monotonic()
        self._next_look = now + _LOOK_INTERVAL
        partitions = self._ask(self._partitions)
        if partitions is None:
            return
        if not partitions:
            self._next_look = now + _WAIT_INTERVAL
            if self._unknown_since is None:
                self._unknown_since = now
            if self.positions and now - self._unknown_since >= _GONE_AFTER:
                self._log.warning("Kafka topic %s was deleted: awaited again", self._topic)
                self._upstream[TOPIC_DELETED] += 1
                self.positions.clear()
                self._lost.clear()
                self._begin_anew({})
                self._assign()
            return
        self._unknown_since = None
        known, there = set(self.positions), set(partitions)
        if known == there:
            return
        for number in known - there:
            del self.positions[number]
        self._lost &= there
        for number in there - known:
            self.positions[number] = 0
        if self._bookmark is not None:
            self._open_consumer().unassign()
            self._mark(dict.fromkeys(there - known, 0))  # before anything of them is taken
        self._log.info("Kafka topic %s: reading %d partitions", self._topic, len(there))
        self._assign()

    def _usable(self, message: Message[Any, Any]) -> bool:
        """Whether it is the next datum of its partition; what else it may be is seen to."""
        error, number = message.error(), message.partition()
        if error is None:
            offset = message.offset()
            if number is None or offset is None or offset < self.positions.get(number, 0):
                return False  # fetched before the position was changed
            self.positions[number] = offset + 1
            return True
        if error.code() in _OFFSET_LOST and number in self.positions:
            self._lost.add(number)
        elif error.code() in HOPELESS:
            self._hopeless = self.failed(error)
        else:
            self._trouble.report(describe(error))
            if error.code() in _NO_SUCH_TOPIC:
                self._next_look = 0.0
        return False

    def _find_positions(self) -> None:
        """Go on where the broker still has something of partitions whose position it has not."""
        consumer = self._open_consumer()
        for number in sorted(self._lost):
            asked = partial(consumer.get_watermark_offsets, TopicPartition(self._topic, number))
            marks = self._ask(asked)
            if marks is None:
                return
            low, high = marks
            position = self.positions[number]
            if position < low:
                self._upstream[SKIPPED_BY_RETENTION] += low - position
                self._log.warning(
                    "Kafka topic %s: partition %d begins at %d now, %d messages were skipped",
                    *(self._topic, number, low, low - position),
                )
                self.positions[number] = low
            elif position > high:
                self._upstream[TOPIC_MADE_AGAIN] += 1
                self._log.warning(
                    "Kafka topic %s: partition %d ends at %d, before the position %d: it was "
                    "made again or truncated, and is read from its beginning",
                    *(self._topic, number, high, position),
                )
                self.positions[number] = low
                self._begin_anew({number: low})
            self._lost.discard(number)
        self._assign()

    def _begin_anew(self, positions: Mapping[int, int]) -> None:
        """What is still on its way says nothing about these positions, nor about later ones."""
        self.generation += 1
        if self._bookmark is not None:
            if not positions:
                self._bookmark.forget()
            self._bookmark.settle(positions)
