"""Messages on their way to a topic, until each was accepted or refused.

* window    bounds what is under way, see `outgoing`; where it is full, `send` waits
* outages   waited out for as long as it takes. What was cut off and not accepted may arrive or not,
            see `producer`
* retries   librdkafka repeats what a broker did not take, once and in order. What it gives up, as
            for a topic that was deleted, is sent anew once the topic is found again, and may then
            come twice. Nothing overtakes it meanwhile
* refusals  a broker that refuses one message refuses all that came in one batch with it, and says
            nothing of which it was. So each of them is sent again alone; what is refused then is
            meant. The others may come behind what was sent after them
* errors    `EndpointError` where trying again would not help: then nothing more is sent
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from operator import itemgetter

import trio

from ...model.errors import EndpointError
from ...model.services import Services
from ...runtime.backoff import Backoff
from .client import HOPELESS, REFUSALS, KafkaError, describe
from .cluster import NO_SUCH_TOPIC
from .outgoing import Outgoing, is_full
from .producer import KafkaProducer
from .round import Round
from .sharing import key_of
from .topic import KafkaAddress

FLUSH_GRACE = 1.0
"""Seconds that what is under way gets for its acknowledgements once the writer is to stop."""

START_GRACE = 1.0
"""Seconds that a start waits for a broker to answer; later will do as well."""

RETRY_FIRST = 0.25
RETRY_MOST = 4.0
"""Seconds before messages are sent anew, doubled up to the longest."""

SLOW = 3.0
"""Seconds without an acknowledgement after which a writer waits for one."""

_Message = tuple[int, int, Outgoing]
"""Number of what it is sent with, its place there, and that; the first two say the order."""


class TopicWriter:
    """Writes to one topic; all of it on the Trio thread."""

    def __init__(self, address: KafkaAddress, services: Services, message_max_bytes: int) -> None:
        self.topic = address.topic
        self.joined = False
        self._servers = address.bootstrap
        self._options = address.options
        self._largest = message_max_bytes
        self._services = services
        self._condition = services.condition
        self._endpoint = f"Kafka topic {self.topic!r} at {self._servers}"
        self._client: KafkaProducer | None = None
        self._ends = AsyncExitStack()
        self._in_turn = trio.Lock()
        self._changed = trio.lowlevel.ParkingLot()
        self._forget()

    def _forget(self) -> None:
        self._failure: EndpointError | None = None
        self._rounds: dict[Round, None] = {}
        self._open: dict[Outgoing, None] = {}
        self._again: list[_Message] = []
        self._alone: list[_Message] = []
        self._sought = False
        self._answered = False
        self._by_itself = False
        self._pauses = Backoff(RETRY_FIRST, RETRY_MOST)
        self._number = self._count = self._bytes = 0

    @property
    def request_limit(self) -> int | None:
        """Bytes of the largest request that the brokers take, where it was too small for us."""
        return None if self._client is None else self._client.request_limit

    @property
    def busy(self) -> bool:
        """Whether something of it is in librdkafka's hands."""
        return bool(self._rounds)

    async def start(self) -> None:
        """Get ready to write; a broker that does not answer yet is no error.

        Raises:
            EndpointError: options that cannot be used, or nobody accepts the log-in.
        """
        self._forget()
        self._condition.gauges["under_way"] = lambda: self._count

        def make() -> KafkaProducer:
            log = self._services.log
            return KafkaProducer(self._servers, self._options, self._largest, log)

        key = key_of(self._servers, self._options, self._largest)
        client = await self._ends.enter_async_context(self._services.shared.use(key, make))
        self._client = client
        self.joined = True
        client.join(self)
        with trio.move_on_after(START_GRACE):
            while not self._answered:
                await self._changed.park()
        while client.is_refused and self._failure is None and not self._answered:
            await self._changed.park()  # until that has lasted, or some broker has accepted us
        if self._failure is not None:
            raise self._failure
        if self._condition.waiting_for:
            message = "%s: waits for %s (%s); so does what is written"
            told = self._condition.waiting_for, self._condition.error
            self._services.log.warning(message, self._services.exchange, *told)

    async def stop(self) -> None:
        """Give what is under way `FLUSH_GRACE` seconds, then leave the client to the others.

        Where it is waited for already, none: nothing would come of it.
        """
        client, self._client = self._client, None
        if client is None:
            await trio.lowlevel.checkpoint()
            return
        try:
            grace = 0.0 if self._condition.waiting_for else FLUSH_GRACE
            with trio.move_on_after(grace):
                while self._count and self._failure is None:
                    await self._changed.park()
        finally:
            self.joined = False
            if self._count:
                reason = f"not everything was acknowledged within {FLUSH_GRACE:g} s of the stop"
                message = "%s: of writes that were given up, up to %d messages did not arrive"
                self._services.log.warning(message, self._endpoint, self._count)
                self.fail(reason)
            client.leave(self)
            self._condition.closed()
            await self._ends.aclose()

    async def send(self, outgoing: Outgoing) -> None:
        """Send messages, behind those that were sent before; they are under way on return.

        Cancelled, those that are not under way are not sent. What was sent is told of nevertheless.

        Raises:
            EndpointError: the writer has failed.
        """
        first, end = 0, len(outgoing.payloads)
        try:
            self._in_turn.acquire_nowait()  # no checkpoint
        except trio.WouldBlock:
            await self._in_turn.acquire()
        try:
            while first < end:
                while not self._may_send():
                    await self._changed.park()
                last = outgoing.fitting(first, self._count, self._bytes)
                self._take_on(outgoing, range(first, last))
                first = last
        finally:
            self._in_turn.release()

    @property
    def is_free(self) -> bool:
        """Whether what fits may be sent without waiting."""
        if self._failure is not None or self._client is None or self._in_turn.locked():
            return False
        return self._may_send()

    def send_nowait(self, outgoing: Outgoing) -> bool:
        """Send messages while it is free; False: not all of them fit, and none was sent."""
        end = len(outgoing.payloads)
        if outgoing.fitting(0, self._count, self._bytes) < end:
            return False
        self._take_on(outgoing, range(end))
        return True

    def _may_send(self) -> bool:
        if self._failure is not None:
            raise self._failure
        if self._client is None:
            raise RuntimeError("the sink is not started")
        held = self._again or self._alone or self._by_itself
        if held or is_full(self._count, self._bytes):
            return False
        return self._client.may_send(self)

    def _take_on(self, outgoing: Outgoing, places: range) -> None:
        if not outgoing.number:
            self._number += 1
            outgoing.number = self._number
            self._open[outgoing] = None
        outgoing.left += len(places)
        self._count += len(places)
        self._bytes += outgoing.size_of(places)
        self._produce(outgoing, places)

    def _produce(self, outgoing: Outgoing, places: Sequence[int], *, alone: bool = False) -> None:
        assert self._client is not None
        payloads, timestamps = outgoing.payloads, outgoing.timestamps
        if len(places) != len(payloads):
            payloads = [payloads[place] for place in places]
            timestamps = [timestamps[place] for place in places] if timestamps else ()
        batch = Round(self, payloads, timestamps, outgoing.key, outgoing.headers)
        batch.note = (outgoing, places, alone)
        self._rounds[batch] = None
        self._client.produce(self.topic, batch)

    # -- what the client says ----------------------------------------------------------------------

    def over(self, batch: Round, errors: Mapping[int, KafkaError]) -> None:
        """All messages of a round were reported on; these were not accepted."""
        del self._rounds[batch]
        if self._failure is not None:
            return
        outgoing, places, alone = batch.note
        self._by_itself &= not alone
        if len(errors) < len(places):
            self._condition.is_well()
            self._pauses.reset()
        if not errors:
            self._finish(outgoing, places, {})
        else:
            self._sort(outgoing, places, errors, alone)
        self.proceed()

    def _sort(
        self,
        outgoing: Outgoing,
        places: Sequence[int],
        errors: Mapping[int, KafkaError],
        alone: bool,
    ) -> None:
        """Tell of what is decided, and keep what is to be sent again."""
        refused: dict[int, KafkaError] = {}
        failed: list[KafkaError] = []
        told: list[int] = []
        for index, place in enumerate(places):
            error = errors.get(index)
            if error is None:
                told.append(place)
            elif error.code() in REFUSALS and alone:
                told.append(place)
                refused[place] = error
            elif error.code() in REFUSALS:
                self._alone.append((outgoing.number, place, outgoing))
            else:
                failed.append(error)
                again = self._alone if alone else self._again
                again.insert(0 if alone else len(again), (outgoing.number, place, outgoing))
        self._finish(outgoing, told, refused)
        for error in failed:
            if error.code() in HOPELESS:
                self.fail(describe(error))
                return
        if failed:
            self._seek(failed)

    def _seek(self, errors: Sequence[KafkaError]) -> None:
        """Have the topic looked for, before anything is sent again."""
        assert self._client is not None
        reason = f"{describe(errors[0])}; {len(errors)} messages are sent again"
        log, name = self._services.log, self._services.exchange
        log.warning("%s: Kafka topic %s: %s", name, self.topic, reason)
        self._condition.waits(f"the topic {self.topic!r}", describe(errors[0]))
        self._sought = True
        self._client.inquiry.want(self.topic, self._pauses.next())

    def _finish(
        self, outgoing: Outgoing, places: Sequence[int], refused: Mapping[int, KafkaError]
    ) -> None:
        self._count -= len(places)
        self._bytes -= outgoing.size_of(places)
        outgoing.left -= len(places)
        if not outgoing.left:
            self._open.pop(outgoing, None)
        if places:
            outgoing.told(places, refused)

    def proceed(self) -> None:
        """Do what can be done now."""
        client = self._client
        if client is not None and self._failure is None and client.ready:
            if (self._again or self._alone) and not self._rounds and not self._sought:
                if self._again:
                    self._send_again()
                elif client.writers.go_alone(self):
                    _, place, outgoing = self._alone.pop(0)
                    self._by_itself = True
                    self._produce(outgoing, [place], alone=True)
            if not self._alone and not self._by_itself:
                client.writers.go_together(self)
        if self._changed:
            self._changed.unpark_all()

    def _send_again(self) -> None:
        waiting, self._again = sorted(self._again, key=itemgetter(0, 1)), []
        while waiting:
            outgoing = waiting[0][2]
            places = [place for _, place, other in waiting if other is outgoing]
            del waiting[: len(places)]
            self._produce(outgoing, places)

    def found(self, error: KafkaError | None) -> None:
        """What a broker has answered when it was asked for the topic."""
        if error is not None and error.code() in HOPELESS:
            self.fail(describe(error))
        elif error is not None:
            absent = ", which does not exist" if error.code() in NO_SUCH_TOPIC else ""
            self._condition.waits(f"the topic {self.topic!r}{absent}", describe(error))
            self._changed.unpark_all()
        else:
            self._answered = True
            self._sought = False
            if not self._again and not self._alone:
                self._condition.is_well()
            self.proceed()

    def gone(self, reason: str) -> None:
        """No broker answers."""
        self._answered = self._client is None or not self._client.is_refused
        self._condition.waits(f"a broker of {self._servers}", reason)
        self._changed.unpark_all()

    def up(self) -> None:
        """Brokers answer again."""
        if not self._sought:
            self._condition.is_well()

    def review(self, now: float) -> None:
        """Look at what has been under way for long."""
        oldest = next(iter(self._rounds), None)
        if oldest is not None and now - oldest.begun > SLOW and not self._condition.waiting_for:
            self._condition.waits(f"acknowledgements of the topic {self.topic!r}")

    def fail(self, reason: str) -> None:
        """Trying again would not help."""
        if self._failure is None:
            self._failure = EndpointError(self._endpoint, "writing", reason)
            self._condition.waits("a restart", reason)
            waiting, self._open = list(self._open), {}
            for outgoing in waiting:
                outgoing.failed(self._failure)
        self._changed.unpark_all()
