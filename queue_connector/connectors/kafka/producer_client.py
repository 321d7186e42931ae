"""librdkafka's producer itself: made, given messages, asked, closed, and made anew.

* calls     `give` on the Trio thread: it never waits. `list`, `ask_limit` and `compare` in the lane
            that asks; everything else in the lane that polls
* source    librdkafka, CONFIGURATION.md; confluent-kafka, ``Producer.c``
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from ...model.errors import EndpointError
from ...runtime.worker import TICK
from . import sharing
from .client import (
    Trouble,
    common_settings,
    describe,
    error_of,
    is_answered,
    make_client,
    request_limit,
)
from .inquiry import Topics
from .round import Round
from .settings import Value
from .sharing import ENVELOPE, MAX_MESSAGE_BYTES

_NO_LIMIT = 2**31 - 1  # of librdkafka's queue: each writer bounds what it has under way
_PURGE_TIMEOUT = 1.0  # s for the reports of what was purged; they are made at once
_SECOND_CHANCE = 6.0  # s for a client to be answered after all: more than its longest back-offs
BATCH = 1_000_000  # B, librdkafka's own limit of what goes in one batch
_PROBE = 1.0  # s that it is asked for at once


class ProducerClient:
    """One for all that write; *say* is called with what has happened, in whatever thread."""

    def __init__(
        self,
        servers: str,
        options: Mapping[str, Value],
        message_max_bytes: int,
        log: logging.Logger,
        say: Callable[[str, object], None],
    ) -> None:
        self.endpoint = f"Kafka at {servers}"
        self.trouble = Trouble(log, self.endpoint)
        self.doubts: list[KafkaError] = []
        """Why some broker may not be there; an idle connection that was closed says the same."""
        self.heard_at = time.monotonic()
        """When a broker has last answered."""
        self.request_limit: int | None = None
        """Bytes of the largest request that the brokers take, where it was too small for us."""
        self.servers = servers
        self._options = options
        large = message_max_bytes > sharing.LARGE
        self._largest = MAX_MESSAGE_BYTES if large else sharing.LARGE
        self._log = log
        self._say = say
        self._producer: Any = None

    def failed(self, error: KafkaError) -> EndpointError:
        """An error that waiting does not mend."""
        return EndpointError(self.endpoint, "writing", describe(error))

    def unexpected(self, error: Exception) -> EndpointError:
        """One that nobody has thought of; it goes to the log."""
        self._log.exception("%s: unexpected", self.endpoint)
        return EndpointError(self.endpoint, "writing", f"unexpected {error!r}")

    def poll(self) -> None:
        """Take what librdkafka has to say, for a turn of the lane."""
        if self._producer is None:  # it could not be replaced, or it was closed
            time.sleep(TICK)
            return
        try:
            self._producer.poll(TICK)
        except KafkaException as exception:
            self._say("fatal", error_of(exception))
        except Exception as error:
            self._say("failure", self.unexpected(error))

    def give(self, topic: str, batch: Round, failed: Callable[..., None]) -> None:
        """Give messages to librdkafka; what it does not take is noted, and so is all that follows.

        A message that is too large alone is left out: nothing overtakes it that it would hold up.
        """
        produce, key, headers = self._producer.produce, batch.key, batch.headers
        times = iter(batch.timestamps or itertools.repeat(0))
        messages = iter(batch.payloads)
        place = -1
        while True:
            try:
                if batch.timestamps or headers or key is not None:
                    for place, payload in enumerate(messages, place + 1):  # noqa: B007, B020
                        produce(topic, payload, key, -1, failed, None, next(times), headers)
                else:
                    for place, payload in enumerate(messages, place + 1):  # noqa: B007, B020
                        produce(topic, payload, None, -1, failed)
                return
            except BufferError:
                error = KafkaError(KafkaError._QUEUE_FULL)
            except KafkaException as exception:
                error = error_of(exception)
                if error.code() == KafkaError._FATAL:
                    self._say("fatal", error)
            batch.refused[place] = error
            if error.code() != KafkaError.MSG_SIZE_TOO_LARGE:
                rest = range(place + 1, len(batch.payloads))
                batch.refused.update(dict.fromkeys(rest, error))
                return

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._FATAL:
            self._say("fatal", error)
        elif error.code() == KafkaError._ALL_BROKERS_DOWN or "Disconnected" in error.str():
            self.doubts.append(error)  # an idle connection that was closed is no outage
        else:
            self.trouble.on_error(error)

    def open(self) -> None:
        """Make it; raises `EndpointError` where its settings cannot be used."""
        largest = self._largest + ENVELOPE
        if self.request_limit is not None:
            largest = max(ENVELOPE, min(largest, self.request_limit - ENVELOPE))
        settings = {
            **common_settings(self.servers, self._options, self.endpoint, "writing"),
            **self.trouble.settings(),
            "error_cb": self._on_error,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "consistent",
            "linger.ms": 0,  # batches form by themselves while a request is on its way
            "message.timeout.ms": 0,  # never: the writer gives up
            "message.max.bytes": largest,
            "batch.size": min(BATCH, largest),
            "queue.buffering.max.messages": _NO_LIMIT,
            "queue.buffering.max.kbytes": _NO_LIMIT,
            "delivery.report.only.error": True,
        }
        self._producer = make_client(Producer, settings, self.endpoint, "writing")

    def purge(self) -> None:
        """Take back what it has not sent, or is not told of; then say so."""
        if self._producer is not None:
            self._producer.purge()
        self._say("purged", None)

    def close(self) -> None:
        """End it; what it was given is reported on before, as not accepted."""
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(_PURGE_TIMEOUT)
        self._producer = None  # joins librdkafka's threads

    def replace(self) -> None:
        """Make another one in its place; then say whether that could be done."""
        self.close()
        try:
            self.open()
        except EndpointError as error:
            self._say("unusable", error)
        else:
            self.heard_at = time.monotonic()
            self._say("renewed", None)

    def list(self, topic: str | None, timeout: float) -> Topics:
        """What the brokers say of a topic, or of all; raises ``KafkaException``."""
        if self._producer is None:
            raise KafkaException(KafkaError(KafkaError._DESTROY))
        topics: Topics = self._producer.list_topics(topic, timeout).topics
        return topics

    def ask_limit(self) -> None:
        """Say how large a request the brokers take, unless none of them answers."""
        settings = common_settings(self.servers, self._options, self.endpoint, "writing")
        if is_answered(settings):  # else it is an outage
            self._say("limit", request_limit(settings))

    def compare(self, topic: str | None, ready: Callable[[], bool]) -> None:
        """Say whether a new client is answered, and this one, which was not for long, is not."""
        settings = common_settings(self.servers, self._options, self.endpoint, "writing")
        if not is_answered(settings):
            return  # an outage
        until = time.monotonic() + _SECOND_CHANCE
        while ready() and time.monotonic() < until:
            try:
                self.list(topic, _PROBE)
            except KafkaException:
                time.sleep(TICK)
            else:
                return
        if ready():
            self._say("stranded", None)
