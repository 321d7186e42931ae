"""Messages that are given to librdkafka together, and how it is known that all were reported on.

Of a message only its failure is told by librdkafka (``delivery.report.only.error``). All messages
of a round carry one callback, which the client library lets go with the last of them: that is how
a round is known to be over, with no call of Python for each of its messages, and with no copy of
their payloads.

* source    confluent-kafka, ``Producer.c``: ``dr_msg_cb``, ``Producer_msgstate_destroy``
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import attrs

from .client import KafkaError

Failures = list[tuple[KafkaError, bytes | None]]


class Ticket:
    """What all messages of a round carry: when it is gone, all of them were reported on."""

    __slots__ = ("__weakref__", "_failures")

    def __init__(self, failures: Failures) -> None:
        self._failures = failures

    def failed(self, error: KafkaError, message: Any) -> None:
        """One of them was not accepted."""
        self._failures.append((error, message.value()))


class Writer(Protocol):
    """What a client knows of who writes with it; all of it on the Trio thread."""

    topic: str
    joined: bool
    """Whether it wants to be told of what it sent."""

    @property
    def busy(self) -> bool:
        """Whether something of it is in librdkafka's hands."""
        ...

    def over(self, batch: Round, errors: Mapping[int, KafkaError]) -> None:
        """All messages of a round were reported on; these were not accepted."""
        ...

    def proceed(self) -> None:
        """Something has changed: it may be able to send."""
        ...

    def found(self, error: KafkaError | None) -> None:
        """What a broker has answered when it was asked for the topic."""
        ...

    def gone(self, reason: str) -> None:
        """No broker answers."""
        ...

    def up(self) -> None:
        """Brokers answer again."""
        ...

    def review(self, now: float) -> None:
        """Look at what has been under way for long."""
        ...

    def fail(self, reason: str) -> None:
        """Trying again would not help."""
        ...


@attrs.define(eq=False)
class Round:
    """Messages that were given together."""

    writer: Writer
    payloads: Sequence[Any]
    """Bytes, arrays of bytes or, for tombstones, None."""
    timestamps: Sequence[int] = ()
    """In ms since the Unix epoch, 0 for the time of sending; none: that for all."""
    key: bytes | None = None
    headers: list[tuple[str, str | bytes | None]] | None = None
    note: Any = None
    """Whatever the writer needs to know again."""
    begun: float = attrs.field(init=False, factory=time.monotonic)
    refused: dict[int, KafkaError] = attrs.field(init=False, factory=dict)
    """What was not even taken, by its place."""
    failures: Failures = attrs.field(init=False, factory=list)
    """What was reported, with the bytes of each message."""

    @property
    def size(self) -> int:
        """Bytes of all messages."""
        return sum(len(payload or b"") for payload in self.payloads)

    @property
    def largest(self) -> int:
        """Bytes of the largest of the messages."""
        return max(len(payload or b"") for payload in self.payloads)

    def errors(self) -> dict[int, KafkaError]:
        """What was not accepted, by its place.

        A failure is told with the message's bytes only. Of several messages with the same bytes it
        makes no difference which of them it was.
        """
        found = dict(self.refused)
        if len(self.failures) + len(found) == len(self.payloads):
            told = iter([error for error, _ in self.failures])
            return {
                place: found[place] if place in found else next(told)
                for place in range(len(self.payloads))
            }
        if self.failures:
            places: dict[bytes, deque[int]] = {}
            for place, payload in enumerate(self.payloads):
                if place not in found:
                    places.setdefault(bytes(payload or b""), deque()).append(place)
            for error, payload in self.failures:
                found[places[payload or b""].popleft()] = error
        return found
