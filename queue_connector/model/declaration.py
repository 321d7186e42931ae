"""What the class of a descriptor must be: told to whoever wrote it, before anybody uses it.

* errors    `TypeError`, which names the class and the field; a programmer's, since no
            configuration can cause it
"""

from __future__ import annotations

from typing import Any, get_args

from .annotations import fields_of, is_descriptor, is_dtype, is_union, json_types, origin
from .endpoints import UNIONS
from .option import METADATA, Descriptor

_PERMITTED = (
    "str, bool, int, float, None, Any, Literal, numpy.dtype, another descriptor, "
    "list[…], tuple[…], dict[str, …], or a union of those that differ in JSON"
)


def check_declaration(cls: type[Descriptor]) -> None:
    """Refuse a class that parser, JSON Schema and tables could not read alike.

    Raises:
        TypeError: it is no attrs class, or a field has no `option` or a type that JSON has not.
    """
    name = f"{cls.__module__}.{cls.__qualname__}"
    if "__attrs_attrs__" not in vars(cls):
        raise TypeError(
            f"the descriptor {name} is no attrs class: write @attrs.frozen(kw_only=True) directly "
            "above it, below the line that registers it"
        )
    try:
        fields = fields_of(cls)
    except NameError as error:
        raise TypeError(
            f"the annotations of the descriptor {name} cannot be read: {error}; import what they "
            "name at the top of the module, not only for type checkers"
        ) from error
    for field in fields:
        where = f"the field {field.name!r} of the descriptor {name}"
        if METADATA not in field.metadata:
            raise TypeError(
                f"{where} is not explained: write {field.name}: … = queue_connector.option(doc=…)"
            )
        if reason := _refusal(field.type):
            raise TypeError(f"{where} {reason}")


def check_registered(known: dict[str, set[str]]) -> None:
    """Refuse what was registered beside the *known* names and is no descriptor as it should be.

    It is registered no longer: whatever reads all descriptors goes on without it.

    Raises:
        TypeError: as of `check_declaration`, of the first that is refused.
    """
    refused: list[TypeError] = []
    for registry in UNIONS.values():
        for name, cls in list(registry.items()):
            if name not in known[registry.what]:
                try:
                    check_declaration(cls)
                except TypeError as error:
                    registry.remove(name)
                    refused.append(error)
    if refused:
        raise refused[0]


def registered() -> dict[str, set[str]]:
    """The names of all sources, sinks, pipes and policies that are registered by now."""
    return {registry.what: set(registry) for registry in UNIONS.values()}


def _refusal(annotation: Any) -> str:
    """Why a field cannot have this type; empty where it can."""
    parts = [part for part in get_args(annotation) if part is not ...]
    if is_union(annotation):
        taken = [name for part in parts for name in _json_types(part)]
        if len(taken) != len(set(taken)):
            return f"is {annotation}: JSON cannot tell the members of this union apart"
        return next(filter(None, map(_refusal, parts)), "")
    if is_dtype(annotation) or is_descriptor(annotation):
        return ""
    if not _json_types(annotation):
        return f"is of the type {annotation}, which JSON has not; permitted: {_PERMITTED}"
    base = origin(annotation)
    if base in (list, tuple, dict):
        if not parts or (base is dict and parts[0] is not str):
            return f"is of the type {annotation}; write list[…], tuple[…] or dict[str, …]"
        return next(filter(None, map(_refusal, parts)), "")
    return ""


def _json_types(annotation: Any) -> frozenset[str]:
    try:
        return json_types(annotation)
    except TypeError:
        return frozenset()
