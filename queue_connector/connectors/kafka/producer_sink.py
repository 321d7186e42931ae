"""Data as messages of a Kafka topic.

* accepted  when every replica in sync has the message (``acks=all``); the idempotent producer
  writes it once and in order
* order     of everything that one sink writes: all its messages go to one partition
* thread    data are encoded on the Trio thread; others have their turn every `ENCODE_BUDGET`
            seconds. Where one datum takes longer, the next is encoded in a thread of its own
* outages   what may be under way, and what is sent again, see `writer`
* time      a message's timestamp is that of its sending, or taken from its datum
* errors    a value that does not fit, is too large or has no timestamp is refused alone
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import attrs
import trio

from ...model.datatypes import Data, DataSpec
from ...model.delivery import Delivery
from ...model.errors import DataError
from ...model.services import Services
from ...model.stream import DataSink
from ...runtime.worker import Worker
from .client import KafkaError, describe
from .outgoing import MOST_BYTES, Outgoing
from .sharing import ENVELOPE
from .sink import KafkaProducerSinkDescriptor, TooLargeError
from .timestamps import SENDING_TIME, TimestampError
from .writer import TopicWriter

ENCODE_BUDGET = 0.005
"""Seconds for which data are encoded before what there is is sent."""

AT_ONCE = 256
"""Data that are encoded together, if those before were quick."""


@attrs.define(eq=False, slots=False)
class RefusedError(DataError):
    """The broker does not take one message, for what it is."""

    topic: str
    reason: str

    def __str__(self) -> str:
        return (
            f"the broker refused a message for the topic {self.topic!r}: {self.reason}; a topic "
            "that is compacted, for example, wants keys, and there are none"
        )


@attrs.define(eq=False)
class _Sending:
    """Data of a delivery that are sent together."""

    delivery: Delivery
    numbers: list[int] = attrs.field(factory=list)
    """Their places in the delivery."""
    payloads: list[Any] = attrs.field(factory=list)
    timestamps: list[int] = attrs.field(factory=list)

    def add(self, first: int, encoded: Sequence[Any], timestamps: Sequence[int]) -> None:
        """Take on payloads of the data from *first* on, and refuse those that have none."""
        for number, payload in enumerate(encoded, first):
            if isinstance(payload, DataError):
                self.delivery.refuse(number, payload)
            else:
                self.numbers.append(number)
                self.payloads.append(payload)
        self.timestamps += timestamps


class KafkaProducerSink(DataSink):
    """Runtime side of `KafkaProducerSinkDescriptor`."""

    def __init__(
        self, descriptor: KafkaProducerSinkDescriptor, spec: DataSpec, services: Services
    ) -> None:
        self._descriptor = descriptor
        self._codec = descriptor.coding(spec)
        self._spec = spec
        self._topic = descriptor.topic
        self._limit = descriptor.message_max_bytes
        self._writer = TopicWriter(descriptor, services, descriptor.message_max_bytes)
        self._worker = Worker()
        self._slow = False  # whether the latest datum took long to encode
        self._at_once = 1  # data that are encoded before it is looked how long that took

    async def start(self) -> None:
        """Get ready to write; a broker that does not answer yet is no error."""
        await self._writer.start()

    async def stop(self) -> None:
        """Give what is under way a moment, then leave the broker."""
        await self._writer.stop()

    async def awrite_batch(self, delivery: Delivery) -> None:
        """Send all, then wait for every acknowledgement."""
        await self.begin(delivery)
        over = trio.Event()
        delivery.on_told = lambda: over.set() if delivery.over else None
        delivery.on_told()
        await over.wait()
        if delivery.failure is not None:
            raise delivery.failure

    async def begin(self, delivery: Delivery) -> None:
        """Send all; they are under way on return."""
        values, index = delivery.values, 0
        while True:
            sending = _Sending(delivery)
            until = time.monotonic() + ENCODE_BUDGET
            while index < len(values):
                some = values[index : index + self._at_once]
                sending.add(index, *await self._encode_some(some))
                index += len(some)
                if time.monotonic() > until or sum(map(len, sending.payloads)) > MOST_BYTES:
                    break
            await self._writer.send(self._outgoing(sending))
            if index >= len(values):
                return

    def begin_nowait(self, delivery: Delivery) -> bool:
        """Send all, if that is quick and nothing is in its way."""
        values = delivery.values
        if self._slow or len(values) > self._at_once or not self._writer.is_free:
            return False
        began = time.monotonic()
        payloads, timestamps = self._encode(values)
        self._pace(time.monotonic() - began, len(values))
        if any(isinstance(payload, DataError) for payload in payloads):
            return False  # rare, and told of in `begin`
        sending = _Sending(delivery)
        sending.add(0, payloads, timestamps)
        return self._writer.send_nowait(self._outgoing(sending))

    def _outgoing(self, sending: _Sending) -> Outgoing:
        told = partial(self._told, sending)
        return Outgoing(sending.payloads, told, sending.delivery.fail, sending.timestamps)

    async def _encode_some(self, values: Sequence[Data]) -> tuple[list[Any], list[int]]:
        """Encode where and as many as their like were quick to encode."""
        began = time.monotonic()
        if self._slow:
            encoded = await self._worker.run(self._encode, values)
        else:
            encoded = self._encode(values)
        self._pace(time.monotonic() - began, len(values))
        return encoded

    def _pace(self, took: float, count: int) -> None:
        """See by how long it took where and how many are encoded next."""
        self._slow = took > ENCODE_BUDGET and count == 1
        if took > ENCODE_BUDGET:
            self._at_once = 1
        elif took < ENCODE_BUDGET / 4:
            self._at_once = min(2 * self._at_once, AT_ONCE)

    def _encode(self, values: Sequence[Data]) -> tuple[list[Any], list[int]]:
        """Of each value its payload or what is wrong with it; the timestamps of those with one."""
        if self._descriptor.timestamp_options is None:
            encoded = self._codec.encode_batch(values, self._spec)
            return [self._checked(payload) for payload in encoded], []
        stamped = [self._encode_with_time(value) for value in values]
        times = [time for payload, time in stamped if not isinstance(payload, DataError)]
        return [payload for payload, _ in stamped], times

    def _checked(self, payload: bytes | DataError) -> bytes | DataError:
        if isinstance(payload, DataError) or len(payload) <= self._limit:
            return payload
        return TooLargeError(self._topic, len(payload), f"message_max_bytes is {self._limit}")

    def _encode_with_time(self, value: Data) -> tuple[bytes | DataError, int]:
        try:
            sent = self._descriptor.sent(value, self._spec)
        except DataError as error:
            return error, SENDING_TIME
        assert sent.timestamp is not None
        return sent.content, sent.timestamp

    def _told(
        self, sending: _Sending, places: Sequence[int], errors: Mapping[int, KafkaError]
    ) -> None:
        """What became of messages."""
        delivery, numbers = sending.delivery, sending.numbers
        first, last = numbers[places[0]], numbers[places[-1]]
        if not errors and last - first == len(places) - 1:
            delivery.accept(first, len(places))  # all that lie between
            return
        for place in places:
            if place in errors:
                error = self._refusal(errors[place], len(sending.payloads[place]))
                delivery.refuse(numbers[place], error)
            else:
                delivery.accept(numbers[place])

    def _refusal(self, error: KafkaError, size: int) -> DataError:
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            limit = "the broker refused it; see max.message.bytes of the topic"
            if (most := self._writer.request_limit) is not None and size + ENVELOPE > most:
                limit = f"socket.request.max.bytes of the broker is {most}"
            return TooLargeError(self._topic, size, limit)
        if error.code() == KafkaError.INVALID_TIMESTAMP:
            reason = "the broker refused it; see message.timestamp.*.max.ms of the topic"
            return TimestampError(reason)
        return RefusedError(self._topic, describe(error))
