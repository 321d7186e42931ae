"""Descriptors → JSON Schema (draft 2020-12), and the rows of the documentation's tables.

Everything is generated from the registries and the fields of descriptors. The schema says what
is structure; which names a dtype may have and what goes with what, only the parser knows.

* numbers   the fields of descriptors are finite: bounded by the largest float
* dtype     a text, or a list of fields; the names are not enumerated, since numpy's are open
* source    JSON Schema core and validation, draft 2020-12
"""

from __future__ import annotations

import inspect
import json
import sys
from collections.abc import Iterator
from typing import Any, Literal, get_args

import attrs

from ..connectors.tango.static_attributes import StaticAttribute
from ..model.annotations import (
    fields_of,
    is_descriptor,
    is_dtype,
    is_union,
    json_types,
    origin,
    other_words,
    type_names,
    words,
)
from ..model.convert import plain
from ..model.endpoints import UNIONS
from ..model.exchanges import MAX_ATTRIBUTES, QueueConnectorDescriptor
from ..model.hooks import MAX_LENGTH
from ..model.option import UNWRITTEN, Descriptor, Option, option_of

Schema = dict[str, Any]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_LARGEST = sys.float_info.max


def json_schema() -> Schema:
    """The schema of a configuration, of all that is registered by now."""
    return schema_of(QueueConnectorDescriptor, "Configuration of Queue Connector")


def schema_of(cls: type[Descriptor], title: str, *others: type[Descriptor]) -> Schema:
    """The schema of a file that holds a descriptor; its forms may refer to the *others*."""
    definitions: dict[str, Schema] = {}
    root = _of(cls, definitions)
    for other in others:
        _define(other, definitions)
    return {
        "$schema": DIALECT,
        "title": title,
        **root,
        "$defs": dict(sorted(definitions.items())),
    }


def attributes_schema() -> Schema:
    """The schema of the device property ``attributes``."""
    definitions: dict[str, Schema] = {}
    items = _of(StaticAttribute, definitions)
    return {
        "$schema": DIALECT,
        "title": "Property attributes of Queue Connector",
        "type": "array",
        "maxItems": MAX_ATTRIBUTES,
        "items": items,
        "$defs": dict(sorted(definitions.items())),
    }


@attrs.frozen
class Row:
    """One line of a descriptor's table in the documentation."""

    key: str
    type: str
    default: str
    """As JSON; empty when the key is required."""
    unit: str
    doc: str


def descriptors() -> Iterator[tuple[str, type[Descriptor]]]:
    """Every descriptor that a configuration may hold, outermost first, by the name in ``type``."""
    waiting: list[type[Descriptor]] = [QueueConnectorDescriptor]
    seen: set[type[Descriptor]] = set()
    while waiting:
        cls = waiting.pop(0)
        if cls in seen:
            continue
        seen.add(cls)
        yield type_names(cls)[0], cls
        for field in fields_of(cls):
            for inner in descriptors_in(field.type):
                registered = UNIONS[inner].items() if inner in UNIONS else [("", inner)]
                waiting.extend(member for _, member in registered)


def rows(cls: type[Descriptor]) -> list[Row]:
    """The table of one descriptor."""
    table = []
    for field in fields_of(cls):
        explained = option_of(field)
        required = field.default is attrs.NOTHING
        default = "" if required else json.dumps(plain(_default(field)))
        kind = words(field.type)
        if explained.choices is not None:
            kind = " or ".join([*map(repr, explained.choices()), *other_words(field.type)])
        table.append(Row(field.name, kind, default, explained.unit, explained.doc))
    return table


def summary(cls: type[Descriptor]) -> str:
    """What a descriptor's docstring says, as one text without line breaks inside paragraphs."""
    paragraphs = inspect.cleandoc(cls.__doc__ or "").split("\n\n")
    return "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)


def descriptors_in(annotation: Any) -> Iterator[type[Descriptor]]:
    """The descriptors, and bases that stand for registered ones, that an annotation names."""
    if is_descriptor(annotation):
        yield annotation
    elif origin(annotation) is not Literal:
        for part in get_args(annotation):
            yield from descriptors_in(part)


def _default(field: attrs.Attribute[Any]) -> Any:
    default: Any = field.default
    return default.factory() if isinstance(default, attrs.Factory) else default  # type: ignore[arg-type]


def _of(annotation: Any, definitions: dict[str, Schema], explained: Option | None = None) -> Schema:
    """The schema of an annotation; *explained* bounds the outermost value of it."""
    bounds = explained or Option("")
    if bounds.form is not None:
        return bounds.form.schema()
    if is_union(annotation):
        return {"anyOf": [_of(part, definitions, explained) for part in get_args(annotation)]}
    if is_dtype(annotation):
        definitions.setdefault("dtype", _DTYPE)
        return {"$ref": "#/$defs/dtype"}
    if is_descriptor(annotation):
        return {"$ref": f"#/$defs/{_define(annotation, definitions)}"}
    if annotation is Any:
        return {}
    if origin(annotation) is Literal:
        return {"enum": list(get_args(annotation))}
    (name,) = json_types(annotation)
    match name:
        case "string" if bounds.choices is not None:
            return {
                "type": "string",
                "enum": list(bounds.choices()),
                **_length(bounds, "minLength"),
            }
        case "string":
            return {"type": "string", **_length(bounds, "minLength")}
        case "number" if annotation is int:
            return {"type": "integer", **_range(bounds)}
        case "number":
            return {"type": "number", "minimum": -_LARGEST, "maximum": _LARGEST, **_range(bounds)}
        case "array":
            return {
                "type": "array",
                **_items(annotation, definitions),
                **_length(bounds, "minItems"),
            }
        case "object":
            _, item = get_args(annotation)
            return {"type": "object", "additionalProperties": _of(item, definitions)}
    return {"type": name}


def _range(bounds: Option) -> Schema:
    low = {} if bounds.ge is None else {"minimum": bounds.ge}
    return low if bounds.gt is None else {**low, "exclusiveMinimum": bounds.gt}


def _length(bounds: Option, keyword: str) -> Schema:
    return {} if bounds.min_length is None else {keyword: bounds.min_length}


def _items(annotation: Any, definitions: dict[str, Schema]) -> Schema:
    args = get_args(annotation)
    if origin(annotation) is tuple and args[-1] is not ...:
        parts = [_of(part, definitions) for part in args]
        return {"prefixItems": parts, "minItems": len(parts), "maxItems": len(parts)}
    return {"items": _of(args[0], definitions)}


def _define(cls: type[Descriptor], definitions: dict[str, Schema]) -> str:
    """Make the definition of a descriptor or of a union of them; gives its name."""
    if cls in UNIONS:
        name = UNIONS[cls].what
        if name not in definitions:
            definitions[name] = {}  # taken, should it refer to itself
            members = [_define(member, definitions) for _, member in UNIONS[cls].items()]
            definitions[name] = {
                "description": summary(cls),
                "type": "object",
                "required": ["type"],
                "oneOf": [{"$ref": f"#/$defs/{member}"} for member in members],
            }
        return name
    name = type_names(cls)[0]
    if name not in definitions:
        definitions[name] = {}
        fields = fields_of(cls)
        definitions[name] = {
            "description": summary(cls),
            "type": "object",
            "properties": {
                "type": _type_key(cls),
                **{field.name: _property(field, definitions) for field in fields},
            },
            "required": [field.name for field in fields if field.default is attrs.NOTHING],
            "additionalProperties": False,
        }
    return name


def _type_key(cls: type[Descriptor]) -> Schema:
    name, *older = type_names(cls)
    if not older:
        return {"const": name, "default": name}
    spellings: list[Schema] = [{"const": name}]
    for spelling in older:
        note = f"An older spelling of {name}."
        spellings.append({"const": spelling, "deprecated": True, "description": note})
    return {"oneOf": spellings, "default": name}


def _property(field: attrs.Attribute[Any], definitions: dict[str, Schema]) -> Schema:
    explained = option_of(field)
    unit = f" Unit: {explained.unit}." if explained.unit else ""
    schema = {"description": explained.doc + unit, **_of(field.type, definitions, explained)}
    if field.default not in (attrs.NOTHING, UNWRITTEN):
        schema["default"] = plain(_default(field))
    return schema


_LENGTH: Schema = {"type": "integer", "minimum": 1, "maximum": MAX_LENGTH}

_DTYPE: Schema = {
    "description": "A type of data: a name, or the fields of a struct. Other names of numpy and "
    "Tango for these types are read too.",
    "anyOf": [
        {"type": "string", "examples": ["float64", "int32", "string", "datetime64[ns]"]},
        {
            "type": "array",
            "minItems": 1,
            "items": {
                "description": "The name of a field, its dtype, and its shape if it has one.",
                "type": "array",
                "prefixItems": [
                    {"type": "string", "minLength": 1},
                    {"$ref": "#/$defs/dtype"},
                    {
                        "anyOf": [
                            {"type": "null"},
                            _LENGTH,
                            {"type": "array", "items": _LENGTH},
                        ]
                    },
                ],
                "minItems": 2,
                "maxItems": 3,
            },
        },
    ],
}
