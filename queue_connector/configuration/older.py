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
    warnings: list[ConfigWarning] = []
    made = {
        path: _exchange(item, path, warnings)
        for path, item in exchanges(value)
        if isinstance(item, dict)
    }
    if not isinstance(value, dict) or not warnings:
        return value, warnings
    return {**value, "exchanges": _put_in(value["exchanges"], made)}, warnings


def _put_in(written: Any, made: dict[str, dict[Any, Any]], prefix: str = "$.exchanges") -> Any:
    """Exchanges, or groups of them, with those that were made in their places."""
    if isinstance(written, dict):
        return {
            key: _put_in(items, made, prefix + step(str(key))) for key, items in written.items()
        }
    if not isinstance(written, list):
        return written
    return [made.get(prefix + step(index), item) for index, item in enumerate(written)]


def _exchange(item: dict[Any, Any], path: str, warnings: list[ConfigWarning]) -> dict[Any, Any]:
    was_json = item.get("dtype") == "json" and any(
        part.get("type") == _JSON_SCATTER for _, part in _parts(item, "sink")
    )
    made = dict(item)
    if was_json:
        warnings.append(_warning(f"{path}.dtype", "'json'", "'object'"))
        made["dtype"] = "object"
    for key in _KEYS:
        parts = {
            where: _part(part, f"{path}.{key}{where}", warnings, was_json=was_json)
            for where, part in _parts(item, key)
        }
        if isinstance(item.get(key), list):
            made[key] = [parts.get(step(i), part) for i, part in enumerate(item[key])]
        elif parts:
            made[key] = parts[""]
    return made


def _parts(item: dict[Any, Any], key: str) -> Iterator[tuple[str, dict[Any, Any]]]:
    """The objects at a key, one or a list of them, each with its place."""
    found = item.get(key)
    for where, part in (
        ((step(index), part) for index, part in enumerate(found))
        if isinstance(found, list)
        else (("", found),)
    ):
        if isinstance(part, dict):
            yield where, part


def _part(
    part: dict[Any, Any], path: str, warnings: list[ConfigWarning], *, was_json: bool
) -> dict[Any, Any]:
    made, written = dict(part), part.get("type")
    if (current := _current(written)) is not None:
        warnings.append(_warning(f"{path}.type", repr(written), repr(current)))
    if written in _KAFKA and "format" in part and "encoding" not in part:
        warnings.append(_warning(f"{path}.format", "the key 'format'", "the key 'encoding'"))
        made["encoding"] = made.pop("format")
    if was_json and written == "KafkaConsumerSource" and made.get("encoding") in (None, "utf-8"):
        warnings.append(_warning(f"{path}.encoding", "'utf-8' for JSON", "'json'"))
        made["encoding"] = "json"
    return made


def _current(written: object) -> str | None:
    """What an older name of a type is called now."""
    found = (registry.renamed(written) for registry in UNIONS.values())
    return next((current for current in found if current is not None), None)


def _warning(path: str, written: str, current: str) -> ConfigWarning:
    return ConfigWarning(path, f"{written} is an older spelling", f"write {current}")
