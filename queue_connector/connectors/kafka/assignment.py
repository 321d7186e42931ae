"""Which partitions of a topic the client fetches from, and whether it does so now.

* threads   everything here is called in the thread that polls
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from confluent_kafka import TopicPartition

from .beginning import Reading


class Assignment:
    """For one topic; *positions* are the offsets from which its partitions are read."""

    def __init__(self, reading: Reading, topic: str, positions: Mapping[int, int]) -> None:
        self.paused = False
        self.numbers: set[int] = set()
        """The partitions that are fetched from."""
        self._reading = reading
        self._topic = topic
        self._positions = positions

    def add(self, numbers: Iterable[int], offset: int | None = None) -> None:
        """Fetch from these too, from where they are read or from an *offset* before."""
        if places := self._at(numbers, offset):
            self.numbers.update(place.partition for place in places)
            self._reading.consumer.incremental_assign(places)
            if self.paused:
                self._reading.consumer.pause(places)

    def remove(self, numbers: Iterable[int]) -> None:
        """Fetch from these no more."""
        if places := self._at(self.numbers.intersection(numbers)):
            self._reading.consumer.incremental_unassign(places)
            self.numbers.difference_update(numbers)

    def anew(self) -> None:
        """Go on with another client."""
        numbers, self.numbers = self.numbers, set()
        self.add(numbers)

    def pause(self) -> None:
        """Fetch nothing more for now."""
        self.paused = True
        if places := self._at(self.numbers):
            self._reading.consumer.pause(places)

    def resume(self) -> None:
        """Fetch again."""
        self.paused = False
        if places := self._at(self.numbers):
            self._reading.consumer.resume(places)

    def end(self) -> None:
        """Fetch from none of them, and leave nothing paused for who comes next."""
        if self.paused:
            self.resume()
        self.remove(set(self.numbers))

    def _at(self, numbers: Iterable[int], offset: int | None = None) -> list[TopicPartition]:
        return [
            TopicPartition(
                self._topic, number, self._positions[number] if offset is None else offset
            )
            for number in sorted(numbers)
        ]
