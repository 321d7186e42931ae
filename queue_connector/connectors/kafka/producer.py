"""One librdkafka producer for all topics of a cluster and login that a device writes to.

* shared    by every `Writer` with the same servers and options; those with large messages
            have another one, so that nobody's small messages wait behind them, see `sharing`
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

import logging
import math
import time
import weakref
from collections import deque
from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from confluent_kafka import KafkaError

from ...model.errors import EndpointError
from ...runtime.inbox import Bell
from ...runtime.lane import Lane
from . import client
from .client import HOPELESS, describe
from .inquiry import Inquiry
from .producer_client import BATCH, ProducerClient
from .round import Round, Ticket, Writer
from .settings import Value
from .sharing import ENVELOPE
from .writers import Writers

_SUSPECT = 5.0  # s that messages stand before it is asked whether they are too large
_UNSUSPECTED = 64 * 1024  # B together that any broker takes
_SUSPECT_AGAIN = 60.0  # s until it is asked again
_FEW, _SMALL = 10, 4096  # messages, and their bytes, that go with those of others
_SEND_BUDGET = 0.005  # s for which they are given to librdkafka, before others have their turn
_REVIEW = 1.0  # s between two looks at what has been under way for long


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
        self.writers = Writers()
        self._renewing = False
        self._suspect_at = self._review_at = 0.0
        self._log = log
        self._client = ProducerClient(servers, options, message_max_bytes, log, self._say)
        self._trouble = self._client.trouble
        self._rounds: dict[int, tuple[weakref.ref[Ticket], Round]] = {}
        self._over: deque[weakref.ref[Ticket]] = deque()
        self._unsent: deque[tuple[str, Round, Ticket]] = deque()
        self._news: deque[tuple[str, Any]] = deque()

    # -- its life, on the Trio thread --------------------------------------------------------------

    async def __aenter__(self) -> KafkaProducer:
        self._bell = Bell(self._answer)
        self._post = Bell(self._send_some)
        async with AsyncExitStack() as opening:
            self.inquiry = await opening.enter_async_context(
                Inquiry(
                    self._client.list,
                    lambda found: self._say("found", found),
                    lambda error: self._say("unanswered", error),
                )
            )
            await self.inquiry.lane.run(self._client.open)
            self._polling = Lane("kafka-polling", turn=self._turn)
            await opening.enter_async_context(self._polling)
            self.ready = True
            self._lanes = opening.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._send_all()
        self.ready = False
        self._polling.post(self._client.close)
        await self._lanes.aclose()

    def join(self, writer: Writer) -> None:
        """A writer has started."""
        self.writers.add(writer)
        if self.failure is not None:
            self.failure, self._trouble.refusal = None, None
            self._renew()
        self.inquiry.want(writer.topic)
        if self.down:
            writer.gone(self.down)

    @property
    def request_limit(self) -> int | None:
        """Bytes of the largest request that the brokers take, where it was too small for us."""
        return self._client.request_limit

    def may_send(self, writer: Writer) -> bool:
        """Whether nothing keeps this writer from sending."""
        return self.ready and self.failure is None and self.writers.may_send(writer)

    @property
    def is_refused(self) -> bool:
        """Whether a log-in or a certificate was not accepted, and nothing else since."""
        return self._trouble.refusal is not None

    def leave(self, writer: Writer) -> None:
        """A writer has stopped, and is told nothing more."""
        if self.writers.remove(writer):
            self.inquiry.forget(writer.topic)
        self._take_back()

    def _take_back(self) -> None:
        """Purge what only writers have under way that have left."""
        left = [round for _, round in self._rounds.values() if not round.writer.joined]
        if left and len(left) == len(self._rounds) and self.ready:
            self._send_all()
            self.ready = False  # so that nothing else is purged
            self._polling.post(self._client.purge)

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
            self._client.give(topic, batch, ticket.failed)
            del ticket
            if time.monotonic() > until:
                self._post.ring()
                break
        if self._over:
            self._bell.ring()

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
            self._on_failure(self._client.unexpected(error))

    def _tell(self, batch: Round) -> None:
        errors = batch.errors()
        if len(errors) < len(batch.payloads):
            self._heard()
        writer = batch.writer
        if not writer.joined:
            return
        writer.over(batch, errors)
        self.writers.proceed_beside(writer)

    def _heard(self) -> None:
        """A broker has answered."""
        self._client.heard_at = time.monotonic()
        self._client.doubts.clear()
        self._trouble.over()
        if self.down:
            self.down = ""
            for writer in self.writers.all():
                writer.up()

    def _on_found(self, found: Mapping[str, KafkaError | None]) -> None:
        self._heard()
        for topic, error in found.items():
            if error is None or error.code() in HOPELESS:
                self.inquiry.forget(topic)
            for writer in self.writers.of(topic):
                writer.found(error)
        self.inquiry.looked()

    def _on_unanswered(self, error: KafkaError) -> None:
        for doubt in self._client.doubts:
            self._trouble.report(describe(doubt))
        if error.code() in HOPELESS:
            self._on_failure(self._client.failed(error))
            self.inquiry.looked()
            return
        self._trouble.report(f"{describe(error)}; what is written waits")
        self._client.doubts.clear()
        self.down = describe(error)
        for writer in self.writers.all():
            writer.gone(self.down)
        self.inquiry.looked()
        if time.monotonic() - self._client.heard_at > client.STRANDED:
            self._client.heard_at = time.monotonic()  # the next comparison comes as late again
            topic = self.writers.any_topic
            self.inquiry.lane.post(partial(self._client.compare, topic, lambda: self.ready))

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
                *(self._client.endpoint, largest),
            )
        elif limit < max(largest, BATCH) + ENVELOPE and limit != self._client.request_limit:
            self._log.warning(
                "%s: messages stand, the largest has %d B; socket.request.max.bytes of the brokers "
                "is %d: connecting anew, to send less at once",
                *(self._client.endpoint, largest, limit),
            )
            self._client.request_limit = limit
            self._renew()

    def _on_fatal(self, error: KafkaError) -> None:
        self._log.warning("%s: %s; connecting anew", self._client.endpoint, describe(error))
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
        for writer in self.writers.all():
            writer.proceed()

    def _on_unusable(self, failure: EndpointError) -> None:
        self._renewing = False
        self._on_failure(failure)

    def _on_failure(self, failure: EndpointError) -> None:
        self.failure = failure
        for writer in self.writers.all():
            writer.fail(failure.reason)

    def _renew(self) -> None:
        if not self._renewing:
            self._send_all()
            self._renewing, self.ready = True, False  # so that nobody produces meanwhile
            self._polling.post(self._client.replace)

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
            self.inquiry.lane.post(self._client.ask_limit)

    # -- in the lane that polls --------------------------------------------------------------------

    def _turn(self) -> None:
        self._client.poll()
        now = time.monotonic()
        if self._over or (self._rounds and now >= self._review_at):
            self._bell.ring()
        if self._trouble.refused and self.failure is None:
            assert self._trouble.refusal is not None
            self._say("failure", self._client.failed(self._trouble.refusal))
        silent = bool(self._rounds) and now - self._client.heard_at > client.STRANDED
        self.inquiry.look_if_due(wanted=bool(self.down or self._client.doubts or silent))

    def _say(self, what: str, said: object) -> None:
        self._news.append((what, said))
        self._bell.ring()
