"""What configurations in the field still write, in today's words.

======================================  =======================================================
written                                 read as
======================================  =======================================================
an older name of a ``type``             its present one, by the registries
``format`` of a Kafka source or sink    ``encoding``, where that is not written
dtype ``json`` with a sink              dtype ``object``; ``utf-8``, or nothing, as the encoding of
``TangoJsonScatterAttributeSink``       a Kafka source is ``json``
======================================  =======================================================

Each of them is told as a warning, and nothing else is changed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..model.endpoints import UNIONS
from ..model.errors import ConfigWarning
from ..model.option import step

_KEYS = ("source", "pipe", "sink")
_KAFKA = ("KafkaConsumerSource", "KafkaProducerSink")
_JSON_SCATTER = "TangoJsonScatterAttributeSink"
_DEPTH = 6
"""Levels down to what stands in a source: document, groups, group, exchange, sources, source."""


def exchanges(value: object) -> Iterator[tuple[str, object]]:
    """Whatever stands where an exchange is expected, with its path."""
    match value:
        case {"exchanges": list(items)}:
            groups = [("$.exchanges", items)]
        case {"exchanges": dict(mapping)}:
            groups = [(f"$.exchanges{step(str(key))}", items) for key, items in mapping.items()]
        case _:
            return
    for prefix, items in groups:
        if isinstance(items, list):
            yield from ((prefix + step(index), item) for index, item in enumerate(items))


def in_present_words(value: object) -> tuple[object, list[ConfigWarning]]:
    """A configuration in today's words, and what was written in older ones; of any value."""
    made = _copied(value, _DEPTH)
    warnings = [
        warning
        for path, item in exchanges(made)
        if isinstance(item, dict)
        for warning in _renew(item, path)
    ]
    return made if warnings else value, warnings


def _copied(value: Any, depth: int) -> Any:
    """The same, and so many levels of it are new."""
    if depth and isinstance(value, dict):
        return {key: _copied(item, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list):
        return [_copied(item, depth - 1) for item in value]
    return value


def _renew(exchange: dict[Any, Any], path: str) -> Iterator[ConfigWarning]:
    parts = [
        (f"{path}.{key}{where}", part) for key in _KEYS for where, part in _parts(exchange.get(key))
    ]
    sinks = (part for _, part in _parts(exchange.get("sink")))
    was_json = exchange.get("dtype") == "json" and any(
        sink.get("type") == _JSON_SCATTER for sink in sinks
    )
    if was_json:
        yield _warning(f"{path}.dtype", "'json'", "'object'")
        exchange["dtype"] = "object"
    for where, part in parts:
        yield from _renew_part(part, where, was_json=was_json)


def _parts(found: object) -> Iterator[tuple[str, dict[Any, Any]]]:
    """The objects among what stands at a key, one or a list of them, each with its place."""
    placed = (
        [(step(index), part) for index, part in enumerate(found)]
        if isinstance(found, list)
        else [("", found)]
    )
    yield from ((where, part) for where, part in placed if isinstance(part, dict))


def _renew_part(part: dict[Any, Any], path: str, *, was_json: bool) -> Iterator[ConfigWarning]:
    written = part.get("type")
    if (current := _current(written)) is not None:
        yield _warning(f"{path}.type", repr(written), repr(current))
    if written in _KAFKA and "format" in part and "encoding" not in part:
        yield _warning(f"{path}.format", "the key 'format'", "the key 'encoding'")
        part["encoding"] = part.pop("format")
    if was_json and written == "KafkaConsumerSource" and part.get("encoding") in (None, "utf-8"):
        yield _warning(f"{path}.encoding", "'utf-8' for JSON", "'json'")
        part["encoding"] = "json"


def _current(written: object) -> str | None:
    """What an older name of a type is called now."""
    found = (registry.renamed(written) for registry in UNIONS.values())
    return next((current for current in found if current is not None), None)


def _warning(path: str, written: str, current: str) -> ConfigWarning:
    return ConfigWarning(path, f"{written} is an older spelling", f"write {current}")
