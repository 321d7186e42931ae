"""How a value of each kind of field is read: strict, with every fault of its parts."""

from __future__ import annotations

import typing
from collections.abc import Callable, Iterator
from typing import Any, get_args

import attrs
import cattrs
import numpy as np
from cattrs.errors import (
    BaseValidationError,
    ClassValidationError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from .annotations import (
    fields_of,
    json_type,
    json_types,
    other_words,
    type_names,
    words,
)
from .complaint import Complaint, describe, shown, unlike
from .declaration import check_declaration
from .endpoints import UNIONS
from .option import Option, option_of, step
from .registry import did_you_mean

MAX_FAULTS = 100
"""Broken entries of one list or object that are reported, so that a report stays readable."""

MAX_LENGTH = 2**31 - 1
"""The largest length of a dimension in a struct: numpy's."""


def _each(
    entries: Iterator[tuple[Any, Any, Any]], take: Callable[[Any, Any, Any], None], what: str
) -> None:
    """Take every (step, value, annotation); complain of all that cannot be taken, together."""
    errors: list[Exception] = []
    for key, value, annotation in entries:
        try:
            take(key, value, annotation)
        except (BaseValidationError, Complaint) as error:
            note = IterableValidationNote("", key, annotation)
            error.__notes__ = [*getattr(error, "__notes__", ()), note]
            errors.append(error)
            if len(errors) == MAX_FAULTS:
                errors.append(
                    Complaint(f"has more than {MAX_FAULTS - 1} faults; the rest is unread")
                )
                break
    if errors:
        raise IterableValidationError(f"while reading a {what}", errors, list)


# --- hooks: one per kind of annotation


def text_hook(value: object, _: Any) -> str:
    """A text."""
    if isinstance(value, str):
        return value
    raise unlike("text", value, "write it in double quotes" if _is_number(value) else "")


def boolean_hook(value: object, _: Any) -> bool:
    """``true`` or ``false``."""
    if isinstance(value, bool):
        return value
    raise unlike("true or false", value)


def whole_hook(value: object, _: Any) -> int:
    """A whole number, also where it is written as ``2.0``."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise unlike("a whole number", value, _unquoted(value))


def real_hook(value: object, _: Any) -> float:
    """A finite number."""
    if _is_number(value):
        try:
            number = float(typing.cast(float, value))
        except OverflowError:
            number = np.inf
        if np.isfinite(number):
            return number
        raise unlike("a finite number", value)
    raise unlike("a number", value, _unquoted(value))


def null_hook(value: object, _: Any) -> None:
    """Nothing."""
    if value is not None:
        raise unlike("null", value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unquoted(value: object) -> str:
    try:
        float(value) if isinstance(value, str) else float("no")
    except ValueError:
        return ""
    return "write it without quotes"


def literal_hook(annotation: Any, _: cattrs.BaseConverter) -> Any:
    """One of some texts."""
    allowed = get_args(annotation)

    def hook(value: object, _: Any) -> object:
        for choice in allowed:
            if type(choice) is type(value) and choice == value:
                return choice
        raise _not_among(value, [str(choice) for choice in allowed], words(annotation))

    return hook


def _not_among(value: object, allowed: list[str], expected: str) -> Complaint:
    hint = did_you_mean(value, allowed) if isinstance(value, str) else ""
    return unlike(expected, value, "" if hint.startswith("known") else hint)


def list_hook(annotation: Any, converter: cattrs.BaseConverter) -> Any:
    """A list, each entry as its type says."""
    (item,) = get_args(annotation)
    take = converter.get_structure_hook(item)

    def hook(value: object, _: Any) -> list[Any]:
        if not isinstance(value, list):
            raise unlike(f"a {words(annotation)}", value, "write it in [ ]")
        taken: list[Any] = []
        entries = ((index, entry, item) for index, entry in enumerate(value))
        _each(entries, lambda _, entry, kind: taken.append(take(entry, kind)), "list")
        return taken

    return hook


def tuple_hook(annotation: Any, converter: cattrs.BaseConverter) -> Any:
    """A list of a given length, or of any, each entry as its type says."""
    args = get_args(annotation)
    if args[-1] is ...:
        as_list = list_hook(list[args[0]], converter)  # type: ignore[valid-type]
        return lambda value, kind: tuple(as_list(value, kind))
    takes = {kind: converter.get_structure_hook(kind) for kind in args}

    def hook(value: object, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(args):
            raise unlike(words(annotation), value, f"write exactly {len(args)} entries in [ ]")
        taken: list[Any] = []
        entries = ((i, *pair) for i, pair in enumerate(zip(value, args, strict=True)))
        _each(entries, lambda _, entry, kind: taken.append(takes[kind](entry, kind)), "list")
        return tuple(taken)

    return hook


def dict_hook(annotation: Any, converter: cattrs.BaseConverter) -> Any:
    """An object with any keys, each value as its type says."""
    _, item = get_args(annotation)
    take = converter.get_structure_hook(item)

    def hook(value: object, _: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise unlike(f"a {words(annotation)}", value, "write it in { }")
        taken: dict[str, Any] = {}
        entries = ((key, entry, item) for key, entry in value.items())
        _each(entries, lambda key, entry, kind: taken.update({key: take(entry, kind)}), "mapping")
        return taken

    return hook


def union_hook(annotation: Any, converter: cattrs.BaseConverter) -> Any:
    """The members of a union are told apart by the JSON type of the value alone."""
    takes: dict[str, tuple[Any, Any]] = {}
    for member in get_args(annotation):
        for name in json_types(member):
            takes[name] = (converter.get_structure_hook(member), member)

    def hook(value: object, _: Any) -> Any:
        if (name := json_type(value)) not in takes:
            raise unlike(words(annotation), value)
        take, member = takes[name]
        return take(value, member)

    return hook


def registered_hook(base: Any, converter: cattrs.BaseConverter) -> Any:
    """Whatever is registered for a base; the key ``type`` says which."""
    registry = UNIONS[base]

    def hook(value: object, _: Any) -> Any:
        if not isinstance(value, dict):
            raise unlike(f"a {registry.what}", value, 'write an object with the key "type"')
        known = f"known: {', '.join(registry)}"
        if "type" not in value:
            raise Complaint("the key is missing; it tells what this is", known, where=".type")
        name = value["type"]
        if not isinstance(name, str):
            raise Complaint(f"expected text, found {describe(name)}", known, where=".type")
        current = registry.renamed(name) or name
        try:
            cls = registry.lookup(current)
        except LookupError as error:
            hint = getattr(error, "hint", known)
            message = f"no {registry.what} is called {shown(name)}"
            raise Complaint(message, hint, where=".type") from None
        return converter.structure(value, cls)

    return hook


def descriptor_hook(cls: Any, converter: cattrs.BaseConverter) -> Any:
    """An object with the keys of a descriptor and no others."""
    check_declaration(cls)
    fields = {field.name: field for field in fields_of(cls)}
    overrides = {
        name: override(struct_hook=bounded(field, converter)) for name, field in fields.items()
    }
    required = [name for name, field in fields.items() if field.default is attrs.NOTHING]
    take = make_dict_structure_fn(
        cls,
        converter,
        _cattrs_forbid_extra_keys=False,  # told below, with hints and in the order written
        _cattrs_detailed_validation=True,
        **overrides,  # type: ignore[arg-type]
    )
    known = [*fields, "type"]

    def hook(value: object, _: Any) -> Any:
        name, *older = type_names(cls)
        if not isinstance(value, dict):
            raise unlike(f"an object: {name}", value, "write it in { }")
        errors: list[Exception] = []
        if "type" in value and value["type"] not in (name, *older):
            wrong = describe(value["type"])
            errors.append(Complaint(f"expected {name!r}, found {wrong}", where=".type"))
        unknown = [key for key in value if key not in known]
        errors.extend(
            Complaint(
                f"{name} has no such key", did_you_mean(key, known, fields), where=step(_short(key))
            )
            for key in unknown[:MAX_FAULTS]
        )
        for key in required:
            if key not in value:
                message = f"the key is missing; expected {words(fields[key].type)}"
                errors.append(Complaint(message, option_of(fields[key]).doc, where=step(key)))
        try:
            result = take(value, cls)
        except ClassValidationError as error:
            errors.extend(part for part in error.exceptions if not isinstance(part, KeyError))
        if errors:
            raise ClassValidationError(f"while reading {name}", errors, cls)
        return result

    return hook


def _short(key: object) -> str:
    text = str(key)
    return text if len(text) <= 80 else text[:79] + "…"


def bounded(
    field: attrs.Attribute[Any], converter: cattrs.BaseConverter
) -> Callable[[Any, Any], Any]:
    """The hook of a field's annotation, then what its option says."""
    take = converter.get_structure_hook(field.type)
    explained: Option = option_of(field)

    def hook(value: object, _: Any) -> Any:
        if explained.form is not None and (faults := list(explained.form.faults(value))):
            errors = [
                Complaint(fault.message, fault.hint, where=fault.path.removeprefix("$"))
                for fault in faults
            ]
            raise IterableValidationError(f"while reading {field.name}", errors, dict)
        taken = take(value, field.type)
        if complaint := explained.complaint(taken):
            raise Complaint(complaint, explained.doc)
        if explained.choices is not None and isinstance(taken, str):
            allowed = list(explained.choices())
            if taken not in allowed:
                expected = " or ".join([*map(repr, allowed), *other_words(field.type)])
                misfit = _not_among(taken, allowed, expected)
                if any(taken in UNIONS.get(part, ()) for part in get_args(field.type)):
                    misfit.hint = f'it has keys: write {{"type": "{taken}", …}}'
                raise misfit
        return taken

    return hook
