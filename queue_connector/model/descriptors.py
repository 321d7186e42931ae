"""The base of every descriptor: pure data that says what a configuration wants.

A descriptor is a frozen attrs class whose fields are made by `option`, the one place where a
field is explained: the parser, the JSON Schema, the documentation and the command line's help
read it there. A descriptor does no I/O; ``build`` makes the runtime object.

Two layers judge a configuration. Structure (keys, types, bounds) comes from the fields and is in
the JSON Schema too. Meaning (what goes with what) is what `faults` says; only the parser knows it.
"""

from __future__ import annotations

import abc
import logging
import math
import re
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any, ClassVar, Literal, Protocol, TypeVar

import attrs
import numpy as np

from .condition import Condition
from .datatypes import MAX_DIMENSIONS, Data, DataSpec, Kind, conform, parse_dtype, zero
from .errors import ConfigWarning, ConformError, Fault, Finding
from .ledger import Account
from .registry import Registry
from .shared import Shared
from .stream import DataPipe, DataSink, DataSource, ErrorPolicy, MergedSource

T = TypeVar("T")
F = TypeVar("F", bound=Finding)

DEFAULT_GROUP = "default"

MAX_DATUM_BYTES = 1_000_000_000
"""The largest datum that a dtype and shape may describe; Kafka carries no larger message."""

MAX_ATTRIBUTES = 5_000
"""Attributes that one device may publish; to make or remove one takes Tango 0.2 ms and more."""

MAX_CLIENTS = 300
"""Clients of a library that one configuration may need; each has some five threads of its own."""

TEXT_BYTES = 64
"""What a text takes up at least, as the object that Python and Tango make of it."""

_METADATA = "queue_connector.option"


class Form(Protocol):
    """How the value of a field is written, where its annotation cannot say it.

    It judges the value in place of the annotation, for parser, JSON Schema and attrs alike, and
    tells nothing of the value: whatever is written may be a secret.
    """

    def faults(self, value: object) -> Iterator[Fault]:
        """What is wrong with the structure; paths are relative to the value."""
        ...

    def schema(self) -> dict[str, Any]:
        """The same as JSON Schema."""
        ...


@attrs.frozen
class Option:
    """How a field of a descriptor is explained and bounded."""

    doc: str
    unit: str = ""
    ge: float | None = None
    gt: float | None = None
    choices: Callable[[], Sequence[str]] | None = None
    """The strings that may be written, read late because registries fill up."""
    min_length: int | None = None
    form: Form | None = None

    def complaint(self, value: object) -> str:
        """What is wrong with a value of the right type; empty when nothing is."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            if self.ge is not None and not value >= self.ge:
                return f"expected at least {self.ge:g}, found {value!r}"
            if self.gt is not None and not value > self.gt:
                return f"expected more than {self.gt:g}, found {value!r}"
        if (
            self.min_length is not None
            and isinstance(value, str | list | tuple)
            and len(value) < self.min_length
        ):
            return f"expected at least {self.min_length} of length, found {len(value)}"
        if self.form is not None:
            for fault in self.form.faults(value):
                return f"{fault.path}: {fault.message}"
        return ""


def option(
    *,
    doc: str,
    default: Any = attrs.NOTHING,
    unit: str = "",
    ge: float | None = None,
    gt: float | None = None,
    choices: Callable[[], Sequence[str]] | None = None,
    min_length: int | None = None,
    converter: Callable[[Any], Any] | None = None,
    form: Form | None = None,
) -> Any:
    """A field of a descriptor; without *default* the key is required.

    Args:
        doc: what it means, for a person who writes a configuration.
        default: the value without the key; a list or mapping is copied for every instance.
        unit: of a number, e.g. ``"s"``.
        ge: the smallest number allowed.
        gt: the number that must be exceeded.
        choices: gives the strings that may be written, when they are not free.
        min_length: of a text or list.
        converter: applied to what is given, by attrs.
        form: how it is written, where the annotation cannot say it.
    """
    explained = Option(doc, unit, ge, gt, choices, min_length, form)

    def validate(_instance: object, field: attrs.Attribute[Any], value: Any) -> None:
        if complaint := explained.complaint(value):
            raise ValueError(f"{field.name}: {complaint}")

    if isinstance(default, list | dict):
        mutable = default
        return attrs.field(
            factory=lambda: mutable.copy(),
            converter=converter,
            validator=validate,
            metadata={_METADATA: explained},
        )
    return attrs.field(
        default=default, converter=converter, validator=validate, metadata={_METADATA: explained}
    )


def option_of(field: attrs.Attribute[Any]) -> Option:
    """What `option` was told about a field."""
    explained: Option = field.metadata[_METADATA]
    return explained


@attrs.frozen(kw_only=True)
class Descriptor:
    """A JSON object of a configuration."""

    def absences(self) -> Iterator[Fault]:
        """What it refers to and is not on this machine, where it may not be wanted. Looks."""
        yield from ()


@attrs.frozen
class PublishedAttribute:
    """An attribute that a sink publishes its data as, from configuration to removal.

    ``shape`` of the spec is a maximum. ``default`` is a value that fits the spec.
    """

    name: str
    spec: DataSpec
    default: Data

    def same_type(self, other: PublishedAttribute) -> bool:
        """Whether the other one can stand in its place, with its subscribers and last value."""
        return self.name.lower() == other.name.lower() and self.spec == other.spec


def parse_default(value: Data, spec: DataSpec) -> Data:
    """What a configuration means by the default of an attribute, as a datum that fits *spec*.

    ``""`` is the zero of every dtype but text; ``"nan"``, ``"inf"`` and ``"-inf"``, alone or in
    lists, are those numbers for floating dtypes, since JSON cannot write them; the rest is
    conformed and broadcast up to the shape, which is a maximum.

    Raises:
        ConformError: it does not fit, or nothing could because *spec* is too large.
    """
    try:
        if complaint := too_large(spec):
            raise ConformError(spec, repr(value)[:80], complaint)
        if value == "" and isinstance(value, str) and spec.kind is not Kind.STR:
            return zero(spec)
        if spec.kind in (Kind.FLOAT, Kind.COMPLEX):
            value = _numbers(value)
        return conform(value, spec, shorter=True)
    except (ValueError, TypeError, MemoryError, RecursionError, Warning) as error:
        raise ConformError(spec, type(value).__name__, str(error)) from error


def _numbers(value: Data) -> Data:
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    return float(value) if isinstance(value, str) and value in ("nan", "inf", "-inf") else value


LABELS = (
    "Names of the numbers from 0 on, which make int16 an enumeration: no other number fits, and "
    "where a value is read, its label may stand for it. Numbers are written. DevEnum in Tango."
)


def label_faults(spec: DataSpec) -> Iterator[Fault]:
    """What is wrong with the labels of an enumeration."""
    if spec.labels and spec.dtype != np.int16:
        yield Fault("$.labels", "only int16 has labels", "write the dtype int16, or no labels")
    for index, label in enumerate(spec.labels):
        path = f"$.labels[{index}]"
        if not label:
            yield Fault(path, "a label is empty", "write a name for the number")
        elif label in spec.labels[:index]:
            yield Fault(path, f"the label {label!r} is written twice", "write another")


ANY_DTYPE = (
    "str", "bytes", "object", "bool", "int16", "float64", "complex128", "datetime64[ns]",
    (("name", "U8"), ("value", "float64")),
)  # fmt: skip
"""A dtype of every kind, the one first that takes the most."""
_ANY_SHAPE: tuple[tuple[int, ...], ...] = ((), (-1,), (2,), (2, 2), (1, 2, 3))


def specs_like(
    dtype: np.dtype[Any] | None = None,
    shape: tuple[int, ...] | None = None,
    labels: tuple[str, ...] = (),
) -> list[DataSpec]:
    """A spec of every make with this dtype and shape, where they are known."""
    return [
        DataSpec(kind, lengths, labels)
        for lengths in (_ANY_SHAPE if shape is None else (shape,))
        for kind in (ANY_DTYPE if dtype is None else (dtype,))
    ]


def common(judge: Callable[[T], Iterator[F]], candidates: Sequence[T]) -> Iterator[F]:
    """What is found wrong with every one of the candidates, one of which is meant."""
    found = list(judge(candidates[0]))
    for candidate in candidates[1:]:
        if not found:
            return
        other = set(judge(candidate))
        found = [finding for finding in found if finding in other]
    yield from found


def dynamic_complaint(spec: DataSpec) -> str:
    """Why a shape has too many dynamic dimensions; empty when it has not."""
    if sum(length < 0 for length in spec.shape) > 1:
        return f"found {list(spec.shape)}, expected at most one dynamic dimension"
    return ""


def too_large(spec: DataSpec) -> str:
    """Why no datum can have this dtype and shape; empty when one can."""
    if len(spec.shape) > MAX_DIMENSIONS:
        return f"expected at most {MAX_DIMENSIONS} dimensions, found {len(spec.shape)}"
    least = TEXT_BYTES if spec.kind is Kind.STR else 1
    size = max(spec.dtype.itemsize, least) * math.prod(n for n in spec.shape if n >= 0)
    if max(size, *spec.shape, 0) > MAX_DATUM_BYTES:
        return f"expected at most {MAX_DATUM_BYTES} bytes in one datum, found {spec}"
    return ""


class AttributeHost(Protocol):
    """Where attributes are published: the device."""

    def owners(self) -> Iterable[str]:
        """Who has attributes defined."""
        ...

    async def define(self, owner: str, wanted: Sequence[PublishedAttribute]) -> None:
        """Make the attributes of *owner* those wanted: add, keep the same ones, remove the rest.

        Raises:
            EndpointError: the host refused; what was defined before may be gone.
        """
        ...

    async def publish(self, values: Sequence[tuple[str, Data]]) -> None:
        """Set attributes and push their events, in order."""
        ...


@attrs.define(eq=False)
class ExchangeName:
    """The present name of an exchange, ``group[index]``: whoever shows it asks at that moment.

    An exchange that stays while others of its group go has another index from then on.
    """

    text: str = "exchange"

    def __str__(self) -> str:
        return self.text


@attrs.frozen
class Services:
    """What a descriptor may use to build its runtime object."""

    exchange: ExchangeName = attrs.field(factory=ExchangeName)
    """For errors and log lines; not to be kept as text."""
    account: Account = attrs.field(factory=Account)
    """What is counted for the endpoint that is built."""
    condition: Condition = attrs.field(factory=Condition)
    """Where the endpoint that is built says how it is."""
    shared: Shared = attrs.field(factory=Shared)
    """What the endpoints of a device use together."""
    attributes: AttributeHost | None = None
    log: logging.Logger = attrs.field(factory=lambda: logging.getLogger("queue_connector"))


@attrs.frozen
class Place:
    """Where data stand outside the connector: what one exchange writes there, another may read."""

    field: str
    """The key of the descriptor that names it."""
    what: str
    """In words."""
    keys: frozenset[Hashable]
    """What stands for it; two places that have one of them in common are the same."""
    passes_all: bool = True
    """Whether all that is written there is read there."""


@attrs.frozen
class Client:
    """A client of a library that several endpoints can share."""

    key: Hashable
    """What those have in common that share one."""
    alone: Hashable = None
    """What only one endpoint of each client can have; None: any number share it."""


_TELLING = ("topic", "attribute_name", "key", "attribute_names", "attributes")
"""The fields that tell endpoints of one type apart."""


@attrs.frozen(kw_only=True)
class EndpointDescriptor(Descriptor):
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
        for field in _TELLING:
            value = getattr(self, field, None)
            if isinstance(value, str):
                device = getattr(self, "device_name", "")
                return f"{name}({device}/{value})" if device else f"{name}({value})"
            if isinstance(value, list | tuple):
                return f"{name}({len(value)} attributes)"
        return name

    @property
    def place(self) -> Place | None:
        """What it reads or writes, where another exchange may write or read; none: nothing."""
        return None

    @property
    def client(self) -> Client | None:
        """The client that it needs, where that is one with threads of its own."""
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


@attrs.frozen(kw_only=True)
class Breaker(Descriptor):
    """How many data may be bad before an exchange is stopped whatever its error policy."""

    errors: int = option(default=1000, ge=1, doc="So many bad data end the exchange in FAULT ...")
    seconds: float = option(
        default=60.0, gt=0.0, unit="s", doc="... when they come within so long."
    )


@attrs.frozen(kw_only=True)
class ErrorPolicyDescriptor(Descriptor):
    """Says what becomes of data that cannot be used."""

    @property
    def limit(self) -> Breaker | None:
        """When it gives up; none: never."""
        return None

    @property
    def place(self) -> Place | None:
        """Where it writes what another exchange may read; none: nowhere."""
        return None

    @property
    def client(self) -> Client | None:
        """The client that it needs, as of an endpoint."""
        return None

    def faults(self, exchange: ExchangeDescriptor) -> Iterator[Fault]:
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


@attrs.frozen
class Claim:
    """Something that one exchange of a device must have for itself."""

    path: str
    key: Hashable
    """The same for all that claim the same thing."""
    what: str
    hint: str

    def below(self, prefix: str) -> Claim:
        """The same claim seen from further up, as in `Fault.below`."""
        return attrs.evolve(self, path=prefix + self.path.removeprefix("$"))

    def conflict(self, other: str) -> Fault:
        """What is wrong when it is claimed elsewhere too, in words."""
        return Fault(self.path, f"{self.what} is claimed {other} too", self.hint)


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
    pipe: PipeDescriptor | list[PipeDescriptor] = attrs.field(
        factory=default_pipe,
        metadata={
            _METADATA: Option(
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
        """The sources, as a list."""
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


def step(key: str | int) -> str:
    """One step of a JSON path: ``.name``, ``[0]``, or ``['any text']`` for other keys."""
    if isinstance(key, int):
        return f"[{key}]"
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
        return f".{key}"
    return f"[{key!r}]"


def _paths(key: str, value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            yield f"$.{key}[{index}]", item
    else:
        yield f"$.{key}", value
