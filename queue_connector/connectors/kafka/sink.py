"""Data as messages of a Kafka topic, as a configuration says it; see `producer_sink`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from ...codecs import Codec, codec_for
from ...model.conform import conform
from ...model.datatypes import Data, DataSpec, Kind
from ...model.endpoints import Sent, SinkDescriptor, sinks
from ...model.errors import DataError, Fault
from ...model.option import option
from ...model.services import Client, Services
from .sharing import MAX_MESSAGE_BYTES, key_of
from .timestamps import TimestampOptions
from .topic import DEFAULT_ENCODING, KafkaTopicDescriptor

if TYPE_CHECKING:
    from .producer_sink import KafkaProducerSink


@attrs.define(eq=False, slots=False)
class TooLargeError(DataError):
    """One message is larger than is allowed, by the configuration or by the broker."""

    topic: str
    size: int
    limit: str

    def __str__(self) -> str:
        return f"a message of {self.size} B for the topic {self.topic!r} is too large: {self.limit}"


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

    @property
    def client(self) -> Client:
        """A producer of the cluster."""
        return Client(key_of(self.bootstrap, self.options, self.message_max_bytes))

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

    def coding(self, spec: DataSpec) -> Codec:
        """The codec of its encoding; the default means none to bytes, which carry their own."""
        if spec.kind is Kind.BYTES and self.encoding == DEFAULT_ENCODING:
            return codec_for(None, spec)
        return super().coding(spec)

    def sent(self, value: Data, spec: DataSpec) -> Sent:
        """The message's payload, and its timestamp where that is the datum's."""
        fitting, options = conform(value, spec), self.timestamp_options
        timestamp = None if options is None else options.timestamp(fitting)
        payload = self.coding(spec).encode(fitting, spec)
        if len(payload) > self.message_max_bytes:
            limit = f"message_max_bytes is {self.message_max_bytes}"
            raise TooLargeError(self.topic, len(payload), limit)
        return Sent(payload, timestamp)

    def build(self, spec: DataSpec, services: Services) -> KafkaProducerSink:
        """The sink, not started."""
        from .producer_sink import KafkaProducerSink

        return KafkaProducerSink(self, spec, services)
