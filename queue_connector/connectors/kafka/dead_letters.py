"""Dead letters, written: the runtime side of `dead_letter`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import trio

from ...model.errors import EndpointError
from ...model.ledger import Refusal
from ...model.outcome import DEAD_LETTERED
from ...model.services import Services
from ...model.stream import ErrorPolicy
from ...model.timescale import utc_now
from .client import KafkaError, describe
from .dead_letter import HEADERS, DeadLetterPolicyDescriptor
from .outgoing import Outgoing
from .writer import TopicWriter


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
