"""Messages of a Kafka topic as data, from the moment of the start.

* start     every partition from its end as of `start`; a topic or partition that is made later
  from its beginning. A topic that does not exist is awaited after `start` has returned; a broker
  that cannot be reached is awaited before it does
* order     kept within each partition
* thread    one hop for each batch, and none while nothing comes; decoding is done there too, so
  that it never holds up the Trio loop, for at most `DECODE_BUDGET` seconds at a time
* errors    a message that cannot be decoded, or has no value (a tombstone), is refused alone
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Hashable, Mapping
from typing import Any

import attrs
import trio

from ...bridge import Worker
from ...codecs import codec_for
from ...datatypes import Data, DataSpec
from ...descriptors import Services, SourceDescriptor, sources
from ...errors import DecodeError
from ...ledger import Batch, Refusal
from ...stream import DataSource
from .client import Message, TopicReader
from .topic import KafkaTopicDescriptor

MAX_BATCH = 1000
"""Messages that are taken at once, at most."""

DECODE_BUDGET = 0.05
"""Seconds after which a batch is handed over with what is decoded; the rest is the next one."""


@sources.register("KafkaConsumerSource")
@attrs.frozen(kw_only=True)
class KafkaConsumerSourceDescriptor(KafkaTopicDescriptor, SourceDescriptor):
    """Reads every partition of a topic, from its end as of the start."""

    @property
    def origin(self) -> Hashable:
        """Servers and topic: offsets mean the same wherever these are the same."""
        return (type(self), self.bootstrap, self.topic)

    def build(self, spec: DataSpec, services: Services) -> KafkaConsumerSource:
        """The source, not started."""
        return KafkaConsumerSource(self, spec, services)


class KafkaConsumerSource(DataSource):
    """Runtime side of `KafkaConsumerSourceDescriptor`."""

    def __init__(
        self, descriptor: KafkaConsumerSourceDescriptor, spec: DataSpec, services: Services
    ) -> None:
        self._encoding = descriptor.encoding or ""
        self._codec = codec_for(descriptor.encoding, spec)
        self._spec = spec
        self._topic = descriptor.topic
        self._reader = TopicReader(
            descriptor.bootstrap,
            descriptor.topic,
            services.log,
            services.ledger.upstream,
            descriptor.options,
        )
        self._worker = Worker()
        self._messages: deque[Message[Any, Any]] = deque()
        self._decoded: deque[Data | Refusal] = deque()
        self._resume_at: dict[int, int] | None = None
        self._opened = False

    def positions(self) -> dict[int, int]:
        """Partition → the offset after the last message that was taken in."""
        return dict(self._reader.positions)

    def resume(self, positions: Mapping[int, int]) -> None:
        """Begin at these positions, those of an earlier source, at the next start."""
        self._resume_at = dict(positions)

    async def start(self) -> None:
        """Find the ends of the partitions; waits for a broker to answer."""
        self._opened = True
        await self._worker.run(self._reader.open, self._resume_at)
        self._resume_at = None

    async def stop(self) -> None:
        """Take in nothing more; what was taken in can still be received."""
        self._reader.closing = True
        if self._opened:
            await self._worker.run(self._reader.close)
            self._opened = False
        else:
            await trio.lowlevel.checkpoint()

    async def receive(self) -> Data:
        """The next message's datum."""
        if self._decoded:
            await trio.lowlevel.checkpoint()
        else:
            self._decoded.extend(await self._next())
        item = self._decoded.popleft()
        if isinstance(item, Refusal):
            raise item.error
        return item

    async def receive_batch(self) -> Batch:
        """All messages that are there, up to `MAX_BATCH`."""
        if self._decoded:
            await trio.lowlevel.checkpoint()
            items = list(self._decoded)
            self._decoded.clear()
        else:
            items = await self._next()
        refused = [item for item in items if isinstance(item, Refusal)]
        if not refused:
            return Batch(items)
        return Batch([item for item in items if not isinstance(item, Refusal)], refused)

    async def _next(self) -> list[Data | Refusal]:
        if self._reader.closing and not self._messages:
            await trio.lowlevel.checkpoint()
            raise trio.EndOfChannel
        items = await self._worker.run(self._take)  # no checkpoint after: what it took is kept
        if not items:  # stopped while it waited
            raise trio.EndOfChannel
        return items

    def _take(self) -> list[Data | Refusal]:
        """In the worker thread: what was taken before, or what comes next, decoded."""
        if not self._messages:
            self._messages.extend(self._reader.take(MAX_BATCH))
        until = time.monotonic() + DECODE_BUDGET
        items = []
        while self._messages:
            items.append(self._decode(self._messages.popleft()))
            if time.monotonic() > until:
                break
        return items

    def _decode(self, message: Message[Any, Any]) -> Data | Refusal:
        payload: bytes | None = message.value()
        try:
            if payload is None:
                raise DecodeError(self._encoding, self._spec, 0, "a tombstone, which has no value")
            return self._codec.decode(payload, self._spec)
        except DecodeError as error:
            position = f"{self._topic}[{message.partition()}]@{message.offset()}"
            return Refusal(error, payload or b"", position)
