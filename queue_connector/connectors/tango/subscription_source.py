"""Events of an attribute of another device, as a source.

* order     as Tango delivers the events; the current value comes first, and again after each
            recovery of the subscription
* loss      Tango drops events where a receiver is slow: counted upstream as ``missed events``;
            beyond the inbox's limit the oldest are dropped and counted as ``inbox full``
* errors    an event that carries an error is counted upstream as ``error event`` and logged once
            per change of reason; INVALID quality carries no value and is counted as dropped
* recovery  `receive_batch` subscribes anew: while the device is away it tries every `RETRY_MOST`
            seconds at least, and when nothing comes for `IDLE` seconds it asks whether the server
            is still the one that was subscribed to. What was pushed in between is lost: counted
            upstream as ``subscribed again``
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Sequence

import attrs
import trio

from ...backoff import Backoff
from ...bridge import Inbox, Worker
from ...datatypes import Data, DataSpec, Kind, conform
from ...descriptors import Place, Services, SourceDescriptor, option, sources
from ...errors import ConformError, EndpointError, Fault
from ...ledger import Batch, Refusal
from ...stream import STOP_GRACE, DataSource, Provenance, readable
from .client import Reading, Subscription, event_types, thread_context
from .types import (
    TANGO_KINDS,
    attribute_name_faults,
    attribute_place,
    device_name_faults,
    lengthened,
    type_faults,
)

RETRY_FIRST = 0.25
RETRY_MOST = 4.0
"""Seconds between two tries to subscribe: the first wait, doubled up to the longest."""

IDLE = 3.0
"""Seconds without an event after which the server is asked whether it is still there."""

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

    _inbox: Inbox[Reading]

    def __init__(
        self, descriptor: TangoSubscriptionSourceDescriptor, spec: DataSpec, services: Services
    ) -> None:
        self._descriptor = descriptor
        self._spec = spec
        self._log = services.log
        self._exchange = services.exchange
        self._account = services.account
        self._position = f"{descriptor.device_name}/{descriptor.attribute_name}"
        self._worker = Worker(thread_context)
        self._subscription: Subscription | None = None
        self._overflowed = 0
        self._trouble = ""
        self._said_until = 0.0
        self._backoff = Backoff(RETRY_FIRST, RETRY_MOST)
        self._next_try = 0.0

    async def start(self) -> None:
        """Subscribe; a stateless source that fails in that goes on trying when it receives."""
        inbox: Inbox[Reading] = Inbox(_inbox_limit(self._spec))
        self._inbox = inbox
        self._subscription = Subscription(
            self._descriptor.device_name,
            self._descriptor.attribute_name,
            self._descriptor.event_type,
            inbox.put,
        )
        try:
            await self._worker.run(self._subscription.open)
        except EndpointError as error:
            if not self._descriptor.stateless:
                raise
            self._failed(error)

    async def stop(self) -> None:
        """Unsubscribe; what has come until then can still be received."""
        if self._subscription is None:
            await trio.lowlevel.checkpoint()
            return
        self._subscription.withdraw()
        with trio.move_on_after(STOP_GRACE, shield=True):
            await self._worker.run(self._subscription.close)
        self._inbox.close()

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

    async def _receive(self, most: int) -> Batch:
        """What has come, perhaps nothing of value, or nothing when it was time to look around."""
        assert self._subscription is not None, "receive before start"
        subscription = self._subscription
        readings: list[Reading] = []
        wanting = subscription.wanted() and not subscription.is_open
        if wanting and trio.current_time() >= self._next_try:
            await self._reopen(subscription)
            wanting = not subscription.is_open
        deadline = self._next_try if wanting else trio.current_time() + IDLE
        with trio.move_on_at(deadline) as scope:
            readings = await self._inbox.receive(most)
        if scope.cancelled_caught and subscription.is_open:
            await self._look(subscription)
        return self._batch(readings)

    async def _reopen(self, subscription: Subscription) -> None:
        try:
            await self._worker.run(subscription.open)
        except EndpointError as error:
            self._failed(error)
        else:
            self._backoff.reset()
            if subscription.is_open:
                self._trouble = ""
                self._account.upstream["subscribed again"] += 1
                self._log.info("%s: %s: subscribed again", self._exchange, self._position)

    async def _look(self, subscription: Subscription) -> None:
        if not await self._worker.run(subscription.alive):
            self._say("its server is gone or was restarted")
            subscription.is_open = False

    def _failed(self, error: EndpointError) -> None:
        self._next_try = trio.current_time() + self._backoff.next()
        self._say(error.reason)

    def _say(self, trouble: str) -> None:
        """Log what is wrong, once for each change of it, and again after a minute without."""
        now = trio.current_time()
        if trouble != self._trouble or now > self._said_until:
            self._trouble = trouble
            self._log.warning("%s: %s: %s", self._exchange, self._position, trouble)
        self._said_until = now + 60.0

    def _batch(self, readings: Sequence[Reading]) -> Batch:
        values: list[Data] = []
        refused: list[Refusal] = []
        for reading in readings:
            if reading.reason:
                self._count_error(reading)
            elif not reading.valid:
                self._account.drop("invalid quality")
            else:
                try:
                    value = lengthened(reading.value, self._spec)
                    values.append(conform(value, self._spec, shorter=True))
                except ConformError as error:
                    refused.append(Refusal(error, readable(reading.value), self._position))
        if self._inbox.overflowed > self._overflowed:
            lost = self._inbox.overflowed - self._overflowed
            self._overflowed += lost
            self._account.drop("inbox full", lost)
        return Batch(values, refused)

    def _count_error(self, reading: Reading) -> None:
        if reading.reason == _MISSED:
            self._account.upstream["missed events"] += 1
        else:
            self._account.upstream["error event"] += 1
        self._say(f"{reading.message} [{reading.reason}]")


def _inbox_limit(spec: DataSpec) -> int:
    """How many events may wait, by the largest size that one can have."""
    if spec.kind in (Kind.STR, Kind.BYTES) or spec.dynamic:
        return 1000
    size = spec.dtype.itemsize
    for length in spec.shape:
        size *= max(length, 1)
    return max(2, min(10_000, INBOX_BYTES // size))
