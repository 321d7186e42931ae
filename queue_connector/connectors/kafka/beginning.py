"""Where the reading of partitions begins: at what the group has committed, at a time or an end.

* threads   everything here is called in the thread that polls
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from .bookmark import Bookmark
from .client import error_of
from .cluster import EARLIEST, LATEST, Asker, at_time
from .subscription import Subscription


class Reading(Protocol):
    """Who reads, and whom to ask."""

    asker: Asker
    bookmark: Bookmark | None

    @property
    def consumer(self) -> Consumer:
        """The client that reads."""
        ...

    def post(self, function: Callable[..., object], *args: Any) -> None:
        """Call it in the thread that polls; any thread may ask."""
        ...

    def tell(self, function: Callable[..., object], *args: Any) -> None:
        """Call it on the Trio thread, in order."""
        ...


class Beginning:
    """Finds it out for one topic; *found* is called with the offset of each partition.

    *failed* is called where somebody has not answered, or has refused to.
    """

    def __init__(
        self,
        reading: Reading,
        subscription: Subscription,
        found: Callable[[dict[int, int]], None],
        failed: Callable[[KafkaError], None],
    ) -> None:
        self._reading = reading
        self._subscription = subscription
        self._found = found
        self._failed = failed

    def find(self, numbers: list[int]) -> None:
        """Find out where to begin in these partitions."""
        if self._reading.bookmark is None:
            self.find_start(numbers)
        else:
            self._find_committed(numbers, self._reading.bookmark.group)

    def committed(self, numbers: list[int]) -> dict[int, int] | None:
        """What the group has committed of these partitions; none: *failed* was called.

        By the client that reads: the other topics of the group wait for the answer. Another client
        could be asked without waiting. But librdkafka 2.16 never answers again what an admin client
        asks a coordinator whose connection was closed, and may end the process.
        """
        asked = [TopicPartition(self._subscription.topic, number) for number in numbers]
        try:
            places = self._reading.consumer.committed(asked, self._reading.asker.patience)
        except KafkaException as exception:
            self._reading.asker.unanswered(error_of(exception))
            self._failed(error_of(exception))
            return None
        errors = [place.error for place in places if place.error is not None]
        if errors:
            self._failed(errors[0])
            return None
        return {place.partition: place.offset for place in places if place.offset >= 0}

    def _find_committed(self, numbers: list[int], group: str) -> None:
        found = self.committed(numbers)
        if found is None:
            return
        if not found:
            self._subscription.log.info(
                "Kafka topic %s: the group %r has no position in it (never had one, or it "
                "expired, see offsets.retention.minutes): reading begins at %s",
                *(self._subscription.topic, group, self._subscription.start.at),
            )
            self.find_start(numbers)
            return
        if fresh := [number for number in numbers if number not in found]:
            self._subscription.log.warning(
                "Kafka topic %s: the group %r has no position in partitions %s: they are read "
                "from their beginning",
                *(self._subscription.topic, group, ", ".join(map(str, fresh))),
            )
        self._found({number: found.get(number, 0) for number in numbers})

    def find_start(self, numbers: list[int]) -> None:
        """Find out where to begin in partitions in which nobody was before."""
        start, resume = self._subscription.start, self._subscription.resume
        if resume is not None:
            self._found({number: resume.get(number, 0) for number in numbers})
        elif start.at == "offset":
            self._found(dict.fromkeys(numbers, start.value))
        elif start.at == "time":
            spec = at_time(start.value)
            self.ask(numbers, spec, self._times_found)
        else:
            spec = EARLIEST if start.at == "earliest" else LATEST
            self.ask(numbers, spec, self._found)

    def _times_found(self, found: dict[int, int]) -> None:
        later = [number for number, offset in found.items() if offset < 0]
        if not later:
            self._found(found)
        else:
            self.ask(later, LATEST, lambda ends: self._found({**found, **ends}))

    def ask(self, numbers: list[int], spec: Any, then: Callable[[dict[int, int]], None]) -> None:
        """Ask where these partitions begin, end, or reach a time."""
        found: dict[int, int | KafkaError] = {}

        def answered(place: tuple[str, int], answer: int | KafkaError) -> None:
            found[place[1]] = answer
            if len(found) < len(numbers):
                return
            errors = [error for error in found.values() if isinstance(error, KafkaError)]
            if errors:
                self._failed(errors[0])
            else:
                then({n: offset for n, offset in found.items() if isinstance(offset, int)})

        places = [(self._subscription.topic, number) for number in numbers]
        self._reading.asker.begins(places, spec, partial(self._reading.post, answered))
