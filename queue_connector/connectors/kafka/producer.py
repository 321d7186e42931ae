"""One librdkafka producer for all topics of a cluster and login that a device writes to.

* shared    by every `Writer` with the same servers and options; those with large messages
            have another one, so that nobody's small messages wait behind them, see `key_of`
* threads   `produce` is called on the Trio thread: it never waits, but copies with the GIL held,
            18 ms for 32 MiB. One lane polls, another one asks the broker what has to be asked
* bursts    few messages are given to librdkafka once all tasks have had their turn, with those of
            others: it sends the first at once, and what comes meanwhile goes together
* reports   come by rounds of messages, see `round`; all those of a burst wake Trio once
* order     messages without a key go to one partition, and librdkafka repeats what a broker did not
            take, once and in order
* cut off   what librdkafka was given cannot be taken back for one writer alone. It is taken back
            (`purge`) once no other writer has anything under way, and when the client closes
* source    librdkafka, INTRODUCTION.md, "Message reliability"; confluent-kafka, ``Producer.c``
"""

from __future__ import annotations

import itertools
import logging
import math
import time
import weakref
from collections import deque
from collections.abc import Callable, Hashable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer

from ...model.errors import EndpointError
from ...runtime.inbox import Bell
from ...runtime.lane import Lane
from ...runtime.worker import TICK
from . import client
from .client import (
    HOPELESS,
    Trouble,
    common_settings,
    describe,
    error_of,
    is_answered,
    make_client,
    request_limit,
)
from .inquiry import Inquiry, Topics
from .options import Value
from .round import Round, Ticket, Writer

MAX_MESSAGE_BYTES = 999_000_000
"""The largest message that librdkafka can be told to send, less its envelope."""

LARGE = 16 * 2**20
"""Bytes of a message beyond which a writer shares its client with its like only."""

ENVELOPE = 1024
"""More than the bytes that Kafka's requests and batches add to one payload."""

_NO_LIMIT = 2**31 - 1  # of librdkafka's queue: each writer bounds what it has under way
_PURGE_TIMEOUT = 1.0  # s for the reports of what was purged; they are made at once
_SECOND_CHANCE = 6.0  # s for a client to be answered after all: more than its longest back-offs
_SUSPECT = 5.0  # s that messages stand before it is asked whether they are too large
_UNSUSPECTED = 64 * 1024  # B together that any broker takes
_SUSPECT_AGAIN = 60.0  # s until it is asked again
_BATCH = 1_000_000  # B, librdkafka's own limit of what goes in one batch
_FEW, _SMALL = 10, 4096  # messages, and their bytes, that go with those of others
_SEND_BUDGET = 0.005  # s for which they are given to librdkafka, before others have their turn
_PROBE = 1.0  # s that it is asked for at once
_REVIEW = 1.0  # s between two looks at what has been under way for long


def key_of(servers: str, options: Mapping[str, Value], message_max_bytes: int) -> Hashable:
    """Writers with the same key share a client."""
    return KafkaProducer, servers, tuple(sorted(options.items())), message_max_bytes > LARGE


class KafkaProducer:
    """What writers of one cluster share; used on the Trio thread, entered by `Shared.use`."""

    def __init__(
        self,
        servers: str,
        options: Mapping[str, Value],
        message_max_bytes: int,
        log: logging.Logger,
    ) -> None:
        self.failure: EndpointError | None = None
        """Why nothing can be written any more; who comes next has it tried again."""
        self.ready = False
        """Whether it may be given messages now."""
        self.down = ""
        """Why no broker has answered what it was asked last; empty: one has."""
        self.request_limit: int | None = None
        """Bytes of the largest request that the brokers take, where it was too small for us."""
        self.servers = servers
        self._renewing = False
        self._suspect_at = 0.0
        self._options = options
        self._largest = MAX_MESSAGE_BYTES if message_max_bytes > LARGE else LARGE
        self._endpoint = f"Kafka at {servers}"
        self._log = log
        self._trouble = Trouble(log, self._endpoint)
        self._producer: Any = None
        self._writers: dict[str, list[Writer]] = {}
        self._alone: dict[str, Writer] = {}
        self._rounds: dict[int, tuple[weakref.ref[Ticket], Round]] = {}
        self._over: deque[weakref.ref[Ticket]] = deque()
        self._unsent: deque[tuple[str, Round, Ticket]] = deque()
        self._news: deque[tuple[str, Any]] = deque()
        self._heard_at = self._review_at = time.monotonic()
        self._doubts: list[KafkaError] = []

    # -- its life, on the Trio thread --------------------------------------------------------------

    async def __aenter__(self) -> KafkaProducer:
        self._bell = Bell(self._answer)
        self._post = Bell(self._send_some)
        async with AsyncExitStack() as opening:
            self.inquiry = await opening.enter_async_context(
                Inquiry(
                    self._list,
                    lambda found: self._say("found", found),
                    lambda error: self._say("unanswered", error),
                )
            )
            await self.inquiry.lane.run(self._open)
            self._polling = Lane("kafka-polling", turn=self._turn)
            await opening.enter_async_context(self._polling)
            self.ready = True
            self._lanes = opening.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._send_all()
        self.ready = False
        self._polling.post(self._close)
        await self._lanes.aclose()

    def join(self, writer: Writer) -> None:
        """A writer has started."""
        self._writers.setdefault(writer.topic, []).append(writer)
        if self.failure is not None:
            self.failure, self._trouble.refusal = None, None
            self._renew()
        self.inquiry.want(writer.topic)
        if self.down:
            writer.gone(self.down)

    @property
    def is_refused(self) -> bool:
        """Whether a log-in or a certificate was not accepted, and nothing else since."""
        return self._trouble.refusal is not None

    def leave(self, writer: Writer) -> None:
        """A writer has stopped, and is told nothing more."""
        writers = self._writers[writer.topic]
        writers.remove(writer)
        if not writers:
            del self._writers[writer.topic]
            self.inquiry.forget(writer.topic)
        self.go_together(writer)
        self._take_back()

    def _take_back(self) -> None:
        """Purge what only writers have under way that have left."""
        left = [round for _, round in self._rounds.values() if not round.writer.joined]
        if left and len(left) == len(self._rounds) and self.ready:
            self._send_all()
            self.ready = False  # so that nothing else is purged
            self._polling.post(self._purge)

    # -- messages, on the Trio thread --------------------------------------------------------------

    def produce(self, topic: str, batch: Round) -> None:
        """Send messages in order; ``batch.writer`` is told when all of them were reported on."""
        ticket = Ticket(batch.failures)
        reference = weakref.ref(ticket, self._over.append)
        self._rounds[id(reference)] = (reference, batch)
        self._unsent.append((topic, batch, ticket))
        del ticket
        if len(batch.payloads) < _FEW and batch.size < _SMALL:
            self._post.ring()
        else:
            self._send_all()

    def _send_some(self) -> None:
        """Give librdkafka what there is, but let others have their turn."""
        if self.ready:
            self._send_all(_SEND_BUDGET)

    def _send_all(self, budget: float = math.inf) -> None:
        until = time.monotonic() + budget
        while self._unsent:
            topic, batch, ticket = self._unsent.popleft()
            self._give(topic, batch, ticket.failed)
            del ticket
            if time.monotonic() > until:
                self._post.ring()
                break
        if self._over:
            self._bell.ring()

    def _give(self, topic: str, batch: Round, failed: Callable[..., None]) -> None:
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

    def may_send(self, writer: Writer) -> bool:
        """Whether nothing keeps this writer from sending."""
        alone = self._alone.get(writer.topic)
        return self.ready and self.failure is None and (alone is None or alone is writer)

    def go_alone(self, writer: Writer) -> bool:
        """Whether nobody else has anything under way to its topic, so that batches are its own.

        If not, the others send nothing more, and `Writer.proceed` is called when it is so.
        """
        if self._alone.setdefault(writer.topic, writer) is not writer:
            return False
        return not any(o.busy for o in self._writers[writer.topic] if o is not writer)

    def go_together(self, writer: Writer) -> None:
        """The others of its topic may send again."""
        if self._alone.get(writer.topic) is writer:
            del self._alone[writer.topic]
            for other in self._writers.get(writer.topic, ()):
                other.proceed()

    # -- news, on the Trio thread ------------------------------------------------------------------

    def _answer(self) -> None:
        """What the bell is rung for."""
        try:
            while self._over:
                reference = self._over.popleft()
                _, batch = self._rounds.pop(id(reference), (None, None))
                if batch is not None:
                    self._tell(batch)
            while self._news:
                what, said = self._news.popleft()
                getattr(self, f"_on_{what}")(said)
            self._review()
        except Exception as error:
            self._log.exception("%s: unexpected", self._endpoint)
            self._on_failure(self._unexpected(error))

    def _tell(self, batch: Round) -> None:
        errors = batch.errors()
        if len(errors) < len(batch.payloads):
            self._heard()
        writer = batch.writer
        if not writer.joined:
            return
        writer.over(batch, errors)
        alone = self._alone.get(writer.topic)
        if alone is not None and alone is not writer:
            alone.proceed()

    def _heard(self) -> None:
        """A broker has answered."""
        self._heard_at = time.monotonic()
        self._doubts.clear()
        self._trouble.over()
        if self.down:
            self.down = ""
            for writer in self._all():
                writer.up()

    def _on_found(self, found: Mapping[str, KafkaError | None]) -> None:
        self._heard()
        for topic, error in found.items():
            if error is None or error.code() in HOPELESS:
                self.inquiry.forget(topic)
            for writer in list(self._writers.get(topic, ())):
                writer.found(error)
        self.inquiry.looked()

    def _on_unanswered(self, error: KafkaError) -> None:
        for doubt in self._doubts:
            self._trouble.report(describe(doubt))
        if error.code() in HOPELESS:
            self._on_failure(self._failed(error))
            self.inquiry.looked()
            return
        self._trouble.report(f"{describe(error)}; what is written waits")
        self._doubts.clear()
        self.down = describe(error)
        for writer in self._all():
            writer.gone(self.down)
        self.inquiry.looked()
        if time.monotonic() - self._heard_at > client.STRANDED:
            self._heard_at = time.monotonic()  # the next comparison comes as late again
            self.inquiry.lane.post(self._compare)

    def _on_stranded(self, _: object) -> None:
        self._trouble.report("its client is not answered and another one is: connecting anew")
        self._renew()

    def _on_limit(self, limit: int | None) -> None:
        """Brokers have told how large a request may be."""
        largest = max((batch.largest for _, batch in self._rounds.values()), default=0)
        if limit is None:
            self._log.warning(
                "%s: messages stand, the largest has %d B; whether the brokers take so much is not "
                "known: see their socket.request.max.bytes",
                *(self._endpoint, largest),
            )
        elif limit < max(largest, _BATCH) + ENVELOPE and limit != self.request_limit:
            self._log.warning(
                "%s: messages stand, the largest has %d B; socket.request.max.bytes of the brokers "
                "is %d: connecting anew, to send less at once",
                *(self._endpoint, largest, limit),
            )
            self.request_limit = limit
            self._renew()

    def _on_fatal(self, error: KafkaError) -> None:
        self._log.warning("%s: %s; connecting anew", self._endpoint, describe(error))
        self._renew()

    def _on_renewed(self, _: object) -> None:
        for reference, batch in list(self._rounds.values()):  # whose reports have not come in time
            del self._rounds[id(reference)]
            batch.refused = dict.fromkeys(
                range(len(batch.payloads)), KafkaError(KafkaError._PURGE_INFLIGHT)
            )
            batch.failures.clear()
            self._tell(batch)
        self._renewing = False
        self._on_purged(None)
        self.inquiry.look()

    def _on_purged(self, _: object) -> None:
        self.ready = not self._renewing
        for writer in self._all():
            writer.proceed()

    def _on_unusable(self, failure: EndpointError) -> None:
        self._renewing = False
        self._on_failure(failure)

    def _on_failure(self, failure: EndpointError) -> None:
        self.failure = failure
        for writer in self._all():
            writer.fail(failure.reason)

    def _all(self) -> list[Writer]:
        return [writer for writers in self._writers.values() for writer in writers]

    def _renew(self) -> None:
        if not self._renewing:
            self._send_all()
            self._renewing, self.ready = True, False  # so that nobody produces meanwhile
            self._polling.post(self._replace)

    def _review(self) -> None:
        now = time.monotonic()
        if now < self._review_at:
            return
        self._review_at = now + _REVIEW
        for writer in {batch.writer: None for _, batch in self._rounds.values()}:
            writer.review(now)
        self._take_back()
        if now < self._suspect_at:
            return
        stand = [batch for _, batch in self._rounds.values() if now - batch.begun > _SUSPECT]
        if sum(batch.size for batch in stand) > _UNSUSPECTED:
            self._suspect_at = now + _SUSPECT_AGAIN
            self.inquiry.lane.post(self._ask_limit)

    # -- in the lane that polls --------------------------------------------------------------------

    def _turn(self) -> None:
        if self._producer is None:  # it could not be replaced, or it was closed
            time.sleep(TICK)
            return
        try:
            self._producer.poll(TICK)
        except KafkaException as exception:
            self._say("fatal", error_of(exception))
        except Exception as error:
            self._log.exception("%s: unexpected", self._endpoint)
            self._say("failure", self._unexpected(error))
        now = time.monotonic()
        if self._over or (self._rounds and now >= self._review_at):
            self._bell.ring()
        if self._trouble.refused and self.failure is None:
            assert self._trouble.refusal is not None
            self._say("failure", self._failed(self._trouble.refusal))
        silent = bool(self._rounds) and now - self._heard_at > client.STRANDED
        self.inquiry.look_if_due(wanted=bool(self.down or self._doubts or silent))

    def _on_error(self, error: KafkaError) -> None:
        if error.code() == KafkaError._FATAL:
            self._say("fatal", error)
        elif error.code() == KafkaError._ALL_BROKERS_DOWN or "Disconnected" in error.str():
            self._doubts.append(error)  # an idle connection that was closed is no outage
        else:
            self._trouble.on_error(error)

    def _open(self) -> None:
        largest = self._largest + ENVELOPE
        if self.request_limit is not None:
            largest = max(ENVELOPE, min(largest, self.request_limit - ENVELOPE))
        settings = {
            **common_settings(self.servers, self._options, self._endpoint, "writing"),
            **self._trouble.settings(),
            "error_cb": self._on_error,
            "acks": "all",
            "enable.idempotence": True,
            "partitioner": "consistent",
            "linger.ms": 0,  # batches form by themselves while a request is on its way
            "message.timeout.ms": 0,  # never: the writer gives up
            "message.max.bytes": largest,
            "batch.size": min(_BATCH, largest),
            "queue.buffering.max.messages": _NO_LIMIT,
            "queue.buffering.max.kbytes": _NO_LIMIT,
            "delivery.report.only.error": True,
        }
        self._producer = make_client(Producer, settings, self._endpoint, "writing")

    def _purge(self) -> None:
        if self._producer is not None:
            self._producer.purge()
        self._say("purged", None)

    def _close(self) -> None:
        if self._producer is not None:
            self._producer.purge()
            self._producer.flush(_PURGE_TIMEOUT)
        self._producer = None  # joins librdkafka's threads

    def _replace(self) -> None:
        self._close()
        try:
            self._open()
        except EndpointError as error:
            self._say("unusable", error)
        else:
            self._heard_at = time.monotonic()
            self._say("renewed", None)

    def _unexpected(self, error: Exception) -> EndpointError:
        return EndpointError(self._endpoint, "writing", f"unexpected {error!r}")

    def _failed(self, error: KafkaError) -> EndpointError:
        return EndpointError(self._endpoint, "writing", describe(error))

    def _say(self, what: str, said: object) -> None:
        self._news.append((what, said))
        self._bell.ring()

    # -- in the lane that asks ---------------------------------------------------------------------

    def _list(self, topic: str | None, timeout: float) -> Topics:
        if self._producer is None:
            raise KafkaException(KafkaError(KafkaError._DESTROY))
        topics: Topics = self._producer.list_topics(topic, timeout).topics
        return topics

    def _ask_limit(self) -> None:
        settings = common_settings(self.servers, self._options, self._endpoint, "writing")
        if is_answered(settings):  # else it is an outage
            self._say("limit", request_limit(settings))

    def _compare(self) -> None:
        """Say whether a new client is answered, and this one, which was not for long, is not."""
        settings = common_settings(self.servers, self._options, self._endpoint, "writing")
        if not is_answered(settings):
            return  # an outage
        until = time.monotonic() + _SECOND_CHANCE
        while self.ready and time.monotonic() < until:
            try:
                self._list(next(iter(self._writers), None), _PROBE)
            except KafkaException:
                time.sleep(TICK)
            else:
                return
        if self.ready:
            self._say("stranded", None)
