"""Messages on their way to a topic, until each was acknowledged or refused.

* outages   waited out for as long as it takes; cancelling is the way out. What a cancelled write
  had in hand and was not accepted may arrive or not; nothing of it arrives after the stop
* retries   librdkafka repeats what a broker did not take, once and in order. What it gives up, as
  for a topic that was deleted, is sent anew by another producer, and may then come twice
* refusals  a broker that refuses one message refuses all that came in one batch with it, and says
  nothing of which it was. So each of them is sent again alone; what is refused then is meant. The
  others may come behind what was sent after them
* thread    one hop for each write
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable

import trio

from ...backoff import Backoff
from ...bridge import Worker
from ...descriptors import Services
from .client import HOPELESS, describe
from .topic import KafkaAddress
from .writer import FLUSH_GRACE, KafkaError, Outgoing, TopicWriter

RETRY_FIRST = 0.25
RETRY_MOST = 4.0
"""Seconds before messages are sent anew, doubled up to the longest."""

REFUSALS = frozenset(
    {
        KafkaError.MSG_SIZE_TOO_LARGE,
        KafkaError.INVALID_TIMESTAMP,
        KafkaError.INVALID_RECORD,
    }
)
"""Errors that are a message's own, if it was sent alone."""


class TopicSender:
    """Writes to one topic; the methods are called on the Trio thread, by one task at a time."""

    def __init__(self, address: KafkaAddress, services: Services, message_max_bytes: int) -> None:
        self._topic = address.topic
        self._writer = TopicWriter(
            address.bootstrap, address.topic, services.log, message_max_bytes, address.options
        )
        self._worker = Worker()
        self._log = services.log
        self._exchange = services.exchange
        self._opened = False

    async def start(self) -> None:
        """Get ready to write; a broker that does not answer yet is no error."""
        self._opened = True
        await self._worker.run(self._writer.open)

    async def stop(self) -> None:
        """Give a write under way `FLUSH_GRACE` seconds, then leave the broker."""
        if self._opened:
            self._writer.give_up_at = time.monotonic() + FLUSH_GRACE
            await self._worker.run(self._writer.close)
            self._opened = False
        else:
            await trio.lowlevel.checkpoint()

    async def send(
        self,
        unsent: Callable[[], Iterable[Outgoing]],
        report: Callable[[int, KafkaError | None], bool],
    ) -> None:
        """Send what *unsent* gives, and again, until nothing is left.

        Both are called in a worker thread. *report* is told of each message by its number, and
        says whether that is the end of it, which an error in `REFUSALS` must be; a message that
        comes to no end is among the next.

        Raises:
            EndpointError: trying again would not help.
        """
        backoff = Backoff(RETRY_FIRST, RETRY_MOST)
        while True:
            failures = await self._worker.run(self._send_all, unsent, report)
            if not failures:
                return
            for error in failures:
                if error.code() in HOPELESS:
                    raise self._writer.failed(error)
            reason = f"{describe(failures[0])}; {len(failures)} messages are sent again"
            self._log.warning("%s: Kafka topic %s: %s", self._exchange, self._topic, reason)
            await trio.sleep(backoff.next())
            await self._worker.run(self._writer.open)  # the old one may never send again

    def _send_all(
        self,
        unsent: Callable[[], Iterable[Outgoing]],
        report: Callable[[int, KafkaError | None], bool],
    ) -> list[KafkaError]:
        """In the worker thread: the errors for which messages have to be sent anew."""
        refused: list[int] = []
        failures = self._send(unsent(), report, refused)
        for message in unsent() if refused else ():
            if message.number in refused and not failures:
                failures = self._send([message], report)
        return failures

    def _send(
        self,
        messages: Iterable[Outgoing],
        report: Callable[[int, KafkaError | None], bool],
        refused: list[int] | None = None,
    ) -> list[KafkaError]:
        failures: list[KafkaError] = []

        def reported(number: int, error: KafkaError | None) -> None:
            if refused is not None and error is not None and error.code() in REFUSALS:
                refused.append(number)
            elif not report(number, error) and error is not None:
                failures.append(error)

        self._writer.write(messages, reported)
        return failures
