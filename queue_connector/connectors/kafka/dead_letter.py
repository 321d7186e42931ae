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

from collections.abc import Iterator, Mapping, Sequence

import attrs
import trio

from ...model.endpoints import Ends, TolerantPolicyDescriptor, error_policies
from ...model.errors import EndpointError, Fault
from ...model.ledger import Refusal
from ...model.option import option
from ...model.outcome import DEAD_LETTERED
from ...model.services import Client, Services
from ...model.stream import ErrorPolicy
from ...model.timescale import utc_now
from .client import KafkaError, describe
from .outgoing import Outgoing
from .producer import key_of
from .producer_client import MAX_MESSAGE_BYTES
from .topic import KafkaAddress
from .writer import TopicWriter

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

    # The base of policies would say that they write nowhere.
    place, probe = KafkaAddress.place, KafkaAddress.probe

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
        return DeadLetterPolicy(self, services)


class DeadLetterPolicy(ErrorPolicy):
    """Runtime side of `DeadLetterPolicyDescriptor`."""

    outcome = DEAD_LETTERED

    def __init__(self, descriptor: DeadLetterPolicyDescriptor, services: Services) -> None:
        self._topic = descriptor.topic
        self._limit = descriptor.message_max_bytes
        self._exchange = services.exchange
        self._writer = TopicWriter(descriptor, services, descriptor.message_max_bytes)

    async def start(self) -> None:
        """Get ready to write; a broker that does not answer yet is no error."""
        await self._writer.start()

    async def stop(self) -> None:
        """Leave the broker."""
        await self._writer.stop()

    async def take(self, refusals: Sequence[Refusal]) -> None:
        """Write a dead letter for each, and wait for every acknowledgement."""
        if _largest(refusals) > self._limit:
            raise self._too_large(refusals, "too large")
        now = utc_now()
        left = len(refusals)
        refused: list[KafkaError] = []
        failures: list[EndpointError] = []
        over = trio.Event()

        def told(places: Sequence[int], errors: Mapping[int, KafkaError]) -> None:
            nonlocal left
            left -= len(places)
            refused.extend(errors.values())
            if not left:
                over.set()

        def failed(failure: EndpointError) -> None:
            failures.append(failure)
            over.set()

        for refusal in refusals:
            headers = self._headers(refusal, now)
            letter = [refusal.payload], told, failed, (), refusal.key, headers
            await self._writer.send(Outgoing(*letter))
        await over.wait()
        for failure in failures:
            raise failure
        if refused:
            raise self._too_large(refusals, describe(refused[0]))

    def _too_large(self, refusals: Sequence[Refusal], reason: str) -> EndpointError:
        return EndpointError(
            f"Kafka topic {self._topic!r}",
            "writing a dead letter",
            f"{reason}; the largest of {len(refusals)} has {_largest(refusals)} B, "
            f"message_max_bytes is {self._limit}; see max.message.bytes of the topic too",
        )

    def _headers(self, refusal: Refusal, now: str) -> list[tuple[str, str | bytes | None]]:
        told = (
            str(self._exchange),
            type(refusal.error).__name__,
            str(refusal.error),
            refusal.path,
            now,
            refusal.position,
        )
        return [
            *(header for header in refusal.headers if header[0] not in HEADERS),
            *(
                (name, text.encode(errors="backslashreplace"))
                for name, text in zip(HEADERS, told, strict=True)
            ),
        ]


def _largest(refusals: Sequence[Refusal]) -> int:
    return max(len(refusal.payload or b"") for refusal in refusals)
