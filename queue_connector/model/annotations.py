"""What the annotation of a descriptor's field means to JSON: read by parser, schema and docs.

* annotations   ``str``, ``bool``, ``int``, ``float``, ``None``, ``Any``, ``Literal``, numpy
                dtypes, descriptors, ``list``, ``tuple``, ``dict`` of names, and unions whose
                members differ in their JSON type
* errors        `TypeError` for any other; a programmer's, since no configuration can cause it
"""

from __future__ import annotations

import types
import typing
from typing import Any, Literal, get_args

import attrs
import numpy as np

from .endpoints import UNIONS
from .option import Descriptor


def fields_of(cls: type[Descriptor]) -> tuple[attrs.Attribute[Any], ...]:
    """The fields of a descriptor, with their annotations resolved."""
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(attrs.resolve_types(cls))
    return fields


def origin(annotation: Any) -> Any:
    """``list`` for ``list[int]``; the annotation itself when it has no arguments."""
    return typing.get_origin(annotation) or annotation


def type_names(cls: type[Descriptor]) -> tuple[str, ...]:
    """What the key ``type`` of a descriptor may say: its name, then its older spellings."""
    for base, registry in UNIONS.items():
        if issubclass(cls, base) and cls is not base:
            name = registry.name_of(cls)
            return (name, *registry.aliases_of(name))
    return (cls.__name__,)


def is_union(annotation: Any) -> bool:
    """Whether an annotation offers several types."""
    return origin(annotation) in (typing.Union, types.UnionType)


def is_dtype(annotation: Any) -> bool:
    """Whether an annotation means a numpy dtype."""
    base = origin(annotation)
    return isinstance(base, type) and issubclass(base, np.dtype)


def is_descriptor(annotation: Any) -> bool:
    """Whether an annotation is a descriptor, or a base that stands for the registered ones."""
    return isinstance(annotation, type) and issubclass(annotation, Descriptor)


def json_types(annotation: Any) -> frozenset[str]:
    """The JSON types of the values that an annotation takes."""
    if is_union(annotation):
        return frozenset().union(*map(json_types, get_args(annotation)))
    if origin(annotation) is Literal:
        return frozenset(map(json_type, get_args(annotation)))
    if is_dtype(annotation):
        return frozenset({"string", "array"})
    if is_descriptor(annotation):
        return frozenset({"object"})
    if annotation is Any:
        return frozenset({"string", "boolean", "number", "array", "object", "null"})
    name = _JSON_TYPES.get(origin(annotation))
    if name is None:
        raise TypeError(f"a descriptor cannot have a field of the type {annotation}")
    return frozenset({name})


_JSON_TYPES: dict[Any, str] = {
    str: "string",
    bool: "boolean",
    int: "number",
    float: "number",
    list: "array",
    tuple: "array",
    dict: "object",
    types.NoneType: "null",
}

_WORDS: dict[Any, str] = {
    str: "text",
    bool: "true or false",
    int: "whole number",
    float: "number",
    types.NoneType: "null",
    Any: "any JSON value",
}


def json_type(value: object) -> str:
    """The JSON type of a value; empty for what JSON has not. Whole numbers are numbers."""
    return _JSON_TYPES.get(type(value), "")


def other_words(annotation: Any) -> list[str]:
    """What a field that offers a choice of texts may be besides, in words."""
    return [words(part) for part in get_args(annotation) if part is not str]


def words(annotation: Any) -> str:
    """An annotation for a person who knows JSON and no Python."""
    args = get_args(annotation)
    if annotation in _WORDS:
        return _WORDS[annotation]
    if is_union(annotation):
        return " or ".join(map(words, args))
    if is_dtype(annotation):
        return "name of a dtype, or list of [name, dtype]"
    if is_descriptor(annotation):
        return UNIONS[annotation].what if annotation in UNIONS else type_names(annotation)[0]
    match origin(annotation):
        case typing.Literal:
            return " or ".join(map(repr, args))
        case base if base is dict:
            return f"mapping of names to {words(args[1])}"
        case base if base is tuple and args[-1] is not ...:
            return f"[{', '.join(map(words, args))}]"
    item = words(args[0])
    return f"list of ({item})" if " or " in item else f"list of {item}"
