"""Set data that cannot be used aside in a topic, and go on.

* value     the datum's bytes as they came from Kafka, none for a tombstone; of a datum that was
            never bytes, text as Python writes it
* key       as it came
* headers   those that came, in their order, then `HEADERS`, all UTF-8. Of a dead letter that could
            not be used again, only the latest `HEADERS` are kept
* done      when the broker has acknowledged it, as for any sink; until then the stream waits
* errors    `EndpointError` when the topic does not take it, for its size for example: then the
            exchange ends in FAULT, and the datum is not lost where its source can repeat it
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import attrs

from ...model.endpoints import Ends, TolerantPolicyDescriptor, error_policies
from ...model.errors import Fault
from ...model.option import option
from ...model.services import Client, Services
from .sharing import MAX_MESSAGE_BYTES, key_of
from .topic import KafkaAddress

if TYPE_CHECKING:
    from .dead_letters import DeadLetterPolicy

HEADERS = {
    "queue_connector.exchange": "the exchange that could not use it, as `group[index]`",
    "queue_connector.error": "the kind of error, e.g. `DecodeError`",
    "queue_connector.message": "the error in words",
    "queue_connector.path": "what refused it, as a path from the exchange: `$.source`, `$.sink[1]`",
    "queue_connector.time": "when it was refused, ISO 8601, UTC",
    "queue_connector.position": "where it came from: `topic[partition]@offset`, `device/attribute`",
}
"""The headers of a dead letter, and what they say."""


@error_policies.register("dead_letter")
@attrs.frozen(kw_only=True)
class DeadLetterPolicyDescriptor(TolerantPolicyDescriptor, KafkaAddress):
    """Bad data are written to a topic, with headers that say what was wrong, and left out."""

    message_max_bytes: int = option(
        default=100_000_000,
        gt=0,
        unit="B",
        doc="The size of the largest dead letter; one that is larger ends the exchange in FAULT.",
    )

    @property
    def client(self) -> Client:
        """A producer of the cluster."""
        return Client(key_of(self.bootstrap, self.options, self.message_max_bytes))

    def faults(self, exchange: Ends) -> Iterator[Fault]:
        """Addresses and topics that cannot be, and a topic that the exchange reads itself."""
        yield from self.address_faults(written=True)
        if self.message_max_bytes > MAX_MESSAGE_BYTES:
            yield Fault(
                "$.message_max_bytes",
                f"expected at most {MAX_MESSAGE_BYTES}, found {self.message_max_bytes}",
                "larger messages cannot come in either",
            )
        for end in (*exchange.sources, *exchange.sinks):
            if end.place is not None and end.place.keys & self.place.keys:
                message = f"the exchange uses the topic {self.topic!r} itself"
                yield Fault("$.topic", message, "dead letters need a topic of their own")
                return

    def build(self, services: Services) -> DeadLetterPolicy:
        """The policy, not started."""
        from .dead_letters import DeadLetterPolicy

        return DeadLetterPolicy(self, services)
