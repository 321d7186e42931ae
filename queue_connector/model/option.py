"""The base of every descriptor: pure data that says what a configuration wants.

A descriptor is a frozen attrs class whose fields are made by `option`, the one place where a
field is explained: the parser, the JSON Schema, the documentation and the command line's help
read it there. A descriptor does no I/O; ``build`` makes the runtime object.

Two layers judge a configuration. Structure (keys, types, bounds) comes from the fields and is in
the JSON Schema too. Meaning (what goes with what) is what `faults` says; only the parser knows it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, Protocol

import attrs

from .errors import Fault

METADATA = "queue_connector.option"

UNWRITTEN: Any = object()
"""The default of a key that may be left out, where null is a value that may be written."""


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
    choices: Callable[[], Sequence[str]] | Sequence[str] | None = None,
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
        choices: the strings that may be written, when they are not free, or what gives them.
        min_length: of a text or list.
        converter: applied to what is given, by attrs.
        form: how it is written, where the annotation cannot say it.
    """
    offered = choices if choices is None or callable(choices) else partial(tuple[str, ...], choices)
    explained = Option(doc, unit, ge, gt, offered, min_length, form)

    def validate(_instance: object, field: attrs.Attribute[Any], value: Any) -> None:
        if complaint := explained.complaint(value):
            raise ValueError(f"{field.name}: {complaint}")

    if isinstance(default, list | dict):
        mutable = default
        return attrs.field(
            factory=lambda: mutable.copy(),
            converter=converter,
            validator=validate,
            metadata={METADATA: explained},
        )
    return attrs.field(
        default=default, converter=converter, validator=validate, metadata={METADATA: explained}
    )


def option_of(field: attrs.Attribute[Any]) -> Option:
    """What `option` was told about a field."""
    explained: Option = field.metadata[METADATA]
    return explained


@attrs.frozen(kw_only=True)
class Descriptor:
    """A JSON object of a configuration."""

    def absences(self) -> Iterator[Fault]:
        """What it refers to and is not on this machine, where it may not be wanted. Looks."""
        yield from ()


def step(key: str | int) -> str:
    """One step of a JSON path: ``.name``, ``[0]``, or ``['any text']`` for other keys."""
    if isinstance(key, int):
        return f"[{key}]"
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", key):
        return f".{key}"
    return f"[{key!r}]"
