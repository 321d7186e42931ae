"""Descriptors of what an exchange is made of, and the registries that know them by name."""

from __future__ import annotations

import abc
from collections.abc import Hashable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Protocol

import attrs

from .conform import conform
from .datatypes import Data, DataSpec, Kind
from .errors import ConfigWarning, Fault
from .option import Descriptor, option
from .probe import Probe
from .registry import Registry
from .services import Client, Place, PublishedAttribute, Services
from .stream import DataPipe, DataSink, DataSource, ErrorPolicy, MergedSource

_TELLING = ("topic", "attribute_name", "key", "attribute_names", "attributes")
"""The fields that tell endpoints of one type apart."""


class Coding(Protocol):
    """How data are written as bytes: what an encoding does."""

    def encode(self, value: Data, spec: DataSpec) -> bytes:
        """The payload of a value that conforms to *spec*; raises `DataError`."""
        ...

    def decode(self, payload: bytes, spec: DataSpec) -> Data:
        """The value that a payload holds; raises `DataError`."""
        ...


@attrs.frozen
class Sent:
    """What a sink hands out for one datum: a payload, or a value where nothing is encoded."""

    content: Any
    timestamp: int | None = None
    """In ms since the Unix epoch, where it is taken from the datum."""


@attrs.frozen(kw_only=True)
class PeerDescriptor(Descriptor):
    """What endpoints and error policies share: they may have a peer outside."""

    @property
    def place(self) -> Place | None:
        """What it reads or writes, where another exchange may write or read; none: nothing."""
        return None

    @property
    def client(self) -> Client | None:
        """The client that it needs, where that is one with threads of its own."""
        return None

    def probe(self) -> Iterator[Probe]:
        """Look at its peer from outside, and change nothing; blocks, for some seconds at most."""
        yield from ()


@attrs.frozen(kw_only=True)
class EndpointDescriptor(PeerDescriptor):
    """What sources and sinks share: which data they carry."""

    kinds: ClassVar[frozenset[Kind]] = frozenset(Kind)
    """The kinds of dtype that go with it: a row of the compatibility table."""
    dynamic_shapes: ClassVar[bool] = True
    """Whether a dimension of the shape may be dynamic."""
    max_dimensions: ClassVar[int | None] = None

    @property
    def label(self) -> str:
        """The descriptor in a few words, to tell it from others: ``KafkaProducerSink(offsets)``."""
        name = type(self).__name__.removesuffix("Descriptor")
        return f"{name}({self.subject})" if self.subject else name

    @property
    def subject(self) -> str:
        """What it reads or writes, as it is written: a topic, ``device/attribute``; '' for none."""
        for field in _TELLING:
            value = getattr(self, field, None)
            if isinstance(value, str):
                device = getattr(self, "device_name", "")
                return f"{device}/{value}" if device else value
            if isinstance(value, list | tuple):
                return f"{len(value)} attributes"
        return ""

    def coding(self, spec: DataSpec) -> Coding | None:
        """How its data are written as bytes; None: they are values, such as an attribute's."""
        return None

    def warnings(self) -> Iterator[ConfigWarning]:
        """What is likely not meant; paths are relative to this descriptor."""
        yield from ()

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """What of *spec* does not go with it; paths are relative to this descriptor."""
        name = type(self).__name__.removesuffix("Descriptor")
        if spec.kind not in self.kinds:
            fitting = ", ".join(kind.value for kind in Kind if kind in self.kinds)
            yield Fault("$", f"{name} does not carry {spec}", f"it carries {fitting}")
        if spec.shape and spec.kind in (Kind.BYTES, Kind.OBJECT):
            yield Fault("$", f"{spec.kind.value} is scalar only, found {spec}", "write shape []")
        if spec.dynamic and not self.dynamic_shapes:
            yield Fault("$", f"{name} takes no dynamic dimension, found {spec}", "write lengths")
        if self.max_dimensions is not None and len(spec.shape) > self.max_dimensions:
            yield Fault(
                "$",
                f"{name} takes at most {self.max_dimensions} dimensions, found {spec}",
                "write a shape with fewer",
            )


@attrs.frozen(kw_only=True)
class SourceDescriptor(EndpointDescriptor):
    """Says where data come from."""

    divisible: ClassVar[bool] = False
    """Whether several connectors may divide a list of it among them, by the key ``share``."""

    @property
    def origin(self) -> Hashable:
        """What two sources share when one can go on where the other stopped; none: nothing."""
        return None

    @property
    def bookmark(self) -> Hashable:
        """Where its positions are kept outside, for itself alone; none: nowhere."""
        return None

    @property
    def merge_key(self) -> Hashable:
        """What sources of one exchange share that one task receives for; none: each has its own.

        Those with the same key are built together, by `build_many`.
        """
        return None

    def datum(self, arriving: Any, spec: DataSpec) -> Data:
        """What it makes of a payload, or of a value that is not encoded, without its peer.

        Raises:
            DataError: it cannot be used.
        """
        coding = self.coding(spec)
        if coding is not None:
            return coding.decode(arriving, spec)
        return conform(arriving, spec, shorter=True)

    def reads(self) -> Iterable[Hashable]:
        """What it may read, as the sinks that write it name it in `SinkDescriptor.writes`.

        An exchange of the same group that writes it waits until this source has started.
        """
        return self.place.keys if self.place is not None else ()

    @abc.abstractmethod
    def build(self, spec: DataSpec, services: Services) -> DataSource:
        """The source, not started."""

    @classmethod
    def build_many(
        cls, descriptors: Sequence[Any], spec: DataSpec, services: Sequence[Services]
    ) -> MergedSource:
        """One source, not started, for several descriptors with the same `merge_key`.

        Each has services of its own: its account, its condition. Sources are numbered as they
        stand here.
        """
        raise NotImplementedError(f"{cls.__name__} has a merge_key, and no build_many")


@attrs.frozen(kw_only=True)
class SinkDescriptor(EndpointDescriptor):
    """Says where data go."""

    def places(self, device: str) -> Iterator[Place]:
        """All that it writes, where another exchange may read, for a connector of this name."""
        if self.place is not None:
            yield self.place

    def claims(self) -> Iterator[tuple[str, str]]:
        """The names of all attributes that `publishes` tells, each with its relative path.

        They are asked for whatever else may be wrong with the descriptor.
        """
        return iter(())

    def publishes(self, spec: DataSpec) -> tuple[PublishedAttribute, ...]:
        """The attributes that the sink publishes; the group defines and removes them.

        Asked for only where `faults` finds none.
        """
        return ()

    def sent(self, value: Data, spec: DataSpec) -> Sent:
        """What it hands out for a datum, without its peer.

        Raises:
            DataError: the datum cannot be handed out.
        """
        fitting, coding = conform(value, spec), self.coding(spec)
        return Sent(fitting if coding is None else coding.encode(fitting, spec))

    def writes(self) -> Iterable[Hashable]:
        """What it writes, as the sources that may read it name it in `SourceDescriptor.reads`."""
        attributes = {("attribute", name.lower()) for _, name in self.claims()}
        return attributes | (self.place.keys if self.place is not None else frozenset())

    @abc.abstractmethod
    def build(self, spec: DataSpec, services: Services) -> DataSink:
        """The sink, not started."""


@attrs.frozen(kw_only=True)
class PipeDescriptor(Descriptor):
    """Says what happens to data on their way."""

    def output(self, spec: DataSpec) -> DataSpec:
        """What comes out when *spec* goes in."""
        return spec

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """What of *spec* does not go into it; paths are relative to this descriptor."""
        yield from ()

    def warnings(self) -> Iterator[ConfigWarning]:
        """What is likely not meant in it; paths are relative to this descriptor."""
        yield from ()

    @abc.abstractmethod
    def build(self, spec: DataSpec) -> DataPipe:
        """The pipe."""


class Ends(Protocol):
    """An exchange, as far as an error policy asks for it."""

    @property
    def sources(self) -> list[SourceDescriptor]:
        """Where its data come from."""
        ...

    @property
    def sinks(self) -> list[SinkDescriptor]:
        """Where they go."""
        ...


@attrs.frozen(kw_only=True)
class Breaker(Descriptor):
    """How many data may be bad before an exchange is stopped whatever its error policy."""

    errors: int = option(default=1000, ge=1, doc="So many bad data end the exchange in FAULT ...")
    seconds: float = option(
        default=60.0, gt=0.0, unit="s", doc="... when they come within so long."
    )


@attrs.frozen(kw_only=True)
class ErrorPolicyDescriptor(PeerDescriptor):
    """Says what becomes of data that cannot be used."""

    @property
    def limit(self) -> Breaker | None:
        """When it gives up; none: never."""
        return None

    def faults(self, exchange: Ends) -> Iterator[Fault]:
        """What of an exchange does not go with it; paths are relative to this descriptor."""
        yield from ()

    def writes(self) -> Iterable[Hashable]:
        """What it writes, as in `SinkDescriptor.writes`."""
        return self.place.keys if self.place is not None else ()

    @abc.abstractmethod
    def build(self, services: Services) -> ErrorPolicy:
        """The policy, not started."""


@attrs.frozen(kw_only=True)
class TolerantPolicyDescriptor(ErrorPolicyDescriptor):
    """An error policy with which the exchange goes on, up to a limit."""

    breaker: Breaker | None = option(
        default=Breaker(), doc="When the exchange ends in FAULT all the same; null: never."
    )

    @property
    def limit(self) -> Breaker | None:
        """The breaker."""
        return self.breaker


sources: Registry[SourceDescriptor] = Registry("source")
sinks: Registry[SinkDescriptor] = Registry("sink")
pipes: Registry[PipeDescriptor] = Registry("pipe")
error_policies: Registry[ErrorPolicyDescriptor] = Registry("policy")


UNIONS: dict[type[Descriptor], Registry[Any]] = {
    SourceDescriptor: sources,
    SinkDescriptor: sinks,
    PipeDescriptor: pipes,
    ErrorPolicyDescriptor: error_policies,
}
"""The bases that stand for whatever is registered; the key ``type`` says which one is meant."""


def default_pipe() -> PipeDescriptor:
    """The pipe of an exchange that names none."""
    return pipes.lookup("DefaultPipe")()


def plain_policies() -> list[str]:
    """The error policies that may be written as their name alone: they need no key."""
    return [
        name
        for name, cls in error_policies.items()
        if all(field.default is not attrs.NOTHING for field in attrs.fields(cls))
    ]
