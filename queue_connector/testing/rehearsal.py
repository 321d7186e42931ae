"""A configuration at work without its services: what is given arrives, and what leaves is kept.

Encodings, conversions, pipes, buffers, error policies and the sinks that publish attributes are
those that run on a device. In place of a source stands one that makes data of what is given, as its
descriptor does; in place of other sinks one that keeps what theirs hand out. What one exchange
writes does not arrive at another.
"""

from __future__ import annotations

import logging
from collections import defaultdict, deque
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import attrs
import trio

from ..connectors.memory.source import InMemorySourceDescriptor
from ..engine.exchange import Exchange
from ..engine.rejection import Rejection
from ..model.conform import conform
from ..model.datatypes import Data, DataSpec
from ..model.endpoints import Sent, SinkDescriptor, SourceDescriptor, TolerantPolicyDescriptor
from ..model.errors import ExchangeError
from ..model.exchanges import ExchangeDescriptor, QueueConnectorDescriptor
from ..model.ledger import Refusal
from ..model.option import UNWRITTEN
from ..model.outcome import SKIPPED
from ..model.services import ExchangeName, PublishedAttribute, Services
from ..model.stream import DataSink, DataSource, ErrorPolicy
from .cases import Arriving, Case, sources_of

LONGEST = 30 * 24 * 3600.0
"""Seconds, on a virtual clock, after which what does not end is cut off."""

TURN = 1e-6
"""Seconds between what arrives at one source and then at another."""

Arrivals = deque[tuple[float, Arriving]]
"""What arrives, and when."""

_log = logging.getLogger("queue_connector.rehearsal")
_log.addHandler(logging.NullHandler())
_log.propagate = False


@attrs.define
class Found:
    """What came of a case."""

    attributes: dict[str, Data] = attrs.field(factory=dict)
    """What each reads as, by its name in lower case."""
    specs: dict[str, DataSpec] = attrs.field(factory=dict)
    sent: dict[str, list[Sent]] = attrs.field(factory=lambda: defaultdict(list))
    """What left, by the place of a sink, or the name of an attribute in lower case."""
    errors: list[str] = attrs.field(factory=list)
    """What was said of each datum that could not be used."""

    def owners(self) -> Iterable[str]:
        """Nobody: attributes are defined from the start."""
        return ()

    async def define(self, owner: str, wanted: Sequence[PublishedAttribute]) -> None:
        """Attributes read as their defaults."""
        for attribute in wanted:
            name = attribute.name.lower()
            self.attributes[name], self.specs[name] = attribute.default, attribute.spec
        await trio.lowlevel.checkpoint()

    async def publish(self, values: Sequence[tuple[str, Data]]) -> None:
        """Attributes read as these, one after the other."""
        await trio.lowlevel.checkpoint()
        for name, value in values:
            self.attributes[name.lower()] = value
            self.sent[name.lower()].append(Sent(value))


async def rehearse(descriptor: QueueConnectorDescriptor, case: Case, folder: Path) -> Found:
    """Run the exchanges of a configuration with what a case gives; on a virtual clock."""
    found, arrivals = Found(), _arrivals(descriptor, case)
    with trio.move_on_after(LONGEST) as scope:
        async with trio.open_nursery() as nursery:
            for group, exchanges in descriptor.groups.items():
                for place, exchange in enumerate(exchanges):
                    name = f"{group}[{place}]"
                    sources = [
                        _source(
                            each, exchange.spec, arrivals.get(f"{name}.source[{number}]"), folder
                        )
                        for number, each in enumerate(exchange.sources)
                    ]
                    sinks = [
                        await _sink(each, exchange.output, found, f"{name}.sink[{number}]")
                        for number, each in enumerate(exchange.sinks)
                    ]
                    nursery.start_soon(_run, name, exchange, sources, sinks, found)
    if scope.cancelled_caught:
        found.errors.append("it did not end within thirty days of its own time")
    return found


def _arrivals(descriptor: QueueConnectorDescriptor, case: Case) -> dict[str, Arrivals]:
    """What arrives at each source, by its place, and when."""
    found: dict[str, Arrivals] = defaultdict(deque)
    sources, when, before = sources_of(descriptor), 0.0, ""
    for arriving in case.given:
        # What stands first comes first: Trio wakes those that wait for one moment in any order.
        when += arriving.after or (TURN if arriving.source != before else 0.0)
        before = arriving.source
        for end in sources[arriving.source]:
            found[end.place].append((when, arriving))
    return found


async def _run(
    name: str,
    descriptor: ExchangeDescriptor,
    sources: Sequence[DataSource],
    sinks: Sequence[DataSink],
    found: Found,
) -> None:
    policy = descriptor.error_policy
    tolerant = isinstance(policy, TolerantPolicyDescriptor)
    noting = _Noting(name, found) if tolerant else ErrorPolicy()
    rejection = Rejection(ExchangeName(name), noting, policy.limit, _log)
    pipes = list(descriptor.build_pipes())
    try:
        async with Exchange(
            *(sources, sinks, pipes),
            name=name,
            rejection=rejection,
            buffer=descriptor.buffer,
        ) as exchange:
            await exchange.run()
    except ExchangeError as error:
        found.errors.append(str(error))


class _Noting(ErrorPolicy):
    """Stands for a policy with which an exchange goes on."""

    outcome = SKIPPED

    def __init__(self, name: str, found: Found) -> None:
        self._name = name
        self._found = found

    async def take(self, refusals: Sequence[Refusal]) -> None:
        """Note each."""
        await trio.lowlevel.checkpoint()
        self._found.errors += [f"{self._name}: {refusal.error}" for refusal in refusals]


# -- what stands in place of sources ---------------------------------------------------------------


def _source(
    descriptor: SourceDescriptor,
    spec: DataSpec,
    arrivals: Arrivals | None,
    folder: Path,
) -> DataSource:
    if arrivals is None and isinstance(descriptor, InMemorySourceDescriptor):
        return descriptor.build(spec, Services())
    return _Given(descriptor, spec, arrivals or deque(), folder)


class _Given(DataSource):
    """Makes data of what arrives, each at its time."""

    def __init__(
        self,
        descriptor: SourceDescriptor,
        spec: DataSpec,
        arrivals: Arrivals,
        folder: Path,
    ) -> None:
        self._descriptor = descriptor
        self._spec = spec
        self._arrivals = arrivals
        self._folder = folder
        self._began = 0.0

    async def start(self) -> None:
        """Time begins."""
        self._began = trio.current_time()
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """Nothing more arrives."""
        self._arrivals.clear()
        await trio.lowlevel.checkpoint()

    async def receive(self) -> Data:
        """The next datum; raises `DataError` for what cannot be one."""
        if self._arrivals:
            await trio.sleep_until(self._began + self._arrivals[0][0])
        else:
            await trio.lowlevel.checkpoint()
        if not self._arrivals:
            raise trio.EndOfChannel
        _, arriving = self._arrivals.popleft()
        return self._descriptor.datum(self._content(arriving), self._spec)

    def _content(self, arriving: Arriving) -> Any:
        """What arrives: the payload of a message, or a value."""
        coding = self._descriptor.coding(self._spec)
        if arriving.value is not UNWRITTEN:
            if coding is None:
                return arriving.value
            return coding.encode(conform(arriving.value, self._spec, shorter=True), self._spec)
        payload = arriving.payload(self._folder)
        return payload if coding is not None else ("", payload)


# -- what stands in place of sinks -----------------------------------------------------------------


async def _sink(descriptor: SinkDescriptor, spec: DataSpec, found: Found, name: str) -> DataSink:
    if wanted := descriptor.publishes(spec):
        await found.define("", wanted)
        return descriptor.build(spec, Services(attributes=found))
    return _Kept(descriptor, spec, found.sent[name])


class _Kept(DataSink):
    """Keeps what a sink hands out."""

    def __init__(self, descriptor: SinkDescriptor, spec: DataSpec, kept: list[Sent]) -> None:
        self._descriptor = descriptor
        self._spec = spec
        self._kept = kept

    async def start(self) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """Do nothing."""
        await trio.lowlevel.checkpoint()

    async def awrite(self, value: Data) -> None:
        """Keep what is handed out of it; raises `DataError` where nothing can be."""
        await trio.lowlevel.checkpoint()
        self._kept.append(self._descriptor.sent(value, self._spec))
