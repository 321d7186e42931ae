"""Data as messages of a Kafka topic, as a configuration says it; see `producer_sink`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from ...model.datatypes import DataSpec
from ...model.endpoints import SinkDescriptor, sinks
from ...model.errors import Fault
from ...model.option import option
from ...model.services import Client, Services
from .sharing import MAX_MESSAGE_BYTES, key_of
from .timestamps import TimestampOptions
from .topic import KafkaTopicDescriptor

if TYPE_CHECKING:
    from .producer_sink import KafkaProducerSink


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

    def build(self, spec: DataSpec, services: Services) -> KafkaProducerSink:
        """The sink, not started."""
        from .producer_sink import KafkaProducerSink

        return KafkaProducerSink(self, spec, services)
