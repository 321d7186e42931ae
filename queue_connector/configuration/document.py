"""Text → `QueueConnectorDescriptor`: JSON as people and clients really write it.

* accepted  UTF-8 with or without byte order mark, Python's ``NaN``, ``Infinity``, ``-Infinity``,
            and a JSON string that holds the JSON text of a configuration (encoded twice)
* refused   more than `MAX_SIZE` bytes, more than `MAX_DEPTH` levels, a key that an object has
            twice (one would be lost without a word), half a surrogate pair
* errors    `ConfigError`, nothing else; every fault names a path that starts at ``$``
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

from .. import connectors  # noqa: F401  what it registers is what a configuration may name
from ..model.complaint import describe, holds_secrets, shown
from ..model.errors import ConfigError, Fault
from ..model.exchanges import QueueConnectorDescriptor
from ..model.hooks import MAX_FAULTS
from ..model.option import step
from .reading import Reading, read

MAX_SIZE = 2**20
"""Bytes of a configuration; real ones have some ten thousand. It takes a second or two to read."""

MAX_DEPTH = 64
"""Levels of objects and lists in one another; numpy's arrays have at most 64 dimensions."""

log = logging.getLogger(__name__)


def parse(text: str | bytes) -> QueueConnectorDescriptor:
    """The configuration that a text holds, checked whole.

    Raises:
        ConfigError: with everything that is wrong with it.
    """
    return examine(text).configuration()


def take(text: str | bytes, device: str = "") -> QueueConnectorDescriptor:
    """The same for a device that is to do what it says: the log tells the warnings."""
    reading = examine(text, device)
    descriptor = reading.configuration()
    for warning in reading.warnings:
        log.warning("%s", warning)
    return descriptor


def examine(text: str | bytes, device: str = "") -> Reading:
    """The same without raising: the configuration, or faults; and warnings."""
    try:
        return read(load(text), device)
    except ConfigError as error:
        return Reading(None, structure=error.faults)


def load(text: str | bytes) -> Any:
    """The JSON-like value that a text holds, without judging what it says.

    Raises:
        ConfigError: it is not JSON, or holds what no configuration may.
    """
    value = _load(text, "{")
    if not isinstance(value, dict):
        raise _refusal(f"expected an object, found {describe(value)}", "write {} for no exchanges")
    return value


def load_list(text: str | bytes) -> list[Any]:
    """The same for a text that holds a list, such as the device property ``attributes``."""
    value = _load(text, "[")
    if not isinstance(value, list):
        raise _refusal(f"expected a list, found {describe(value)}", "write it in [ ]")
    return value


def _load(text: str | bytes, bracket: str) -> Any:
    """Any value of JSON; a text in it that begins with *bracket* is one that was encoded twice."""
    value, doubled = _decode(text)
    if isinstance(value, str) and value.lstrip()[:1] == bracket:
        value, doubled = _decode(value)
    if isinstance(value, dict | list) and (faults := list(_walk(value, "$", 1, doubled))):
        raise ConfigError(faults[:MAX_FAULTS])
    return value


def _refusal(message: str, hint: str = "") -> ConfigError:
    return ConfigError([Fault("$", message, hint)])


class _Doubled(dict[int, tuple[dict[str, Any], list[str]]]):
    """The keys that objects have more than once, by the identity of the object."""

    def make(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made = dict(pairs)
        if len(made) < len(pairs):
            seen: set[str] = set()
            twice = [key for key, _ in pairs if key in seen or seen.add(key)]  # type: ignore[func-returns-value]
            self[id(made)] = (made, list(dict.fromkeys(twice)))  # keeps it, and so its identity
        return made


def _decode(text: str | bytes) -> tuple[Any, _Doubled]:
    if len(text) > MAX_SIZE:
        raise _refusal(
            f"expected at most {MAX_SIZE} bytes, found more",
            "is this the right file? data do not belong into a configuration",
        )
    if isinstance(text, bytes):
        try:
            text = text.decode()
        except UnicodeDecodeError as error:
            found = f"byte 0x{text[error.start]:02x} at offset {error.start}"
            raise _refusal(f"not UTF-8: {found}", "save the text as UTF-8") from None
    text = text.removeprefix("\ufeff")
    if not text.strip():
        raise _refusal("the text is empty", "write {} for no exchanges")
    doubled = _Doubled()
    try:
        return json.loads(text, object_pairs_hook=doubled.make), doubled
    except json.JSONDecodeError as error:
        raise _refusal(_where(error), _remedy(error)) from None
    except (RecursionError, MemoryError):
        raise _refusal(f"nested more than {MAX_DEPTH} levels deep", _FLATTER) from None
    except ValueError:  # Python reads no whole number of more than some thousand digits
        raise _refusal("holds a number with too many digits", "write it with an exponent") from None


_FLATTER = "no configuration needs that; look for a bracket that is repeated by mistake"


def _where(error: json.JSONDecodeError) -> str:
    start = max(error.pos - 20, 0)
    excerpt = error.doc[start : error.pos + 20]
    near = "" if holds_secrets(error.doc) else f", near {excerpt!r}"
    return f"not JSON: {error.msg.lower()} at line {error.lineno}, column {error.colno}{near}"


_REMEDIES = {
    "": "the text ends too early: look for a missing bracket or quote",
    "'": "JSON wants double quotes",
    "}": "remove the comma before it",
    "]": "remove the comma before it",
    "/": "JSON has no comments",
    "#": "JSON has no comments",
    "T": "write true",
    "F": "write false",
    "N": "write null",
}


def _remedy(error: json.JSONDecodeError) -> str:
    if error.msg.startswith("Extra data"):
        return "write one object and nothing after it"
    if error.msg.startswith("Invalid control character"):
        return "write line breaks in text as \\n"
    if "trailing comma" in error.msg:
        return "remove the comma"
    return _REMEDIES.get(error.doc[error.pos : error.pos + 1], "")


def _walk(value: Any, path: str, depth: int, doubled: _Doubled) -> Iterator[Fault]:
    """What is wrong with a decoded value whatever it means; ends below the deepest level."""
    if isinstance(value, str):
        if _half_a_pair(value):
            yield Fault(path, "found half a surrogate pair in this text", _PAIR)
        return
    if depth > MAX_DEPTH:
        yield Fault(path, f"nested more than {MAX_DEPTH} levels deep", _FLATTER)
        return
    if isinstance(value, dict):
        if id(value) in doubled:
            for key in doubled[id(value)][1]:
                yield Fault(path + step(key), "the key is written twice", "remove one")
        for key, item in value.items():
            if _half_a_pair(key):
                yield Fault(path, f"found half a surrogate pair in the key {shown(key)}", _PAIR)
            if isinstance(item, str | dict | list):
                yield from _walk(item, path + step(key), depth + 1, doubled)
    else:
        for index, item in enumerate(value):
            if isinstance(item, str | dict | list):
                yield from _walk(item, path + step(index), depth + 1, doubled)


_PAIR = "write the character itself, or both halves of its \\u escape"


def _half_a_pair(text: str) -> bool:
    return not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text)
