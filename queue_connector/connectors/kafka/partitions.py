"""Where each partition of a topic is read, and what becomes of partitions and topic meanwhile.

* start     absolute offsets are found out, see `beginning`, and assigned: what is produced once a
            topic counts as opened will be taken
* changes   partitions that are added, a topic that is deleted, made, or made again, and offsets
            that retention took are noticed and counted
* end       where a partition ends in what is no message (control records, aborted transactions),
            the position goes there too: it is not lost when retention takes it
* threads   everything here is called in the thread that polls
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Any, Protocol

from confluent_kafka import KafkaError, Message, TopicPartition

from ...model.errors import EndpointError
from .assignment import Assignment
from .beginning import Beginning, Reading
from .client import HOPELESS, describe
from .cluster import EARLIEST, LATEST, NO_SUCH_TOPIC, Found
from .subscription import Burst, Place, Subscription

SKIPPED_BY_RETENTION = "offsets skipped by retention"
TOPIC_DELETED = "topic deleted"
TOPIC_MADE_AGAIN = "topic made again"
POSITION_GONE = "committed position gone"
POSITION_TAKEN = "position committed by another"
"""What a source counts in the ledger's ``upstream``."""

_GONE_AFTER = 2.0  # s that a topic must be unknown to be taken for deleted
_OFFSET_LOST = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError._LOG_TRUNCATION,
    }
)


class Home(Reading, Protocol):
    """What partitions need of the reader that they belong to."""

    unmarked: set[TopicPartitions]
    """Those that wait until it is committed where they begin."""


class TopicPartitions:
    """All partitions of the topic of one subscription."""

    def __init__(self, home: Home, subscription: Subscription) -> None:
        self.subscription = subscription
        self.full_since = 0.0
        """When it was seen to be full; 0: it is not."""
        self.failed = False
        self.asking = False
        """Whether answers are awaited to where partitions begin or end."""
        self._home = home
        self._topic = subscription.topic
        self._log = subscription.log
        self._condition = subscription.condition
        self._beginning = Beginning(home, subscription, self._begin_at, self._ask_again)
        self._positions: dict[int, int] = {}
        self.assignment = Assignment(home, self._topic, self._positions)
        self._lives: dict[int, int] = {}
        self._life = 0
        self._unmarked: set[int] = set()
        self._lost: set[int] = set()
        self._read: set[int] = set()
        self._known = False
        self._unknown_since: float | None = None

    # -- what the cluster says of the topic --------------------------------------------------------

    def looked(self, found: Found, now: float) -> None:
        """Notice a topic that was made, partitions that were added, a topic that was deleted."""
        if found.error is not None and not found.missing:
            self._refused(found.error)
        elif found.missing:
            self._missing(now)
        elif not self.asking:
            self._unknown_since = None
            if self._known:
                self._compare(set(found.leaders))
            else:
                self._begin(found.leaders)
            self._say(found.leaders)

    def unreachable(self, reason: str) -> None:
        """Nobody answers."""
        self._condition.waits(str(self._home.asker.cluster), reason)

    def _say(self, leaders: Mapping[int, int]) -> None:
        leaderless = sorted(number for number, leader in leaders.items() if leader < 0)
        if leaderless:
            named = ", ".join(map(str, leaderless[:10]))
            self._condition.waits(f"a leader of partition {named} of Kafka topic {self._topic}")
        elif self._known and not self._unmarked:
            self._condition.is_well()

    def _missing(self, now: float) -> None:
        self._condition.waits(f"Kafka topic {self._topic} to be made")
        if self._unknown_since is None:
            self._unknown_since = now
        if not self._known:
            self._log.info("Kafka topic %s does not exist yet: awaited", self._topic)
            self._known = True
            self._open()
        elif self._positions and now - self._unknown_since >= _GONE_AFTER:
            self._log.warning("Kafka topic %s was deleted: awaited again", self._topic)
            self.subscription.upstream[TOPIC_DELETED] += 1
            self._leave(set(self._positions))

    def _compare(self, there: set[int]) -> None:
        known = set(self._positions)
        if known == there:
            return
        self._leave(known - there)
        self._log.info("Kafka topic %s: reading %d partitions", self._topic, len(there))
        self._take_on(dict.fromkeys(there - known, 0))

    def _refused(self, error: KafkaError) -> None:
        if error.code() in HOPELESS:
            self.fail(error)
        else:
            self._home.asker.trouble.report(describe(error))
            self._condition.waits(f"Kafka topic {self._topic}", describe(error))
            self._home.asker.urgent = True

    # -- where to begin ----------------------------------------------------------------------------

    def _begin(self, leaders: Mapping[int, int]) -> None:
        self.asking = True
        self._beginning.find(sorted(leaders))

    def _ask_again(self, error: KafkaError) -> None:
        """At the next look."""
        self.asking = False
        if error.code() in HOPELESS:
            self.fail(error)
        else:
            self._condition.waits(str(self._home.asker.cluster), describe(error))
            self._home.asker.urgent = True

    def _begin_at(self, positions: dict[int, int]) -> None:
        """It is known where to begin in these partitions."""
        self.asking = False
        self._known = True
        self._take_on(positions)

    def _take_on(self, positions: Mapping[int, int]) -> None:
        """Read these partitions too; with a group, once it is committed where that begins."""
        self._place(positions)
        if self._home.bookmark is not None and positions:
            self._unmarked.update(positions)
            self._home.unmarked.add(self)
        else:
            self.assignment.add(positions)
            self._open()

    def _place(self, positions: Mapping[int, int]) -> None:
        """What was settled of these partitions before says nothing about these positions."""
        self._life += 1
        self._positions.update(positions)
        self._lives.update(dict.fromkeys(positions, self._life))
        places = {number: Place(self._life, offset) for number, offset in positions.items()}
        self._home.tell(self.subscription.place, places)
        if self._home.bookmark is not None:
            self._home.bookmark.forget(self._topic, set(positions))
            self._home.bookmark.settle(self._topic, positions)

    def mark(self) -> None:
        """Go on with partitions of which it is committed where their reading begins."""
        bookmark = self._home.bookmark
        if bookmark is not None:
            marked = set(self._unmarked)
            if all(bookmark.knows(self._topic, number) for number in marked):
                self._unmarked.clear()
                self._home.unmarked.discard(self)
                self.assignment.add(marked)
                self._open()

    def _open(self) -> None:
        if self._known and not self._unmarked:
            if self._positions:
                self._condition.is_well()
            self._home.tell(self.subscription.opened.set)

    def _leave(self, numbers: set[int]) -> None:
        """There are no such partitions any more."""
        if not numbers:
            return
        self.assignment.remove(numbers)
        for number in numbers:
            del self._positions[number], self._lives[number]
            self.subscription.ends.pop(number, None)
        self._unmarked -= numbers
        self._lost -= numbers
        self._read -= numbers
        self._home.tell(self.subscription.forget, numbers)
        if self._home.bookmark is not None:
            self._home.bookmark.forget(self._topic, numbers)

    def close(self) -> None:
        """Read nothing more."""
        self.assignment.end()
        if self._home.bookmark is not None:
            self._home.bookmark.forget(self._topic)

    # -- messages ----------------------------------------------------------------------------------

    def take(self, messages: list[Message[Any, Any]]) -> None:
        """What came of the topic, in order."""
        begins: dict[int, Place] = {}
        usable: list[Message[Any, Any]] = []
        size = 0
        positions = self._positions
        for message in messages:
            if message.error() is not None:
                self._no_message(message)
                continue
            number: Any = message.partition()
            offset: Any = message.offset()
            position = positions.get(number)
            if position is None or offset < position:
                continue  # fetched before the position was changed
            if number not in begins:
                begins[number] = Place(self._lives[number], position)
            positions[number] = offset + 1
            usable.append(message)
            size += len(message.value() or b"")
        if usable:
            self._read.update(begins)
            self.subscription.given += len(usable)
            self.subscription.given_bytes += size
            self._home.tell(self.subscription.hand_over, Burst(begins, deque(usable)))

    def _no_message(self, message: Message[Any, Any]) -> None:
        error: Any = message.error()
        number: Any = message.partition()
        code = error.code()
        if code == KafkaError._PARTITION_EOF:
            self._ends(number, message.offset() or 0)
        elif code in _OFFSET_LOST and number in self._positions:
            self._find_again(number)
        elif code in HOPELESS:
            self.fail(error)
        else:
            self._home.asker.trouble.report(describe(error))
            if code in NO_SUCH_TOPIC:
                self._home.asker.hurry()

    def _ends(self, number: int, end: int) -> None:
        """A partition was read to its end: what lies before it and did not come is no message."""
        self.subscription.ends[number] = end
        self._read.discard(number)
        if number in self._positions:
            self._skip(number, end)

    def _skip(self, number: int, offset: int) -> None:
        position = self._positions[number]
        if offset > position:
            self._positions[number] = offset
            run = (Place(self._lives[number], position), offset)
            self._home.tell(self.subscription.settle, {number: run})

    def note_ends(self) -> None:
        """Where partitions that are being read end, as far as the client knows."""
        for number in self._read & self.assignment.numbers:
            known = TopicPartition(self._topic, number)
            _, high = self._home.consumer.get_watermark_offsets(known, cached=True)
            if high >= 0:
                self.subscription.ends[number] = high

    def valid(self, places: Mapping[int, Place]) -> dict[int, int]:
        """The offsets of those places that mean what is read now."""
        return {n: at.offset for n, at in places.items() if self._lives.get(n) == at.life}

    # -- positions that are gone -------------------------------------------------------------------

    def _find_again(self, number: int) -> None:
        """Go on where the broker still has something of a partition whose position it has not."""
        if number in self._lost:
            return
        self._lost.add(number)
        self.look_for_lost()

    def look_for_lost(self) -> None:
        """Ask where partitions begin and end whose positions are gone."""
        if self.asking or not self._lost:
            return
        self.asking = True
        numbers = sorted(self._lost)

        def lows_found(lows: dict[int, int]) -> None:
            self._beginning.ask(numbers, LATEST, lambda highs: self._found_again(lows, highs))

        self._beginning.ask(numbers, EARLIEST, lows_found)

    def _found_again(self, lows: dict[int, int], highs: dict[int, int]) -> None:
        self.asking = False
        for number in self._lost & set(lows):
            self._lost.discard(number)
            low, high, position = lows[number], highs[number], self._positions[number]
            self.assignment.remove({number})
            if position < low:
                self.subscription.upstream[SKIPPED_BY_RETENTION] += low - position
                self._log.warning(
                    "Kafka topic %s: partition %d begins at %d now, %d messages were skipped",
                    *(self._topic, number, low, low - position),
                )
                self._skip(number, low)
            elif position > high and self._awaits(position):
                self._log.info(
                    "Kafka topic %s: partition %d ends at %d: waiting for offset %d",
                    *(self._topic, number, high, position),
                )
                self.assignment.add([number], high)  # what comes before the position is left out
                continue
            elif position > high:
                self.subscription.upstream[TOPIC_MADE_AGAIN] += 1
                self._log.warning(
                    "Kafka topic %s: partition %d ends at %d, before the position %d: it was "
                    "made again or truncated, and is read from its beginning",
                    *(self._topic, number, high, position),
                )
                self._place({number: low})
            self.assignment.add({number})

    def _awaits(self, position: int) -> bool:
        """Whether it is the offset that was asked for, which there may be one day."""
        start = self.subscription.start
        return start.at == "offset" and start.value == position

    # -- ends --------------------------------------------------------------------------------------

    def fail(self, error: KafkaError) -> None:
        """The topic cannot be read, and waiting would not help."""
        if not self.failed:
            self.failed = True
            where = f"Kafka topic {self._topic!r} at {self._home.asker.cluster.servers}"
            self._condition.waits(f"Kafka topic {self._topic} to be readable", describe(error))
            self._home.tell(
                self.subscription.fail, EndpointError(where, "reading", describe(error))
            )
