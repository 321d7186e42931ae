"""Messages of a Kafka topic as data.

* start     every partition from its end as of `start`, or from elsewhere by ``start``; with a
  ``group_id`` from where the group has committed. A topic or partition that is made later is read
  from its beginning. A topic that does not exist is awaited after `start` has returned; a broker
  that cannot be reached is awaited before it does
* positions are kept while a broker is away. With a ``group_id`` they are committed too, of what was
  acknowledged: every second at most, and at the stop
* order     kept within each partition
* thread    none of its own: all topics of a cluster are read by one, see `reader`. What is small
            is decoded on the Trio loop, for `LOOP_BUDGET` seconds at most; what is large, in a
            worker thread, for at most `DECODE_BUDGET` seconds at a time
* memory    what waits is bounded in messages and bytes; what is settled is kept as runs of offsets
* errors    a message that cannot be decoded, or has no value (a tombstone), is refused alone
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import trio
from confluent_kafka import Message

from ...engine.window import OVERHEAD
from ...model.datatypes import Data, DataSpec
from ...model.errors import DecodeError
from ...model.ledger import Batch, Refusal
from ...model.provenance import Provenance
from ...model.services import Services
from ...model.stream import DataSource
from ...runtime.worker import Worker
from .cluster import Cluster
from .reading import reading
from .source import KafkaConsumerSourceDescriptor
from .subscription import Burst, Place, Start, Subscription

MAX_BATCH = 1000
"""Messages that are taken at once, at most."""

DECODE_BUDGET = 0.05
"""Seconds after which a batch is handed over with what is decoded; the rest is the next one."""

LOOP_BUDGET = 0.005
"""Seconds after which that happens where decoding is done on the Trio loop."""

SMALL = 64 * 1024
"""Bytes of a message that is decoded on the Trio loop, at most; the slowest codec takes 10 ms."""

TOGETHER, TOGETHER_BYTES = 100, 4096
"""Messages, and their bytes, that are decoded in one go, at most: alike ones are cheaper so."""

COMMIT_GRACE = 5.0
"""Seconds that the last commit of a source gets when it stops."""


class KafkaConsumerSource(DataSource):
    """Runtime side of `KafkaConsumerSourceDescriptor`."""

    def __init__(
        self, descriptor: KafkaConsumerSourceDescriptor, spec: DataSpec, services: Services
    ) -> None:
        self._encoding = descriptor.encoding or ""
        self._codec = descriptor.coding(spec)
        self._spec = spec
        self._topic = descriptor.topic
        self._group = descriptor.group_id
        self._session = descriptor.session_timeout if descriptor.members == "shared" else None
        self._cluster = Cluster(*descriptor.login)
        self._begin = Start.parse(descriptor.start)
        self._services = services
        self._worker = Worker()
        self._subscription: Subscription | None = None
        self._resume_at: dict[int, int] | None = None
        self._open = AsyncExitStack()

    def positions(self) -> dict[int, int] | None:
        """Partition → the offset after the last message before which all were acknowledged.

        None with a group, which has them already.
        """
        if self._group is not None or self._subscription is None:
            return None
        return dict(self._subscription.positions)

    def resume(self, positions: Mapping[int, int]) -> None:
        """Begin at these positions, those of an earlier source, at the next start."""
        self._resume_at = dict(positions)

    async def start(self) -> None:
        """Find out where to begin; waits for a broker to answer."""
        subscription = self._subscription = Subscription(
            self._topic,
            self._begin,
            self._resume_at,
            self._services.log,
            self._services.account.upstream,
            self._services.condition,
        )
        self._services.condition.gauges.update(
            queued=lambda: subscription.waiting,
            end_offset=lambda: subscription.end_offset,
            lag=lambda: subscription.lag,
        )
        await self._open.enter_async_context(
            reading(
                self._services.shared,
                self._cluster,
                self._group,
                subscription,
                lambda: COMMIT_GRACE,
                session=self._session,
            )
        )
        await subscription.opened.wait()
        subscription.raise_failure()
        self._resume_at = None

    async def finish(self) -> None:
        """Take in nothing more; what was taken in can still be received and acknowledged."""
        if self._subscription is not None:
            self._subscription.close()
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """Commit what was acknowledged, for `COMMIT_GRACE` seconds at most, and leave."""
        await self.finish()
        await self._open.aclose()
        self._services.condition.closed()

    async def receive(self) -> Data:
        """The next message's datum; it counts as acknowledged."""
        batch = await self._next(1)
        self.acknowledge(batch)
        for refusal in batch.refused:
            raise refusal.error
        return batch.values[0]

    async def receive_batch(self) -> Batch:
        """All messages that are there, up to `MAX_BATCH`."""
        return await self._next(MAX_BATCH)

    async def _next(self, most: int) -> Batch:
        await trio.lowlevel.checkpoint()
        subscription = self._subscription
        if subscription is None:
            raise RuntimeError("the source is not started")
        burst = await subscription.wait()
        if burst is None:
            raise trio.EndOfChannel
        making = _Making(self, subscription, most)
        if len(burst.messages[0].value() or b"") <= SMALL:
            making.run(LOOP_BUDGET, SMALL)
        else:
            await self._worker.run(making.run, DECODE_BUDGET, None)  # no checkpoint after it
        batch = making.batch()
        subscription.took(making.count, making.size, batch.token)
        return batch

    def acknowledge(self, batch: Batch) -> None:
        """Move the position, as far as everything before it was acknowledged."""
        if self._subscription is not None:
            self._subscription.settle(batch.token)

    def provenance(self, value: Data, raw: Message[Any, Any]) -> Provenance:
        """The message's bytes, topic, partition and offset, its key and its headers."""
        headers: Any = raw.headers() or ()
        return Provenance(raw.value(), self.position(raw), raw.key(), headers)

    def position(self, raw: Message[Any, Any]) -> str:
        """Topic, partition and offset of the message."""
        return f"{self._topic}[{raw.partition()}]@{raw.offset()}"

    def decode(self, messages: Sequence[Message[Any, Any]]) -> list[Data | DecodeError]:
        """The datum of each message, or why it has none."""
        payloads: list[Any] = [message.value() for message in messages]
        if None not in payloads:
            return self._codec.decode_batch(payloads, self._spec)
        why = "a tombstone, which has no value"
        return [
            DecodeError(self._encoding, self._spec, 0, why)
            if payload is None
            else self._codec.decode_batch([payload], self._spec)[0]
            for payload in payloads
        ]


class _Making:
    """A batch that is being made of the first messages that wait."""

    def __init__(self, source: KafkaConsumerSource, subscription: Subscription, most: int) -> None:
        self.count = self.size = 0
        self._source = source
        self._subscription = subscription
        self._most = most
        self._values: list[Data] = []
        self._raw: list[Message[Any, Any]] = []
        self._refused: list[Refusal] = []
        self._runs: dict[int, tuple[Place, int]] = {}

    def run(self, budget: float, most_bytes: int | None) -> None:
        """Decode, at least one message, until *budget* seconds are used up.

        A later message that has more than *most_bytes* is left for the next batch. Nobody else
        takes messages meanwhile.
        """
        until = time.monotonic() + budget
        burst: Burst | None = self._subscription.first
        while burst is not None and self._goes_on(burst):
            while burst.messages and self.count < self._most:
                if not (messages := self._next(burst, most_bytes)):
                    return
                self._add(messages)
                if time.monotonic() > until:
                    return
            if burst.messages:
                return
            burst = self._subscription.after(burst)

    def batch(self) -> Batch:
        """What was made."""
        size = self.size + OVERHEAD * len(self._values)
        return Batch(self._values, self._refused, raw=self._raw, token=self._runs, size=size)

    def _goes_on(self, burst: Burst) -> bool:
        """Whether its messages are of the lives of partitions that the batch has begun with."""
        return self.count < self._most and all(
            self._runs[number][0].life == place.life
            for number, place in burst.begins.items()
            if number in self._runs
        )

    def _next(self, burst: Burst, most_bytes: int | None) -> list[Message[Any, Any]]:
        """The next messages to decode together; none where the first has over *most_bytes*."""
        messages: list[Message[Any, Any]] = []
        end = self.size + TOGETHER_BYTES
        while burst.messages and self.count < self._most and self.size < end:
            message = burst.messages[0]
            size = len(message.value() or b"")
            if most_bytes is not None and self.count and size > most_bytes:
                break
            messages.append(burst.messages.popleft())
            self.count += 1
            self.size += size
            if len(messages) == TOGETHER:
                break
        self._note(burst, messages)
        return messages

    def _note(self, burst: Burst, messages: Sequence[Message[Any, Any]]) -> None:
        ends = {message.partition() or 0: (message.offset() or 0) + 1 for message in messages}
        for number, end in ends.items():
            begin = burst.begins[number]
            first, _ = self._runs.get(number, (begin, 0))
            self._runs[number] = (first, end)
            burst.begins[number] = Place(begin.life, end)

    def _add(self, messages: Sequence[Message[Any, Any]]) -> None:
        for message, found in zip(messages, self._source.decode(messages), strict=True):
            if isinstance(found, DecodeError):
                self._refused.append(self._source.provenance(None, message).refusal(found))
            else:
                self._values.append(found)
                self._raw.append(message)
