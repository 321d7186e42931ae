"""Data as messages of a Kafka topic.

* accepted  when every replica in sync has the message (``acks=all``); the idempotent producer
  writes it once and in order
* order     of everything that one sink writes: all its messages go to one partition
* thread    encoding is done where messages are sent, so that it never holds up the Trio loop
* outages   and what is sent again, see `sender`
* time      a message's timestamp is that of its sending, or taken from its datum
* errors    a value that does not fit, is too large or has no timestamp is refused alone
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs

from ...codecs import codec_for
from ...datatypes import Data, DataSpec, Kind, conform
from ...descriptors import Services, SinkDescriptor, option, sinks
from ...errors import DataError, Fault
from ...stream import DataSink, Delivery
from .client import describe
from .sender import TopicSender
from .timestamps import SENDING_TIME, TimestampError, TimestampOptions
from .topic import DEFAULT_ENCODING, KafkaTopicDescriptor
from .writer import MAX_MESSAGE_BYTES, KafkaError, Outgoing


@attrs.define(eq=False, slots=False)
class TooLargeError(DataError):
    """One message is larger than is allowed, by the configuration or by the broker."""

    topic: str
    size: int
    limit: str

    def __str__(self) -> str:
        return f"a message of {self.size} B for the topic {self.topic!r} is too large: {self.limit}"


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


@sinks.register("KafkaProducerSink")
@attrs.frozen(kw_only=True)
class KafkaProducerSinkDescriptor(KafkaTopicDescriptor, SinkDescriptor):
    """Writes one message for each datum, and waits until the broker has it for good."""

    message_max_bytes: int = option(
        default=1048576, gt=0, unit="B", doc="The size of the largest message that is sent."
    )
    timestamp_options: TimestampOptions | None = option(
        default=None, doc="How to take each message's timestamp from its datum; without, it is now."
    )

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """Also sizes that cannot be sent, and timestamps that no datum has."""
        yield from super().faults(spec)
        if self.message_max_bytes > MAX_MESSAGE_BYTES:
            yield Fault(
                "$.message_max_bytes",
                f"expected at most {MAX_MESSAGE_BYTES}, found {self.message_max_bytes}",
                "send large data in parts",
            )
        if self.timestamp_options is not None:
            for fault in self.timestamp_options.faults(spec):
                yield fault.below("$.timestamp_options")

    def build(self, spec: DataSpec, services: Services) -> KafkaProducerSink:
        """The sink, not started."""
        return KafkaProducerSink(self, spec, services)


class KafkaProducerSink(DataSink):
    """Runtime side of `KafkaProducerSinkDescriptor`."""

    def __init__(
        self, descriptor: KafkaProducerSinkDescriptor, spec: DataSpec, services: Services
    ) -> None:
        encoding = descriptor.encoding
        if spec.kind is Kind.BYTES and encoding == DEFAULT_ENCODING:
            encoding = None  # nobody means it for bytes, which carry a name of their own
        self._codec = codec_for(encoding, spec)
        self._spec = spec
        self._topic = descriptor.topic
        self._limit = descriptor.message_max_bytes
        self._timestamps = descriptor.timestamp_options
        self._sender = TopicSender(descriptor, services, descriptor.message_max_bytes)

    async def start(self) -> None:
        """Get ready to write; a broker that does not answer yet is no error."""
        await self._sender.start()

    async def stop(self) -> None:
        """Give a write under way some seconds, then leave the broker."""
        await self._sender.stop()

    async def awrite(self, value: Data) -> None:
        """Send one datum; on return the broker has it for good."""
        delivery = Delivery([value])
        await self.awrite_batch(delivery)
        for error in delivery.refused.values():
            raise error

    async def awrite_batch(self, delivery: Delivery) -> None:
        """Send all, then wait for every acknowledgement."""
        sizes: dict[int, int] = {}

        def report(index: int, error: KafkaError | None) -> bool:
            if error is None:
                delivery.accept(index)
            elif error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                limit = "the broker refused it; see max.message.bytes of the topic"
                delivery.refuse(index, TooLargeError(self._topic, sizes[index], limit))
            elif error.code() == KafkaError.INVALID_TIMESTAMP:
                reason = "the broker refused it; see message.timestamp.*.max.ms of the topic"
                delivery.refuse(index, TimestampError(reason))
            elif error.code() == KafkaError.INVALID_RECORD:
                delivery.refuse(index, RefusedError(self._topic, describe(error)))
            return delivery.told(index)

        await self._sender.send(lambda: self._encode(delivery, sizes), report)

    def _encode(self, delivery: Delivery, sizes: dict[int, int]) -> Iterator[Outgoing]:
        timestamp = SENDING_TIME
        for index, value in enumerate(delivery.values):
            if delivery.told(index):
                continue
            try:
                fitting = conform(value, self._spec)
                if self._timestamps is not None:
                    timestamp = self._timestamps.timestamp(fitting)
                payload = self._codec.encode(fitting, self._spec)
                if len(payload) > self._limit:
                    limit = f"message_max_bytes is {self._limit}"
                    raise TooLargeError(self._topic, len(payload), limit)
            except DataError as error:
                delivery.refuse(index, error)
            else:
                sizes[index] = len(payload)
                yield Outgoing(index, payload, timestamp)
