"""Test cases of a configuration, as a file holds them: what arrives, and what is to come of it.

* file      a JSON object, see `Tests`; the configuration stands in it, or beside it in a file
* names     of sources and sinks: the topic, ``device/attribute``, or their place in the
            configuration, ``default[0].source[1]``, or of a sink the attribute
* errors    `ConfigError` with every fault and its path
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from ..configuration import document
from ..configuration.schema import Schema, schema_of
from ..model.convert import structure
from ..model.datatypes import Data, DataSpec, Kind
from ..model.endpoints import Coding, SinkDescriptor, SourceDescriptor
from ..model.errors import ConfigError, Fault
from ..model.exchanges import ExchangeDescriptor, QueueConnectorDescriptor
from ..model.option import UNWRITTEN, Descriptor, option, step
from ..model.registry import did_you_mean

TOLERANCE = 1e-9

_PLACE = re.compile(r"\.(source|sink)(\[\d+\])?$")

FORMS = ("text", "base64", "file", "json", "value")


@attrs.frozen(kw_only=True)
class Content(Descriptor):
    """A message or a value, in one of several forms."""

    text: str | None = option(default=None, doc="The bytes of a message: this text, in UTF-8.")
    base64: str | None = option(default=None, doc="The bytes of a message, in base 64.")
    file: str | None = option(
        default=None, doc="The bytes of a message: those of a file, its path from this file."
    )
    json: Data = option(default=UNWRITTEN, doc="A message that holds this as JSON.")
    value: Data = option(
        default=UNWRITTEN,
        doc="A value, as InMemorySource has it: of an attribute, or of a message in the encoding "
        "that the configuration names.",
    )

    @property
    def forms(self) -> list[str]:
        """Those that are written."""
        absent = {"json": UNWRITTEN, "value": UNWRITTEN}
        return [name for name in FORMS if getattr(self, name) is not absent.get(name)]

    def payload(self, folder: Path) -> bytes:
        """The bytes that are written, where it is no value.

        Raises:
            ValueError: it is not what it should be.
            OSError: the file cannot be read.
        """
        if self.text is not None:
            return self.text.encode()
        if self.file is not None:
            return (folder / self.file).read_bytes()
        if self.base64 is not None:
            return base64.b64decode(self.base64, validate=True)
        return json.dumps(self.json).encode()

    def faults(self, folder: Path, ends: Sequence[End]) -> Iterator[Fault]:
        """What is wrong with it, and does not go with what it arrives at or leaves."""
        if len(self.forms) != 1:
            found = " and ".join(self.forms) or "none"
            yield Fault("$", f"expected one of {', '.join(FORMS)}, found {found}")
        elif self.forms != ["value"]:
            (form,) = self.forms
            try:
                self.payload(folder)
            except binascii.Error as error:
                yield Fault("$.base64", f"it is no base 64: {error}")
            except OSError as error:
                yield Fault(f"$.{form}", f"cannot be read: {error.strerror}")
            for end in ends:
                if end.coding is None and end.spec.kind is not Kind.BYTES:
                    told = f"{end.descriptor.label} has values, and no messages"
                    yield Fault(f"$.{form}", told, "write value")
                    return


@attrs.frozen(kw_only=True)
class Arriving(Content):
    """What arrives at a source."""

    source: str = option(doc="Where: a topic, device/attribute, or a place, default[0].source.")
    after: float = option(
        default=0.0, ge=0.0, unit="s", doc="How long after what stands before it; it takes no time."
    )


@attrs.frozen(kw_only=True)
class Leaving(Content):
    """What leaves at a sink."""

    timestamp: int | None = option(
        default=None, unit="ms", doc="Of a message, since 1970; without, it is not compared."
    )


@attrs.frozen(kw_only=True)
class Expectation(Descriptor):
    """What is to come of it."""

    attributes: dict[str, Data] = option(
        default={}, doc="What attributes of the device read as in the end."
    )
    sinks: dict[str, list[Leaving]] = option(
        default={},
        doc="All that leaves at a sink, in order; a topic, device/attribute or place.",
    )
    errors: list[str] = option(
        default=[], doc="Of each datum that cannot be used, some words of what is said of it."
    )


@attrs.frozen(kw_only=True)
class Case(Descriptor):
    """What arrives, and what is to come of it."""

    name: str = option(min_length=1, doc="What it shows, in a few words.")
    given: list[Arriving] = option(default=[], doc="What arrives, in this order.")
    expect: Expectation = option(doc="What is to come of it; of what is not named, anything.")
    tolerance: float | None = option(
        default=None, ge=0.0, doc="Of this case, in place of that of the file."
    )


class _WrittenOrNamed:
    """A configuration as it is, or by its path; what it says is read with what stands in files."""

    def faults(self, value: object) -> Iterator[Fault]:
        if not isinstance(value, dict | str):
            yield Fault("$", "expected an object, or the path of a file")

    def schema(self) -> Schema:
        written = {"$ref": f"#/$defs/{QueueConnectorDescriptor.__name__}"}
        return {"anyOf": [{"type": "string"}, written]}


@attrs.frozen(kw_only=True)
class Tests(Descriptor):
    """The cases of one configuration."""

    configuration: Data = option(
        form=_WrittenOrNamed(), doc="The configuration, or the path of its file from this file."
    )
    tolerance: float = option(
        default=TOLERANCE,
        ge=0.0,
        doc="How far floating-point numbers may be off, and of large ones, relatively.",
    )
    cases: list[Case] = option(min_length=1, doc="The cases; each begins anew.")


@attrs.frozen
class Suite:
    """What a file says, read and judged."""

    descriptor: QueueConnectorDescriptor
    tests: Tests
    folder: Path

    def tolerance(self, case: Case) -> float:
        """That of a case."""
        return self.tests.tolerance if case.tolerance is None else case.tolerance


def tests_schema() -> Schema:
    """The JSON Schema of a file of cases."""
    return schema_of(Tests, "Test cases of Queue Connector", QueueConnectorDescriptor)


def read_suite(text: bytes, folder: Path) -> Suite:
    """The cases of a file in a folder, and the configuration that they are of.

    Raises:
        ConfigError: with everything that is wrong with them.
    """
    tests = structure(document.load(text), Tests)
    descriptor = _configuration(tests.configuration, folder)
    ends = sources_of(descriptor), sinks_of(descriptor)
    faults = [
        fault.below(f"$.cases{step(number)}")
        for number, case in enumerate(tests.cases)
        for fault in _faults(case, folder, *ends)
    ]
    names = [case.name for case in tests.cases]
    for number, name in enumerate(names):
        if name in names[:number]:
            told = f"another case is called {name!r:.200} too"
            faults.append(Fault(f"$.cases{step(number)}.name", told, "write another name"))
    if faults:
        raise ConfigError(faults)
    return Suite(descriptor, tests, folder)


def _configuration(written: dict[str, Any] | str, folder: Path) -> QueueConnectorDescriptor:
    if isinstance(written, dict):
        text = json.dumps(written).encode()
    else:
        try:
            text = (folder / written).read_bytes()
        except OSError as error:
            told = f"{written!r:.200} cannot be read: {error.strerror}"
            raise ConfigError([Fault("$.configuration", told)]) from None
    try:
        return document.parse(text)
    except ConfigError as error:
        raise ConfigError([fault.below("$.configuration") for fault in error.faults]) from None


@attrs.frozen
class End:
    """A source or a sink of an exchange."""

    place: str
    """Where it stands, ``default[0].source[1]``."""
    descriptor: SourceDescriptor | SinkDescriptor
    spec: DataSpec

    @property
    def coding(self) -> Coding | None:
        """How its data are written as bytes, where they are."""
        return self.descriptor.coding(self.spec)

    @property
    def attributes(self) -> list[str]:
        """The attributes that it publishes, in lower case."""
        claims = self.descriptor.claims() if isinstance(self.descriptor, SinkDescriptor) else ()
        return [name.lower() for _, name in claims]


def sources_of(descriptor: QueueConnectorDescriptor) -> dict[str, list[End]]:
    """Name → the sources that it stands for."""
    return _by_name(
        ("source", name, [End(name, each, exchange.spec) for each in exchange.sources])
        for name, exchange in _exchanges(descriptor)
    )


def sinks_of(descriptor: QueueConnectorDescriptor) -> dict[str, list[End]]:
    """Name → the sinks that it stands for; those of attributes are in lower case."""
    return _by_name(
        ("sink", name, [End(name, each, exchange.output) for each in exchange.sinks])
        for name, exchange in _exchanges(descriptor)
    )


def _exchanges(descriptor: QueueConnectorDescriptor) -> Iterator[tuple[str, ExchangeDescriptor]]:
    for group, exchanges in descriptor.groups.items():
        for place, exchange in enumerate(exchanges):
            yield f"{group}[{place}]", exchange


def _by_name(ends: Iterable[tuple[str, str, list[End]]]) -> dict[str, list[End]]:
    found: dict[str, list[End]] = {}
    for kind, exchange, several in ends:
        for number, end in enumerate(several):
            end = attrs.evolve(end, place=f"{exchange}.{kind}[{number}]")
            names = [*(end.attributes or [end.descriptor.subject]), end.place]
            if len(several) == 1:
                names.append(f"{exchange}.{kind}")
            for name in filter(None, names):
                found.setdefault(name, []).append(end)
    return found


def _faults(
    case: Case, folder: Path, sources: Mapping[str, list[End]], sinks: Mapping[str, list[End]]
) -> Iterator[Fault]:
    for number, arriving in enumerate(case.given):
        path = f"$.given{step(number)}"
        if arriving.source not in sources:
            yield _unknown("source", arriving.source, sources, f"{path}.source")
        found = arriving.faults(folder, sources.get(arriving.source, ()))
        yield from (fault.below(path) for fault in found)
    for name, leaving in case.expect.sinks.items():
        path = f"$.expect.sinks{step(name)}"
        ends = sinks.get(name) or sinks.get(name.lower())
        if ends is None:
            yield _unknown("sink", name, sinks, path)
        for number, content in enumerate(leaving):
            found = content.faults(folder, ends or ())
            yield from (fault.below(path + step(number)) for fault in found)
    published = {name for ends in sinks.values() for end in ends for name in end.attributes}
    for name in case.expect.attributes:
        if name.lower() not in published:
            path = f"$.expect.attributes{step(name)}"
            yield _unknown("attribute", name, dict.fromkeys(published), path)


def _unknown(kind: str, name: str, known: Mapping[str, object], path: str) -> Fault:
    listed = [each for each in known if not _PLACE.search(each)] or list(known)
    return Fault(path, f"no {kind} is called {name!r:.200}", did_you_mean(name, known, listed[:20]))
