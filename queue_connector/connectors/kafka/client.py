"""librdkafka, as source and sink use it: blocking, for one `Worker` each. Its only importer.

* threads   the methods of one object are called one at a time, each in a worker thread; whatever
  may take longer than a tick looks for cancellation with `check_cancelled`
* outages   ridden out without limit: nothing here gives up on a broker that may come back
* refusals  of a password or a certificate are no outages: after `REFUSAL_GRACE` they are an error
* log       what librdkafka has to say goes to the exchange's log, each reason once per outage
* source    librdkafka, CONFIGURATION.md and INTRODUCTION.md; traps in ``docs/explanations``
"""

from __future__ import annotations

import logging
import re
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, TypeVar

import attrs
from confluent_kafka import (
    OFFSET_BEGINNING,
    OFFSET_END,
    OFFSET_INVALID,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from ...bridge import TICK, check_cancelled
from ...errors import EndpointError
from .options import Value, resolve

__all__ = [
    "COMMIT_GRACE",
    "FLUSH_GRACE",
    "HOPELESS",
    "MAX_MESSAGE_BYTES",
    "REFUSAL_GRACE",
    "SKIPPED_BY_RETENTION",
    "TOPIC_DELETED",
    "TOPIC_MADE_AGAIN",
    "KafkaError",
    "Message",
    "Outgoing",
    "Start",
    "TopicReader",
    "TopicWriter",
]

T = TypeVar("T")

SKIPPED_BY_RETENTION = "offsets skipped by retention"
TOPIC_DELETED = "topic deleted"
TOPIC_MADE_AGAIN = "topic made again"
"""What a source counts in the ledger's ``upstream``."""

MAX_MESSAGE_BYTES = 999_000_000
"""The largest message that librdkafka can be told to send, less its envelope."""

COMMIT_GRACE = 5.0
"""Seconds that the last commit of a source gets when it stops."""

FLUSH_GRACE = 10.0
"""Seconds that a write under way gets for its acknowledgements once the sink is to stop."""

REFUSAL_GRACE = 5.0
"""Seconds after which a refused log-in or certificate is an error, if no broker has answered."""

_ENVELOPE = 1024  # B, more than what Kafka's record batch adds to one payload
_LONGEST_QUESTION = 0.5  # s to wait for one answer of a broker before looking at cancellation
_LOOK_INTERVAL = 2.0  # s between looks for new partitions
_WAIT_INTERVAL = 0.25  # s between looks for a topic that does not exist
_GONE_AFTER = 2.0  # s that a topic must be unknown to be taken for deleted
_CHECK_TIMEOUT = 1.0  # s that a sink waits at its start for a broker to answer
_FETCH_WAIT = 20  # ms that a broker may hold back the answer that there is nothing
_COMMIT_INTERVAL = 1.0  # s between commits, so that a fast stream does not spend its time on them
_COMMIT_TIMEOUT = 3000  # ms that a commit waits for its coordinator; the close waits for that
_COMMIT_PATIENCE = 10.0  # s for the answer to a commit before it is sent again
_PURGE_TIMEOUT = 1.0  # s for the reports of what was purged; they are made at once
_READ_AHEAD = 16 * 1024  # KiB that a consumer fetches beyond what was taken
_SEND_QUEUE = 32 * 1024  # KiB that wait to be sent, or twice the largest message
_CALM = 5.0  # s without trouble after which an outage is over; more than librdkafka's back-off
_MAX_REASONS = 100

HOPELESS = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.TOPIC_EXCEPTION,
    }
)
"""Errors that do not go away by trying again."""

_CERTIFICATE_REFUSED = re.compile(
    r"certificate verify failed"
    r"|alert [a-z ]*(certificate|unknown ca|access denied|handshake failure)"
)
_LOG_IN_REFUSED = frozenset({KafkaError._AUTHENTICATION, KafkaError.SASL_AUTHENTICATION_FAILED})
_NO_SUCH_TOPIC = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC})
_OFFSET_LOST = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,
        KafkaError.OFFSET_OUT_OF_RANGE,
        KafkaError._LOG_TRUNCATION,
    }
)


def _is_refusal(error: KafkaError) -> bool:
    """Whether an error says that a password or certificate was looked at and not accepted.

    Of TLS, the code tells too little: a handshake that breaks because the broker stops has the same
    as one that fails, and a certificate of ours that is refused only ends the connection. OpenSSL's
    text tells. A token server that does not answer is an outage, whatever the code says.
    """
    if error.code() in (KafkaError._SSL, KafkaError._TRANSPORT):
        return _CERTIFICATE_REFUSED.search(error.str()) is not None
    return error.code() in _LOG_IN_REFUSED and "Failed to acquire" not in error.str()


class Trouble:
    """Logs what goes wrong with a broker: each reason once, until it is over.

    What must not be waited out is kept: an outage ends by itself, a wrong password or a certificate
    that is not trusted does not, and librdkafka would try it for ever without another word. So a
    refusal is logged as it comes, and becomes an error when `REFUSAL_GRACE` seconds later still no
    broker has answered; until then it may be one broker of several, or one that is being set up.
    """

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._reasons: set[str] = set()
        self._last = 0.0
        self.refusal: KafkaError | None = None
        self._refused_at = 0.0

    @property
    def refused(self) -> bool:
        """Whether a refusal has outlasted its grace."""
        return self.refusal is not None and time.monotonic() - self._refused_at > REFUSAL_GRACE

    def report(self, reason: str) -> None:
        """Log a reason, unless it was logged in this outage already."""
        self._report(logging.WARNING, reason)

    def over(self) -> None:
        """An answer came; said once there was no trouble for a while.

        One broker of several may be down for long while others answer: that is one outage.
        """
        self.refusal = None
        if self._reasons and time.monotonic() - self._last > _CALM:
            self._reasons.clear()
            self._log.info("%s: reached again", self._what)

    def settings(self) -> dict[str, Any]:
        """Make a client speak to this object instead of to stderr."""
        return {"error_cb": self._on_error, "logger": self}

    def log(self, level: int, _format: str, facility: str, _client: str, text: str) -> None:
        """What librdkafka calls in place of `logging.Logger.log`; it knows no other signature."""
        self._report(min(level, logging.WARNING), f"{facility} {text}")

    def _on_error(self, error: KafkaError) -> None:
        if _is_refusal(error):
            self._note_refusal(error)
        self._report(logging.WARNING, describe(error))

    def _note_refusal(self, error: KafkaError) -> None:
        """Keep the time of the first, and of several the one that says most."""
        if self.refusal is None:
            self._refused_at = time.monotonic()
        elif len(error.str()) <= len(self.refusal.str()):
            return
        self.refusal = error

    def _report(self, level: int, reason: str) -> None:
        self._last = time.monotonic()
        alike = re.sub(r"(, \d+ identical error\(s\) suppressed)?\)|\d+", "#", reason)
        if alike not in self._reasons and len(self._reasons) < _MAX_REASONS:
            self._reasons.add(alike)
            self._log.log(level, "%s: %s", self._what, reason)


def describe(error: KafkaError) -> str:
    """An error of librdkafka in one sentence, with its name, which is what one can search for."""
    return f"{error.str()} ({error.name()})"


def _error_of(exception: KafkaException) -> KafkaError:
    error: KafkaError = exception.args[0]
    return error


class _Client:
    """What reader and writer share: whom they talk to, and how they ask."""

    def __init__(
        self,
        servers: str,
        topic: str,
        operation: str,
        log: logging.Logger,
        options: Mapping[str, Value],
    ) -> None:
        self._options = options
        self._servers = servers
        self._topic = topic
        self._operation = operation
        self._endpoint = f"Kafka topic {topic!r} at {servers}"
        self._log = log
        self._trouble = Trouble(log, self._endpoint)

    def _common_settings(self) -> dict[str, Any]:
        return {
            "bootstrap.servers": self._servers,
            "client.id": "queue-connector",
            "reconnect.backoff.ms": 50,
            "reconnect.backoff.max.ms": 2000,
            "socket.keepalive.enable": True,
            "log_level": 2,  # the rest comes as errors too, and nobody polls an idle producer
            **self._trouble.settings(),
            **resolve(self._options, self._endpoint, self._operation),
        }

    def _make(self, client: Callable[[dict[str, Any]], T], settings: dict[str, Any]) -> T:
        """A client of librdkafka.

        Raises:
            EndpointError: it takes a setting not; what librdkafka says names it, not its value.
        """
        try:
            return client(settings)
        except KafkaException as exception:
            raise self.failed(_error_of(exception)) from None

    def _check_refusal(self) -> None:
        """Raise when nobody accepts the log-in or the certificate, or theirs cannot be trusted.

        Raises:
            EndpointError: librdkafka tried, was refused, and `REFUSAL_GRACE` has passed.
        """
        if (refusal := self._trouble.refusal) is not None and self._trouble.refused:
            raise self.failed(refusal)

    def failed(self, error: KafkaError) -> EndpointError:
        return EndpointError(self._endpoint, self._operation, describe(error))

    def _ask(self, question: Callable[[float], T]) -> T | None:
        """What the broker answers; none: not this time, the reason is in the log.

        Raises:
            EndpointError: asking again would not help.
        """
        try:
            answer = question(_LONGEST_QUESTION)
        except KafkaException as exception:
            error = _error_of(exception)
            if error.code() in HOPELESS:
                raise self.failed(error) from None
            self._trouble.report(describe(error))
            self._check_refusal()
            return None
        self._trouble.over()
        return answer


@attrs.frozen
class Start:
    """Where reading begins in partitions that it was not in before."""

    at: Literal["latest", "earliest", "offset", "time"] = "latest"
    value: int = 0
    """The offset, or the time in ms since the Unix epoch."""


class TopicReader(_Client):
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
        self._group = group
        self._upstream = upstream
        self._consumer: Consumer | None = None
        self._lost: set[int] = set()
        self._hopeless: EndpointError | None = None
        self._next_look = 0.0
        self._unknown_since: float | None = None
        self._settled: dict[int, int] = {}
        self._committed: dict[int, int] = {}
        self._committing: dict[int, int] | None = None
        self._reports: deque[tuple[int, Mapping[int, int]]] = deque()
        self._sent_at = 0.0

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
        self._settled, self._committed, self._committing = {}, {}, None
        self._reports.clear()
        self._consumer = self._make(
            Consumer,
            {
                **self._common_settings(),
                "group.id": self._group or "queue-connector",  # librdkafka asks for one
                "enable.auto.commit": False,
                "enable.auto.offset.store": False,
                "on_commit": self._on_commit,
                "session.timeout.ms": _COMMIT_TIMEOUT,  # of no session, but of a commit
                "heartbeat.interval.ms": _COMMIT_TIMEOUT // 3,
                "auto.offset.reset": "error",
                "fetch.queue.backoff.ms": 5,
                "fetch.wait.max.ms": _FETCH_WAIT,
                "queued.max.messages.kbytes": _READ_AHEAD,
            },
        )
        try:
            partitions = self._insist(self._partitions)
            committed = self._insist(partial(self._bookmarks, partitions))
            if positions is not None or committed:
                known = committed if positions is None else positions
                self.positions = {number: known.get(number, 0) for number in partitions}
            elif partitions:
                self.positions = self._insist(partial(self._beginnings, partitions))
            if not partitions:
                self._log.info("Kafka topic %s does not exist yet: awaited", self._topic)
            self._committed = dict(committed)
            self._mark(self.positions)
            self._assign()
        except BaseException:
            self.close()
            raise

    def take(self, most: int) -> list[Message[Any, Any]]:
        """The next messages, at least one and at most *most*; none after ``closing`` was set.

        Raises:
            EndpointError: the topic may not be read.
        """
        consumer = self._open_consumer()
        while not self.closing:
            check_cancelled()  # nothing has been taken, so nothing can be lost
            if self._hopeless is not None:
                raise self._hopeless
            if self._lost:
                self._find_positions()
            if time.monotonic() >= self._next_look:
                self._look_for_partitions()
            self._commit()
            first = consumer.poll(TICK)
            if first is None:
                self._check_refusal()
                continue
            messages = (first, *consumer.consume(most - 1, 0))
            if taken := [message for message in messages if self._usable(message)]:
                self._trouble.over()
                return taken
        return []

    def settled(self, generation: int, positions: Mapping[int, int]) -> None:
        """Everything before these positions has come to its end; any thread may call it."""
        if self._group is not None:
            self._reports.append((generation, positions))

    def close(self, grace: float = 0.0) -> None:
        """Commit what was settled, for *grace* seconds at most, and leave the broker.

        Calling it again does nothing.
        """
        if self._consumer is None:
            return
        until = time.monotonic() + grace
        while self._uncommitted() and time.monotonic() < until:
            self._commit(at_once=True)
            self._consumer.poll(TICK)
        if grace and self._uncommitted():
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

    def _bookmarks(self, partitions: Sequence[int], timeout: float) -> dict[int, int]:
        """Where the group has committed; nothing without a group."""
        if self._group is None or not partitions:
            return {}
        asked = [TopicPartition(self._topic, number) for number in partitions]
        found = self._open_consumer().committed(asked, timeout)
        for place in found:
            if place.error is not None:
                raise KafkaException(place.error)
        return {place.partition: place.offset for place in found if place.offset != OFFSET_INVALID}

    def _mark(self, positions: Mapping[int, int]) -> None:
        """Commit where reading begins, and return when that is done."""
        self._settled = {**self._settled, **positions}
        while self._uncommitted() and not self.closing:
            check_cancelled()
            self._commit(at_once=True)
            self._open_consumer().poll(TICK)  # no partition is assigned now

    def _uncommitted(self) -> bool:
        """Whether something was settled that is not committed."""
        while self._reports:
            generation, positions = self._reports.popleft()
            if generation == self.generation:
                self._settled = {**self._settled, **positions}
        return self._group is not None and self._settled != self._committed

    def _commit(self, *, at_once: bool = False) -> None:
        """Send what was settled since the last commit, unless one is on its way or was just now."""
        if not self._uncommitted():
            return
        age = time.monotonic() - self._sent_at
        if self._committing is not None and age < _COMMIT_PATIENCE:
            return
        if self._committing is None and not at_once and age < _COMMIT_INTERVAL:
            return
        self._committing = self._settled
        self._sent_at = time.monotonic()
        offsets = [TopicPartition(self._topic, *place) for place in self._settled.items()]
        try:
            self._open_consumer().commit(offsets=offsets, asynchronous=True)
        except KafkaException as exception:
            self._committing = None
            self._trouble.report(f"commit: {describe(_error_of(exception))}")

    def _on_commit(self, error: KafkaError | None, places: Sequence[TopicPartition]) -> None:
        """In the polling thread: the answer to a commit."""
        sent, self._committing = self._committing, None
        error = error or next((place.error for place in places if place.error), None)
        if error is not None:
            self._trouble.report(f"commit: {describe(error)}")
        elif sent is not None:
            self._committed = sent

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
        if self._group is not None:
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
        self._settled = {**self._settled, **positions} if positions else {}
        self._committed = self._committed if positions else {}


@attrs.frozen
class Outgoing:
    """A message to be sent, with a number to report on it by."""

    number: int
    payload: bytes
    timestamp: int = 0
    """In ms since the Unix epoch; 0 is the time of sending."""
    headers: list[tuple[str, str | bytes | None]] = attrs.field(factory=list)


class _Round:
    """The messages of one write, until each was reported on."""

    __slots__ = ("on_report", "pending")

    def __init__(self, on_report: Callable[[int, KafkaError | None], None]) -> None:
        self.on_report: Callable[[int, KafkaError | None], None] | None = on_report
        self.pending = 0

    def told(self, index: int, error: KafkaError | None, _message: object = None) -> None:
        self.pending -= 1
        if self.on_report is not None:
            self.on_report(index, error)


class TopicWriter(_Client):
    """Writes to one topic; an acknowledgement means that every replica in sync has it.

    Messages without a key go to one partition, so that their order is kept. No method keeps the
    producer in a variable of its own: an exception's traceback would keep it alive, threads and
    all, for as long as somebody remembers the exception.
    """

    def __init__(
        self,
        servers: str,
        topic: str,
        log: logging.Logger,
        message_max_bytes: int,
        options: Mapping[str, Value] | None = None,
    ) -> None:
        super().__init__(servers, topic, "writing", log, options or {})
        self.give_up_at = float("inf")
        self._message_max_bytes = message_max_bytes
        self._producer: Producer | None = None
        self._forsaken = 0

    def open(self) -> None:
        """Make the producer, and give the broker a moment to answer: later will do as well.

        Asking makes the topic where the broker makes topics by itself.
        """
        self.close()
        self.give_up_at = float("inf")
        largest = self._message_max_bytes + _ENVELOPE
        self._producer = self._make(
            Producer,
            {
                **self._common_settings(),
                "acks": "all",
                "enable.idempotence": True,
                "partitioner": "consistent",
                "linger.ms": 0,  # batches form by themselves while a request is on its way
                "message.timeout.ms": 0,  # never: the caller cancels
                "message.max.bytes": largest,
                "queue.buffering.max.kbytes": max(_SEND_QUEUE, 2 * largest // 1024),
            },
        )
        until = time.monotonic() + _CHECK_TIMEOUT
        try:
            while self._ask(self._known) is None:
                if time.monotonic() >= until and self._trouble.refusal is None:
                    self._log.warning("%s: no answer yet; what is written waits", self._endpoint)
                    return
                self._turn()
        except BaseException:
            self.close()
            raise

    def write(
        self,
        messages: Iterable[Outgoing],
        on_report: Callable[[int, KafkaError | None], None],
    ) -> None:
        """Send messages in order; return once *on_report* was called for each of their numbers.

        What was sent before it raises may still arrive, until `close`.

        Raises:
            EndpointError: the sink was stopped meanwhile, and the grace has passed.
        """
        current = _Round(on_report)
        try:
            for message in messages:
                check_cancelled()
                self._produce(message, partial(current.told, message.number))
                current.pending += 1
            while current.pending:
                self._turn()
        except BaseException:
            current.on_report = None
            self._forsaken += current.pending
            raise
        self._trouble.over()

    def close(self) -> None:
        """Take back what no write waits for any more, and leave the broker."""
        if self._producer is None:
            return
        if len(self._producer):
            self._producer.purge()
            self._producer.flush(_PURGE_TIMEOUT)
        if self._forsaken:
            self._log.warning(
                "%s: of writes that were given up, up to %d messages did not arrive",
                *(self._endpoint, self._forsaken),
            )
            self._forsaken = 0
        self._producer = None  # joins librdkafka's threads

    @property
    def _open_producer(self) -> Producer:
        if self._producer is None:
            raise RuntimeError("the sink is not started")
        return self._producer

    def _known(self, timeout: float) -> bool:
        found = self._open_producer.list_topics(self._topic, timeout).topics[self._topic]
        if found.error is not None and found.error.code() in HOPELESS:
            raise KafkaException(found.error)
        return True

    def _produce(
        self, message: Outgoing, on_delivery: Callable[[KafkaError | None, object], None]
    ) -> None:
        while True:
            try:
                self._open_producer.produce(
                    self._topic,
                    message.payload,
                    timestamp=message.timestamp,
                    headers=message.headers,
                    on_delivery=on_delivery,
                )
            except BufferError:
                self._turn()  # reports make room
            except KafkaException as exception:
                on_delivery(_error_of(exception), None)
                return
            else:
                return

    def _turn(self) -> None:
        check_cancelled()
        self._open_producer.poll(TICK)
        self._check_refusal()
        if time.monotonic() > self.give_up_at:
            reason = f"not everything was acknowledged within {FLUSH_GRACE:g} s of the stop"
            raise EndpointError(self._endpoint, self._operation, reason)
