"""Events of an attribute of another device, as a source.

* order     as Tango delivers the events; the current value comes first, and again after each
            recovery of the subscription
* loss      Tango drops events where a receiver is slow: counted upstream as ``missed events``;
            beyond the inbox's limit the oldest are dropped and counted as ``inbox full``
* errors    an event that carries an error is counted upstream as ``error event`` and logged once
            per change of reason; INVALID quality carries no value and is counted as dropped
* recovery  by `event_client`, which all sources of a connector share. What was pushed while there
            was no subscription is lost: counted upstream as ``subscribed again``
* start     waits a moment for the subscription, and goes on without it: it is pending then, as the
            source's condition says
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack
from typing import Any

import attrs
import trio

from ...bridge import Mailbox
from ...datatypes import Data, DataSpec, Kind, conform
from ...descriptors import Place, Services, SourceDescriptor, option, sources
from ...errors import ConformError, EndpointError, Fault
from ...ledger import Batch, Refusal
from ...stream import DataSource, Provenance, readable
from .client import NoValue, Subscription, event_types
from .event_client import event_client
from .types import (
    TANGO_KINDS,
    attribute_name_faults,
    attribute_place,
    device_name_faults,
    lengthened,
    type_faults,
)

INBOX_BYTES = 64 * 2**20
"""Memory that events may take up while they wait to be received, where their size is known."""

_BATCH = 1000
_MISSED = "API_MissedEvents"


def event_type_faults(etype: int | str) -> Iterator[Fault]:
    """What is wrong with a type of event, written as number or name."""
    if etype in event_types or etype in event_types.values():
        return
    listed = ", ".join(f"{number} {name}" for name, number in event_types.items())
    yield Fault(
        "$.etype",
        f"{etype!r} is not a type of event that carries a value",
        f"write one of {listed}",
    )


@sources.register("TangoSubscriptionSource")
@attrs.frozen(kw_only=True)
class TangoSubscriptionSourceDescriptor(SourceDescriptor):
    """Receives the events of an attribute of another Tango device."""

    kinds = TANGO_KINDS
    max_dimensions = 2

    device_name: str = option(
        doc="The device: domain/family/member, or tango://host:port/domain/family/member#dbase=no."
    )
    attribute_name: str = option(doc="The attribute whose events are received.")
    etype: int | str = option(
        default=0,
        doc="The type of event, as number or name: 0 CHANGE_EVENT, 2 PERIODIC_EVENT, "
        "3 ARCHIVE_EVENT, 4 USER_EVENT, 9 ALARM_EVENT.",
    )
    stateless: bool = option(
        default=True,
        doc="Whether to go on trying while the device cannot be subscribed to; "
        "otherwise the first failure is an error.",
    )

    @property
    def place(self) -> Place:
        """The attribute of the device, by the name that is written."""
        return attribute_place(self.device_name, self.attribute_name)

    @property
    def event_type(self) -> int:
        """The number of the type of event."""
        return event_types[self.etype] if isinstance(self.etype, str) else self.etype

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """What does not fit: kinds, dimensions, names, the type of event."""
        yield from super().faults(spec)
        yield from type_faults(spec)
        yield from device_name_faults(self.device_name)
        yield from attribute_name_faults(self.attribute_name)
        yield from event_type_faults(self.etype)

    def reads(self) -> Iterable[Hashable]:
        """The attribute, whatever device it is of: this one may be written in several ways."""
        return [("attribute", self.attribute_name.lower())]

    def build(self, spec: DataSpec, services: Services) -> TangoSubscriptionSource:
        """The source, not started."""
        return TangoSubscriptionSource(self, spec, services)


class TangoSubscriptionSource(DataSource):
    """Runtime side of `TangoSubscriptionSourceDescriptor`."""

    def __init__(
        self, descriptor: TangoSubscriptionSourceDescriptor, spec: DataSpec, services: Services
    ) -> None:
        self._descriptor = descriptor
        self._spec = spec
        self._log = services.log
        self._exchange = services.exchange
        self._account = services.account
        self._condition = services.condition
        self._shared = services.shared
        self._position = f"{descriptor.device_name}/{descriptor.attribute_name}"
        self._using = AsyncExitStack()
        self._subscription: Subscription | None = None
        self._mailbox: Mailbox[Any] | None = None
        self._arrived = trio.Event()
        self._ended = False
        self._overflowed = 0
        self._trouble = ""
        self._said_until = 0.0

    async def start(self) -> None:
        """Subscribe; a stateless source that fails in that is subscribed later."""
        self._client = await self._using.enter_async_context(event_client(self._shared))
        self._mailbox = Mailbox(self._client.bell, _inbox_limit(self._spec), self._wake)
        subscription = self._subscription = Subscription(
            self._descriptor.device_name,
            self._descriptor.attribute_name,
            self._descriptor.event_type,
            self._mailbox,
            self,
        )
        self._condition.waits(f"the subscription to {self._position}")
        self._condition.gauges["queued"] = self._mailbox.__len__
        self._condition.gauges["pending"] = lambda: int(not subscription.is_open)
        self._client.add(subscription)
        if self._descriptor.stateless:
            await self._client.first_try(subscription)
            return
        await subscription.tried.wait()
        if not subscription.is_open:
            raise EndpointError(self._position, "subscription", self._condition.error)

    async def stop(self) -> None:
        """Unsubscribe; what has come until then can still be received."""
        if self._subscription is not None and not self._ended:
            self._ended = True
            await self._client.remove(self._subscription)
            self._condition.closed()
        await self._using.aclose()
        self._wake()

    def opened(self, *, again: bool) -> None:
        """Say that the subscription is there, and count what may have been lost before."""
        self._condition.is_well()
        self._trouble = ""
        if again:
            self._account.upstream["subscribed again"] += 1
            self._log.info("%s: %s: subscribed again", self._exchange, self._position)

    def failed(self, error: EndpointError) -> None:
        """Say that there is no subscription, and why."""
        self._condition.waits(f"the subscription to {self._position}", str(error))
        self._say(str(error))

    async def receive(self) -> Data:
        """The value of the next event."""
        while True:
            batch = await self._receive(1)
            if batch.refused:
                raise batch.refused[0].error
            if batch.values:
                return batch.values[0]

    async def receive_batch(self) -> Batch:
        """The values of the events that are there together."""
        while True:
            batch = await self._receive(_BATCH)
            if batch.values or batch.refused:
                return batch

    def provenance(self, value: Data, raw: object) -> Provenance:
        """The value as text, device and attribute."""
        return Provenance(readable(value), self._position)

    def _wake(self) -> None:
        self._arrived.set()

    async def _receive(self, most: int) -> Batch:
        """What has come, perhaps nothing of value."""
        assert self._mailbox is not None, "receive before start"
        await trio.lowlevel.checkpoint()
        while not (items := self._mailbox.take(most)):
            if self._ended:
                raise trio.EndOfChannel
            self._arrived = trio.Event()
            await self._arrived.wait()
        return self._batch(items)

    def _say(self, trouble: str) -> None:
        """Log what is wrong, once for each change of it, and again after a minute without."""
        now = trio.current_time()
        if trouble != self._trouble or now > self._said_until:
            self._trouble = trouble
            self._log.warning("%s: %s: %s", self._exchange, self._position, trouble)
        self._said_until = now + 60.0

    def _batch(self, items: Sequence[Any]) -> Batch:
        values: list[Data] = []
        refused: list[Refusal] = []
        found = [each for each in items if not isinstance(each, NoValue)]
        if len(found) < len(items):
            self._count_others(items)
        for each in found:
            try:
                value = lengthened(each, self._spec)
                values.append(conform(value, self._spec, shorter=True))
            except ConformError as error:
                refused.append(Refusal(error, readable(each), self._position))
        assert self._mailbox is not None
        if self._mailbox.overflowed > self._overflowed:
            lost = self._mailbox.overflowed - self._overflowed
            self._overflowed += lost
            self._account.drop("inbox full", lost)
        return Batch(values, refused)

    def _count_others(self, items: Sequence[Any]) -> None:
        for each in items:
            if not isinstance(each, NoValue):
                continue
            if not each.reason:
                self._account.drop("invalid quality")
                continue
            missed = each.reason == _MISSED
            self._account.upstream["missed events" if missed else "error event"] += 1
            self._say(f"{each.message} [{each.reason}]")


def _inbox_limit(spec: DataSpec) -> int:
    """How many events may wait, by the largest size that one can have."""
    if spec.kind in (Kind.STR, Kind.BYTES) or spec.dynamic:
        return 1000
    size = spec.dtype.itemsize
    for length in spec.shape:
        size *= max(length, 1)
    return max(2, min(10_000, INBOX_BYTES // size))
