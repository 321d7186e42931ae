"""A whole configuration from a JSON-like value: every fault of every exchange, and warnings.

* in part   an exchange of which a part cannot be read is judged all the same: the part is taken
            for whatever it may be, and only what is wrong with all of those is a fault
* warnings  what is likely not meant: older spellings, circles, what descriptors say
* errors    none: faults are data here, whatever the value
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NoReturn

import attrs
import numpy as np

from ..model.annotations import fields_of
from ..model.convert import read_as, read_field
from ..model.datatypes import DataSpec, parse_dtype
from ..model.dtype_hook import dtypes_taken_for
from ..model.endpoints import SinkDescriptor, SourceDescriptor
from ..model.errors import ConfigError, ConfigWarning, Fault
from ..model.exchanges import ExchangeDescriptor, Judged, QueueConnectorDescriptor, faults_of
from ..model.hooks import MAX_FAULTS
from ..model.services import Claim, Client, Services
from ..model.specs import ANY_DTYPE, common, specs_like
from .circles import circles
from .older import exchanges, in_present_words

MAX_EXCHANGES = 1000
"""Exchanges of one configuration, those of all its groups together."""

MAX_GROUPS = 1000
"""Groups of one configuration, empty ones too."""

MAX_GROUP_NAME = 255
"""Characters of the name of a group."""


@attrs.frozen
class Reading:
    """What a JSON-like value says, and all that is wrong with it."""

    descriptor: QueueConnectorDescriptor | None
    """None when there are faults."""
    structure: tuple[Fault, ...] = ()
    """Faults that the JSON Schema finds too."""
    meaning: tuple[Fault, ...] = ()
    """Faults that only the parser finds."""
    warnings: tuple[ConfigWarning, ...] = ()
    """What is likely not meant; nothing is refused for it."""

    @property
    def faults(self) -> tuple[Fault, ...]:
        """All that is wrong."""
        return (*self.structure, *self.meaning)

    def configuration(self) -> QueueConnectorDescriptor:
        """The descriptor.

        Raises:
            ConfigError: there are faults.
        """
        if self.descriptor is None:
            raise ConfigError(self.faults)
        return self.descriptor


def read(value: object, device: str = "") -> Reading:
    """Read a whole configuration, and find everything that is wrong with it.

    *device* is the name of the connector that is to take it, where it is known.

    An exchange that has the right structure is checked for its meaning even when others do not.
    """
    value, older = in_present_words(value)
    if (number := sum(1 for _ in exchanges(value))) > MAX_EXCHANGES:
        message = f"expected at most {MAX_EXCHANGES} exchanges, found {number}; they are unread"
        hint = "share them out among several connectors, or let one exchange carry an array"
        return Reading(None, meaning=(Fault("$.exchanges", message, hint),))
    groups = value.get("exchanges") if isinstance(value, dict) else None
    if isinstance(groups, dict) and len(groups) > MAX_GROUPS:
        message = f"expected at most {MAX_GROUPS} groups, found {len(groups)}; they are unread"
        hint = "put exchanges that start and stop together into one group"
        return Reading(None, meaning=(Fault("$.exchanges", message, hint),))
    if isinstance(groups, dict) and (faults := tuple(_long_names(groups))):
        return Reading(None, meaning=faults[:MAX_FAULTS])
    attempt = read_as(value, QueueConnectorDescriptor)
    descriptor: QueueConnectorDescriptor | None = attempt.made
    placed: list[tuple[str, ExchangeDescriptor]] = []
    judged: list[tuple[str, Judged]] = []
    if descriptor is not None:
        placed.extend(descriptor.placed())
        judged.extend(placed)
    else:
        broken = 0
        for path, item in exchanges(value):
            exchange = read_as(item, ExchangeDescriptor).made
            if exchange is not None:
                placed.append((path, exchange))
                judged.append((path, exchange))
            elif isinstance(item, dict):
                judged.append((path, _InPart(item)))
                broken += 1
                if broken == MAX_FAULTS:
                    break
    meaning = (*attempt.meaning, *faults_of(judged))
    return Reading(
        None if meaning else descriptor,
        attempt.structure,
        meaning,
        tuple(itertools.islice((*older, *_warnings(placed, device)), MAX_FAULTS)),
    )


def _long_names(groups: Iterable[object]) -> Iterator[Fault]:
    """Each exchange is told with the name of its group, wherever it is told."""
    for name in groups:
        if isinstance(name, str) and len(name) > MAX_GROUP_NAME:
            expected = f"expected names of at most {MAX_GROUP_NAME} characters"
            yield Fault("$.exchanges", f"{expected}, found {name[:20]!r}… with {len(name)}")


def _warnings(
    placed: Sequence[tuple[str, ExchangeDescriptor]], device: str
) -> Iterator[ConfigWarning]:
    for path, exchange in placed:
        yield from (warning.below(path) for warning in exchange.warnings())
    yield from circles(placed, device)


@attrs.frozen(kw_only=True)
class _UnreadSource(SourceDescriptor):
    """Stands for a source that cannot be read: it goes with anything."""

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        yield from ()

    def build(self, spec: DataSpec, services: Services) -> NoReturn:
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class _UnreadSink(SinkDescriptor):
    """Stands for a sink that cannot be read: it goes with anything."""

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        yield from ()

    def build(self, spec: DataSpec, services: Services) -> NoReturn:
        raise NotImplementedError


_STAND_INS: dict[str, tuple[Any, Any]] = {
    "source": (SourceDescriptor, _UnreadSource()),
    "sink": (SinkDescriptor, _UnreadSink()),
}


@attrs.frozen
class _InPart:
    """An exchange that cannot be read whole, judged by what can be read of it."""

    item: dict[str, Any]

    def faults(self) -> Iterator[Fault]:
        """What is wrong with it whatever the unread parts may be."""
        candidates = [parse_dtype(name) for name in ANY_DTYPE]
        with dtypes_taken_for(candidates[0]) as replaced:
            self._read()
        if not any("byte" in str(written)[:100].lower() for written in replaced):
            candidates.remove(np.dtype("S"))  # which goes with encodings that there are not
        return common(self._faults_as, candidates if replaced else candidates[:1])

    def claims(self) -> Iterator[Claim]:
        """What can be read of its claims."""
        with dtypes_taken_for(parse_dtype(ANY_DTYPE[0])):
            exchange, _ = self._read()
        return exchange.claims()

    def clients(self) -> Iterator[Client]:
        """What can be read of the clients that it needs."""
        with dtypes_taken_for(parse_dtype(ANY_DTYPE[0])):
            exchange, _ = self._read()
        return exchange.clients()

    def _faults_as(self, stand_in: np.dtype[Any]) -> Iterator[Fault]:
        with dtypes_taken_for(stand_in):
            exchange, unread = self._read()
        if not unread & {"shape", "labels", "pipe"}:
            return exchange.faults()
        shape = None if "shape" in unread else exchange.shape
        specs = specs_like(exchange.dtype, shape, exchange.labels)
        return exchange.part_faults(specs, specs_like(exchange.dtype) if "pipe" in unread else None)

    def _read(self) -> tuple[ExchangeDescriptor, set[str]]:
        """The exchange with stand-ins, and the keys that cannot be read."""
        taken: dict[str, Any] = {}
        unread: set[str] = set()
        for field in fields_of(ExchangeDescriptor):
            if field.name in self.item:
                attempt = read_field(self.item[field.name], field)
                if attempt.failed:
                    unread.add(field.name)
                else:
                    taken[field.name] = attempt.made
        for name, (base, stand_in) in _STAND_INS.items():
            written = self.item.get(name)
            if name not in taken and isinstance(written, list) and written:
                taken[name] = [read_as(part, base).made or stand_in for part in written]
            else:
                taken.setdefault(name, stand_in)
        return ExchangeDescriptor(**taken), unread
