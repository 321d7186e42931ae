"""Events of an attribute of another device, as a source.

* order     as Tango delivers the events; the current value comes first, and again after each
            recovery of the subscription
* loss      Tango drops events where a receiver is slow: counted upstream as ``missed events``;
            beyond the inbox's limit the oldest are dropped and counted as ``inbox full``
* errors    an event that carries an error is counted upstream as ``error event`` and logged once
            per change of reason; INVALID quality carries no value and is counted as dropped
* recovery  by `event_client`, which all sources of a connector share. What was pushed while there
            was no subscription is lost: counted upstream as ``subscribed again``
* own       attributes of the device itself come without the network, see `own_events`
* start     waits a moment for the subscription, and goes on without it: it is pending then, as the
            source's condition says
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import trio

from ...model.datatypes import Data, DataSpec
from ...model.errors import DataError
from ...model.ledger import Batch, Refusal
from ...model.provenance import Provenance, readable
from ...model.services import Services
from ...model.stream import MergedSource
from .event_client import EventClient, event_client
from .member import Member
from .readings import Outcome, converted
from .subscription_source import TangoSubscriptionSourceDescriptor

_BATCH = 1000


class TangoSubscriptionSource(MergedSource):
    """Runtime side of `TangoSubscriptionSourceDescriptor`: of one, or of several together."""

    def __init__(
        self,
        descriptors: Sequence[TangoSubscriptionSourceDescriptor],
        spec: DataSpec,
        services: Sequence[Services],
        *,
        expected: DataSpec | None = None,
    ) -> None:
        """Of these subscriptions.

        Args:
            descriptors: What is subscribed to.
            spec: What values are made to conform to.
            services: For each of them.
            expected: What values have the size of, by which so many may wait; none: *spec*.
        """
        size = expected or spec
        self._spec = spec
        self._members = [
            Member(wanted.device_name, wanted.attribute_name, wanted.event_type, size, each)
            for wanted, each in zip(descriptors, services, strict=True)
        ]
        self._needed = [not wanted.stateless for wanted in descriptors]
        self._numbers = {member: number for number, member in enumerate(self._members)}
        self._shared = services[0].shared
        self._using = AsyncExitStack()
        self._client: EventClient | None = None
        self._ready: dict[Member, None] = {}
        self._arrived = trio.lowlevel.ParkingLot()
        self._ended = False

    async def start(self) -> None:
        """Subscribe; a stateless source that fails in that is subscribed later."""
        client = await self._using.enter_async_context(event_client(self._shared))
        self._client = client
        for member in self._members:
            member.subscribe(client, self._put)
        await client.first_tries([member.subscription for member in self._members])
        for member, needed in zip(self._members, self._needed, strict=True):
            if needed:
                await member.must_be_open()

    async def stop(self) -> None:
        """Unsubscribe; what has come until then can still be received."""
        if self._client is not None and not self._ended:
            self._ended = True
            for member in self._members:
                member.leave()
            await self._client.remove([member.subscription for member in self._members])
            for member in self._members:
                self._ready[member] = None  # something may have come that nobody rang for
                member.condition.closed()
        await self._using.aclose()
        self._arrived.unpark_all()

    async def receive(self) -> Data:
        """The value of the next event, of whichever subscription."""
        while True:
            for _, batch in await self._receive(1):
                if batch.refused:
                    raise batch.refused[0].error
                if batch.values:
                    return batch.values[0]

    async def receive_batch(self) -> Batch:
        """The values of the events that are there together, of one subscription."""
        while True:
            for _, batch in await self._receive(_BATCH, 1):
                return batch

    async def receive_batches(self) -> Sequence[tuple[int, Batch]]:
        """The values of the events that are there together, of each subscription that has some."""
        while True:
            if batches := await self._receive(_BATCH):
                return batches

    def collect(self) -> None:
        """Count what had no room, although nobody receives."""
        if self._client is not None:
            for member in self._members:
                member.collect()

    def provenance(self, value: Data, raw: Any) -> Provenance:
        """The value as text, device and attribute."""
        return Provenance(readable(value), raw)

    def position(self, raw: str) -> str:
        """Device and attribute."""
        return raw

    def _put(self, member: Member) -> None:
        self._ready[member] = None
        self._arrived.unpark_all()

    async def _receive(self, most: int, members: int = _BATCH) -> list[tuple[int, Batch]]:
        """What has come, *most* of each of so many subscriptions, perhaps nothing of value."""
        assert self._client is not None, "receive before start"
        if self._ready or self._ended:  # else it waits below, and once is enough
            await trio.lowlevel.checkpoint()
        while not self._ready:
            if self._ended:
                raise trio.EndOfChannel
            await self._arrived.park()
        found: list[tuple[Member, list[Any]]] = []
        for member in list(itertools.islice(self._ready, members)):
            del self._ready[member]
            if values := member.take(most):
                found.append((member, values))
            if len(member.mailbox):
                self._ready[member] = None
        return list(self._batches(found))

    def _batches(
        self, found: Sequence[tuple[Member, Sequence[Any]]]
    ) -> Iterator[tuple[int, Batch]]:
        outcomes = iter(self._convert(found))
        for member, values in found:
            data: list[Data] = []
            refused: list[Refusal] = []
            for value, outcome in zip(values, outcomes, strict=False):
                if isinstance(outcome, DataError):
                    refused.append(Refusal(outcome, readable(value), member.position))
                else:
                    data.append(outcome)
            yield (
                self._numbers[member],
                Batch(data, refused, raw=[member.position] * len(data)),
            )

    def _convert(self, found: Sequence[tuple[Member, Sequence[Any]]]) -> Sequence[Outcome]:
        """A datum for each value of all of them, in their order."""
        return converted([value for _, values in found for value in values], self._spec)
