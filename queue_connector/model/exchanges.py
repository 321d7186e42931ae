"""Descriptors of an exchange and of a whole configuration, and what does not go together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, Literal, Protocol

import attrs
import numpy as np

from .datatypes import DataSpec, parse_dtype
from .division import Share, share_faults
from .endpoints import (
    EndpointDescriptor,
    ErrorPolicyDescriptor,
    PipeDescriptor,
    SinkDescriptor,
    SourceDescriptor,
    default_pipe,
    error_policies,
    plain_policies,
)
from .errors import ConfigWarning, Fault
from .option import METADATA, Descriptor, Option, option, step
from .services import Claim, Client, PublishedAttribute
from .specs import LABELS, common, dynamic_complaint, label_faults, specs_like, too_large
from .stream import DataPipe

DEFAULT_GROUP = "default"

MAX_ATTRIBUTES = 5_000
"""Attributes that one device may publish; to make or remove one takes Tango 0.2 ms and more."""

MAX_CLIENTS = 300
"""Clients of a library that one configuration may need; each has some five threads of its own."""


BufferPolicy = Literal["block", "drop_oldest", "drop_newest", "latest"]


@attrs.frozen(kw_only=True)
class Buffer(Descriptor):
    """How many data wait between the sources and the pipe, and what happens when it is full."""

    policy: BufferPolicy = option(
        default="block",
        doc="'block' lets the sources wait; 'drop_oldest' and 'drop_newest' drop and count; "
        "'latest' keeps the newest datum of each source and drops what it supersedes.",
    )
    size: int = option(
        default=10_000,
        ge=1,
        doc="How many data may wait. 'latest' has one of each source, whatever stands here.",
    )


@attrs.frozen(kw_only=True)
class ExchangeDescriptor(Descriptor):
    """One route: the data of the sources go through the pipe to every sink."""

    dtype: np.dtype[Any] = option(
        default="str",
        converter=parse_dtype,
        doc="The type of the data: a name, or a list of [name, dtype] for a struct.",
    )
    shape: tuple[int, ...] = option(
        default=(),
        converter=tuple,
        doc="The largest dimensions; [] is a scalar, one negative entry a dynamic dimension.",
    )
    labels: tuple[str, ...] = option(default=(), converter=tuple, doc=LABELS)
    source: SourceDescriptor | list[SourceDescriptor] = option(
        min_length=1, doc="Where data come from; those of a list are merged into one stream."
    )
    share: str = option(
        default="",
        doc="Which of the sources of a list this connector reads, where several share the list: "
        "'k/n' for those at the positions k, k + n, and so on, counted from 1. For sources whose "
        "data come to every reader; Kafka shares a topic by itself.",
    )
    pipe: PipeDescriptor | list[PipeDescriptor] = attrs.field(
        factory=default_pipe,
        metadata={
            METADATA: Option(
                "What happens to the data on their way; those of a list are one behind the other."
            )
        },
    )
    sink: SinkDescriptor | list[SinkDescriptor] = option(
        min_length=1, doc="Where data go; every sink of a list gets every datum."
    )
    on_error: ErrorPolicyDescriptor | str = option(
        default="fault",
        choices=plain_policies,
        doc="What becomes of data that cannot be used. 'fault' and 'skip' may be written as text.",
    )
    buffer: Buffer | None = option(
        default=None,
        doc="What waits between sources and pipe. Without, a source is taken from as fast as data "
        "are delivered: Kafka waits, Tango's events are dropped beyond a large inbox.",
    )

    @property
    def spec(self) -> DataSpec:
        """The dtype and shape that the sources share."""
        return DataSpec(self.dtype, self.shape, self.labels)

    @property
    def output(self) -> DataSpec:
        """The dtype and shape that the sinks get."""
        return self._piped(self.spec)

    @property
    def pipes(self) -> list[PipeDescriptor]:
        """The pipes, as a list."""
        return self.pipe if isinstance(self.pipe, list) else [self.pipe]

    def build_pipes(self) -> Iterator[DataPipe]:
        """The pipes: what comes out of one goes into the next."""
        spec = self.spec
        for pipe in self.pipes:
            yield pipe.build(spec)
            spec = pipe.output(spec)

    def _piped(self, spec: DataSpec) -> DataSpec:
        for pipe in self.pipes:
            spec = pipe.output(spec)
        return spec

    @property
    def sources(self) -> list[SourceDescriptor]:
        """The sources that are read here, as a list."""
        share = Share.parse(self.share)
        return self.listed if share is None else share.of(self.listed)

    @property
    def listed(self) -> list[SourceDescriptor]:
        """The sources that are written, as a list: those that others read, too."""
        return self.source if isinstance(self.source, list) else [self.source]

    @property
    def sinks(self) -> list[SinkDescriptor]:
        """The sinks, as a list."""
        return self.sink if isinstance(self.sink, list) else [self.sink]

    @property
    def error_policy(self) -> ErrorPolicyDescriptor:
        """The error policy, also where its name alone is written."""
        if isinstance(self.on_error, str):
            return error_policies.lookup(self.on_error)()
        return self.on_error

    def attributes(self) -> Iterator[PublishedAttribute]:
        """Every attribute that the sinks publish."""
        for sink in self.sinks:
            yield from sink.publishes(self.output)

    def reads(self) -> set[Hashable]:
        """What its sources read, as others name what they write."""
        return {key for source in self.sources for key in source.reads()}

    def writes(self) -> set[Hashable]:
        """What its sinks and its error policy write."""
        return {*self.error_policy.writes(), *(k for sink in self.sinks for k in sink.writes())}

    def claims(self) -> Iterator[Claim]:
        """What it must have for itself: attributes, and where positions are kept."""
        for path, source in _paths("source", self.source):
            if source.bookmark is not None:
                what = f"the position that {source.label} keeps"
                yield Claim(path, source.bookmark, what, "give each source a group_id of its own")
        for path, sink in _paths("sink", self.sink):
            for where, name in sink.claims():
                what = f"the attribute {name!r}"
                hint = "give each attribute a name of its own; case does not count"
                yield Claim(where, ("attribute", name.lower()), what, hint).below(path)

    def clients(self) -> Iterator[Client]:
        """What its sources, its sinks and its error policy need."""
        ends: list[EndpointDescriptor] = [*self.sources, *self.sinks]
        for client in (*(end.client for end in ends), self.error_policy.client):
            if client is not None:
                yield client

    def absences(self) -> Iterator[Fault]:
        named = [*_paths("source", self.source), *_paths("sink", self.sink)]
        for path, part in [*named, ("$.on_error", self.error_policy)]:
            yield from (absence.below(path) for absence in part.absences())

    def faults(self) -> Iterator[Fault]:
        """What does not go together in this exchange; paths are relative to it."""
        own = list(self._spec_faults())
        yield from own
        yield from share_faults(self.share, _paths("source", self.source))
        yield from self.part_faults(specs_like(dtype=self.dtype) if own else [self.spec])

    def _spec_faults(self) -> Iterator[Fault]:
        if complaint := dynamic_complaint(self.spec):
            yield Fault("$.shape", complaint, "write lengths for the others")
        elif complaint := too_large(self.spec):
            yield Fault("$.shape", complaint, "write a smaller shape or dtype")
        else:
            yield from label_faults(self.spec)

    def part_faults(
        self, specs: Sequence[DataSpec], outputs: Sequence[DataSpec] | None = None
    ) -> Iterator[Fault]:
        """What does not go together in it, whichever of *specs* its data have.

        *outputs* are what may come out of the pipe; without, what its descriptor says.
        """
        for path, source in _paths("source", self.source):
            yield from (fault.below(path) for fault in common(source.faults, specs))
        if outputs is None:
            refused = list(common(self._pipe_faults, specs))
            yield from refused
            outputs = specs_like(self.dtype) if refused else [self._piped(spec) for spec in specs]
        for path, sink in _paths("sink", self.sink):
            yield from (fault.below(path) for fault in common(sink.faults, outputs))
            yield from (fault.below(path) for fault in self._echoes(sink))
        yield from (fault.below("$.on_error") for fault in self.error_policy.faults(self))

    def _pipe_faults(self, spec: DataSpec) -> Iterator[Fault]:
        """What is wrong with the first pipe that does not fit what comes into it."""
        for path, pipe in _paths("pipe", self.pipe):
            if refused := [fault.below(path) for fault in pipe.faults(spec)]:
                yield from refused
                return
            if dynamic_complaint(output := pipe.output(spec)):
                yield Fault(
                    path,
                    f"makes {output} out of {spec}, with more than one dynamic dimension",
                    "write lengths in the shape of the exchange",
                )
                return
            spec = output

    def _echoes(self, sink: SinkDescriptor) -> Iterator[Fault]:
        """What a sink writes that a source reads again, for ever."""
        place = sink.place
        if place is None or not place.passes_all:
            return
        if any(s.place is not None and s.place.keys & place.keys for s in self.sources):
            message = f"the exchange reads {place.what} itself, so that data would never end"
            yield Fault(f"$.{place.field}", message, "write elsewhere than is read")

    def warnings(self) -> Iterator[ConfigWarning]:
        """What is likely not meant in it; paths are relative to it."""
        for key in ("source", "pipe", "sink"):
            for path, end in _paths(key, getattr(self, key)):
                yield from (warning.below(path) for warning in end.warnings())


@attrs.frozen(kw_only=True)
class QueueConnectorDescriptor(Descriptor):
    """A whole configuration."""

    exchanges: list[ExchangeDescriptor] | dict[str, list[ExchangeDescriptor]] | None = option(
        default=None,
        doc="The exchanges: a list for one group, or a mapping of group names to lists.",
    )

    @property
    def groups(self) -> dict[str, list[ExchangeDescriptor]]:
        """Group name → exchanges; a list is the group `DEFAULT_GROUP`; empty groups included."""
        match self.exchanges:
            case None:
                return {}
            case dict():
                return self.exchanges
            case _:
                return {DEFAULT_GROUP: self.exchanges}

    def placed(self) -> Iterator[tuple[str, ExchangeDescriptor]]:
        """Every exchange with its path."""
        for name, exchanges in self.groups.items():
            prefix = "$.exchanges" + (step(name) if isinstance(self.exchanges, dict) else "")
            for index, exchange in enumerate(exchanges):
                yield prefix + step(index), exchange

    def faults(self) -> Iterator[Fault]:
        """What does not go together, within exchanges and between them."""
        return faults_of(self.placed())

    def absences(self) -> Iterator[Fault]:
        for prefix, exchange in self.placed():
            yield from (absence.below(prefix) for absence in exchange.absences())


class Judged(Protocol):
    """What is asked of an exchange: it may be one that is read in part only."""

    def faults(self) -> Iterator[Fault]:
        """What does not go together in it."""
        ...

    def claims(self) -> Iterator[Claim]:
        """What it must have for itself."""
        ...

    def clients(self) -> Iterator[Client]:
        """The clients that it needs, shared or not."""
        ...


def faults_of(placed: Iterable[tuple[str, Judged]]) -> Iterator[Fault]:
    """What does not go together, within exchanges and between them, each given with its path."""
    claimed: dict[Hashable, str] = {}
    clients: Counter[Client] = Counter()
    for prefix, exchange in placed:
        clients.update(exchange.clients())
        yield from (fault.below(prefix) for fault in exchange.faults())
        for claim in exchange.claims():
            here = claim.below(prefix)
            if (first := claimed.setdefault(claim.key, here.path)) != here.path:
                yield here.conflict(f"at {first}")
    attributes = sum(isinstance(key, tuple) and key[0] == "attribute" for key in claimed)
    if attributes > MAX_ATTRIBUTES:
        yield Fault(
            "$.exchanges",
            f"expected at most {MAX_ATTRIBUTES} attributes of all exchanges, found {attributes}",
            "publish spectra instead of many scalars, or share them out among several connectors",
        )
    if (needed := _number_of(clients)) > MAX_CLIENTS:
        yield Fault(
            "$.exchanges",
            f"expected at most {MAX_CLIENTS} clients of all exchanges, found {needed}",
            "sources share one that have servers, options and group_id in common, but for those "
            "that read the same topic; sinks share one that have servers and options in common",
        )


def _number_of(clients: Counter[Client]) -> int:
    """How many clients are needed: where something is for one alone, one for each that needs it."""
    most: Counter[Hashable] = Counter()
    for client, count in clients.items():
        most[client.key] = max(most[client.key], 1 if client.alone is None else count)
    return most.total()


def _paths(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield f"$.{key}[{index}]", item
    else:
        yield f"$.{key}", value
