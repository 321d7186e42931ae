"""Messages to a topic, sent by blocking calls in one `Worker` until each was reported on.

* source    librdkafka, CONFIGURATION.md; INTRODUCTION.md, "Message reliability"
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial

import attrs
from confluent_kafka import KafkaError, KafkaException, Producer

from ...bridge import TICK, check_cancelled
from ...errors import EndpointError
from .client import HOPELESS, TopicClient, error_of
from .options import Value

__all__ = ["FLUSH_GRACE", "MAX_MESSAGE_BYTES", "KafkaError", "Outgoing", "TopicWriter"]

MAX_MESSAGE_BYTES = 999_000_000
"""The largest message that librdkafka can be told to send, less its envelope."""

FLUSH_GRACE = 10.0
"""Seconds that a write under way gets for its acknowledgements once the sink is to stop."""

_ENVELOPE = 1024  # B, more than what Kafka's record batch adds to one payload
_CHECK_TIMEOUT = 1.0  # s that a sink waits at its start for a broker to answer
_PURGE_TIMEOUT = 1.0  # s for the reports of what was purged; they are made at once
_SEND_QUEUE = 32 * 1024  # KiB that wait to be sent, or twice the largest message


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


class TopicWriter(TopicClient):
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
            EndpointError: the sink was stopped meanwhile, and the grace has passed; or nobody
                accepts the log-in or the certificate.
        """

        def reported(number: int, error: KafkaError | None) -> None:
            self._heard_at = time.monotonic()
            if error is None:
                self._trouble.refusal = None  # some broker has accepted us
            on_report(number, error)

        current = _Round(reported)
        self._heard_at = time.monotonic()
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
                on_delivery(error_of(exception), None)
                return
            else:
                return

    def _turn(self) -> None:
        check_cancelled()
        self._open_producer.poll(TICK)
        self._check_refusal()
        if self._stranded(self._known):
            self._open_producer.purge()  # each is reported as that, and sent by another one
        if time.monotonic() > self.give_up_at:
            reason = f"not everything was acknowledged within {FLUSH_GRACE:g} s of the stop"
            raise EndpointError(self._endpoint, self._operation, reason)
