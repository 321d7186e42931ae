"""Messages of a Kafka topic as data.

* start     every partition from its end as of `start`, or from elsewhere by ``start``; with a
  ``group_id`` from where the group has committed. A topic or partition that is made later is read
  from its beginning. A topic that does not exist is awaited after `start` has returned; a broker
  that cannot be reached is awaited before it does
* positions are kept while a broker is away. With a ``group_id`` they are committed too, of what was
  acknowledged: every second at most, and at the stop
* order     kept within each partition
* thread    one hop for each batch, and none while nothing comes; decoding is done there too, so
  that it never holds up the Trio loop, for at most `DECODE_BUDGET` seconds at a time
* errors    a message that cannot be decoded, or has no value (a tombstone), is refused alone
"""

from __future__ import annotations

import datetime
import time
from collections import deque
from collections.abc import Hashable, Iterator, Mapping
from typing import Any

import attrs
import trio

from ...bridge import Worker
from ...codecs import codec_for
from ...datatypes import Data, DataSpec
from ...descriptors import Services, SourceDescriptor, option, sources
from ...errors import DecodeError, Fault
from ...ledger import Batch, Refusal
from ...stream import DataSource, Provenance
from .reader import COMMIT_GRACE, Message, Start, TopicReader
from .topic import KafkaTopicDescriptor

MAX_BATCH = 1000
"""Messages that are taken at once, at most."""

DECODE_BUDGET = 0.05
"""Seconds after which a batch is handed over with what is decoded; the rest is the next one."""

MAX_OFFSET = 2**63 - 1


def parse_start(written: int | str) -> Start:
    """Where a configuration says that reading begins.

    Raises:
        ValueError: it is none of the words, no time, or a time without a zone.
    """
    if isinstance(written, int):
        return Start("offset", written)
    if written in ("latest", "earliest"):
        return Start("latest" if written == "latest" else "earliest")
    when = datetime.datetime.fromisoformat(written)
    if when.tzinfo is None:
        raise ValueError("the time has no zone")
    since = when - datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    milliseconds = since // datetime.timedelta(milliseconds=1)
    if milliseconds < 0:
        raise ValueError("Kafka has no time before 1970")
    return Start("time", milliseconds)


@sources.register("KafkaConsumerSource")
@attrs.frozen(kw_only=True)
class KafkaConsumerSourceDescriptor(KafkaTopicDescriptor, SourceDescriptor):
    """Reads every partition of a topic, from its end as of the start unless told otherwise."""

    start: int | str = option(
        default="latest",
        ge=0,
        doc="Where reading begins: 'latest' is the end as of the start, 'earliest' the beginning; "
        "an offset; or a time in ISO 8601 with its zone, 2026-01-31T12:00:00Z, for the first "
        "message that is not older. Where the group has a position, that counts instead.",
    )
    group_id: str | None = option(
        default=None,
        min_length=1,
        doc="The consumer group under which Kafka keeps the position, for this source alone: of "
        "what every sink has accepted. A restart goes on there. Without, nothing is kept.",
    )

    @property
    def origin(self) -> Hashable:
        """Servers and topic, where offsets mean the same, and where reading was to begin."""
        return (type(self), self.bootstrap, self.topic, self.start, self.group_id)

    @property
    def bookmark(self) -> Hashable:
        """The group's position in the topic."""
        if self.group_id is None:
            return None
        return (type(self), self.bootstrap, self.topic, self.group_id)

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """Also a start that is none."""
        yield from super().faults(spec)
        try:
            start = parse_start(self.start)
        except ValueError as error:
            yield Fault(
                "$.start",
                f"{self.start!r:.80} is no place to begin: {error}",
                "write 'latest', 'earliest', an offset, or a time like 2026-01-31T12:00:00Z",
            )
        else:
            if start.value > MAX_OFFSET:
                yield Fault("$.start", f"no offset is larger than {MAX_OFFSET}", "write 'latest'")

    def build(self, spec: DataSpec, services: Services) -> KafkaConsumerSource:
        """The source, not started."""
        return KafkaConsumerSource(self, spec, services)


@attrs.frozen
class _Token:
    """The offset after each partition's last message of a batch, and whether it counts still."""

    generation: int
    positions: Mapping[int, int]


class KafkaConsumerSource(DataSource):
    """Runtime side of `KafkaConsumerSourceDescriptor`."""

    def __init__(
        self, descriptor: KafkaConsumerSourceDescriptor, spec: DataSpec, services: Services
    ) -> None:
        self._encoding = descriptor.encoding or ""
        self._codec = codec_for(descriptor.encoding, spec)
        self._spec = spec
        self._topic = descriptor.topic
        self._group = descriptor.group_id
        self._reader = TopicReader(
            descriptor.bootstrap,
            descriptor.topic,
            services.log,
            services.account.upstream,
            options=descriptor.options,
            start=parse_start(descriptor.start),
            group=descriptor.group_id,
        )
        self._worker = Worker()
        self._messages: deque[Message[Any, Any]] = deque()
        self._handed: deque[Batch] = deque()  # not acknowledged, or behind one that is not
        self._acknowledged: set[int] = set()
        self._positions: dict[int, int] = {}
        self._resume_at: dict[int, int] | None = None
        self._opened = False

    def positions(self) -> dict[int, int] | None:
        """Partition → the offset after the last message before which all were acknowledged.

        None with a group, which has them already.
        """
        return dict(self._positions) if self._group is None else None

    def resume(self, positions: Mapping[int, int]) -> None:
        """Begin at these positions, those of an earlier source, at the next start."""
        self._resume_at = dict(positions)

    async def start(self) -> None:
        """Find out where to begin; waits for a broker to answer."""
        self._opened = True
        await self._worker.run(self._reader.open, self._resume_at)
        self._resume_at = None
        self._positions = dict(self._reader.positions)

    async def finish(self) -> None:
        """Take in nothing more; what was taken in can still be received and acknowledged."""
        self._reader.closing = True
        await self._worker.run(self._reader.pause)

    async def stop(self) -> None:
        """Commit what was acknowledged, for `COMMIT_GRACE` seconds at most, and leave."""
        self._reader.closing = True
        if self._opened:
            await self._worker.run(self._reader.close, COMMIT_GRACE)
            self._opened = False
        else:
            await trio.lowlevel.checkpoint()

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
        if self._reader.closing and not self._messages:
            await trio.lowlevel.checkpoint()
            raise trio.EndOfChannel
        batch = await self._worker.run(self._take, most)  # no checkpoint after: it is kept
        if batch is None:  # stopped while it waited
            raise trio.EndOfChannel
        self._handed.append(batch)
        return batch

    def acknowledge(self, batch: Batch) -> None:
        """Move the position, as far as everything before it was acknowledged."""
        self._acknowledged.add(id(batch))
        moved: dict[int, int] = {}
        generation = self._reader.generation
        while self._handed and id(self._handed[0]) in self._acknowledged:
            done = self._handed.popleft()
            self._acknowledged.discard(id(done))
            token: _Token = done.token
            if token.generation == generation:
                moved.update(token.positions)
        if moved:
            self._positions.update(moved)
            self._reader.settled(generation, moved)

    def provenance(self, value: Data, raw: Message[Any, Any]) -> Provenance:
        """The message's bytes, topic, partition and offset, its key and its headers."""
        position = f"{self._topic}[{raw.partition()}]@{raw.offset()}"
        headers: Any = raw.headers() or ()
        return Provenance(raw.value(), position, raw.key(), headers)

    def _take(self, most: int) -> Batch | None:
        """In the worker thread: what was taken before, or what comes next, decoded."""
        if not self._messages:
            self._messages.extend(self._reader.take(MAX_BATCH))
        until = time.monotonic() + DECODE_BUDGET
        values: list[Data] = []
        raw: list[Message[Any, Any]] = []
        refused: list[Refusal] = []
        positions: dict[int, int] = {}
        while self._messages and len(values) + len(refused) < most:
            message = self._messages.popleft()
            positions[message.partition() or 0] = (message.offset() or 0) + 1
            try:
                values.append(self._decode(message))
                raw.append(message)
            except DecodeError as error:
                refused.append(self.provenance(None, message).refusal(error))
            if time.monotonic() > until:
                break
        if not positions:
            return None
        token = _Token(self._reader.generation, positions)
        return Batch(values, refused, raw=raw, token=token)

    def _decode(self, message: Message[Any, Any]) -> Data:
        payload: bytes | None = message.value()
        if payload is None:
            raise DecodeError(self._encoding, self._spec, 0, "a tombstone, which has no value")
        return self._codec.decode(payload, self._spec)
