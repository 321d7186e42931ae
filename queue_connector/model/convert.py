"""JSON-like values ⇄ descriptors: strict, and every fault with its JSON path.

What is judged falls in two. **Structure** is keys, types of values, bounds and names of
descriptors: all of it comes from the fields and registries, and the JSON Schema says the same.
**Meaning** is what only this parser knows: which text names a dtype, and what goes with what
(`QueueConnectorDescriptor.faults`).

* numbers   ``2.0`` is a whole number, as in JSON Schema; ``true`` is none; the fields of
            descriptors are finite, NaN and infinities are for data
* dtype     its form (text, or a list of ``[name, dtype]`` or ``[name, dtype, shape]``) is
            structure; the names in it are meaning
* limits    of one list or object, the first `MAX_FAULTS` broken entries are reported
* errors    `ConfigError`, nothing else, whatever the value
"""

from __future__ import annotations

import contextlib
import itertools
import re
import types
import typing
from collections.abc import Callable, Iterator
from contextvars import ContextVar
from typing import Any, Literal, TypeVar, cast, get_args

import attrs
import cattrs
import numpy as np
from cattrs.errors import (
    AttributeValidationNote,
    BaseValidationError,
    ClassValidationError,
    IterableValidationError,
    IterableValidationNote,
)
from cattrs.gen import make_dict_structure_fn, override

from .annotations import (
    fields_of,
    is_descriptor,
    is_dtype,
    is_union,
    json_type,
    json_types,
    origin,
    other_words,
    type_names,
    words,
)
from .datatypes import DtypeError, dtype_name, parse_dtype
from .descriptors import (
    UNIONS,
    Descriptor,
    Option,
    option_of,
    step,
)
from .errors import ConfigError, Fault
from .registry import did_you_mean

D = TypeVar("D", bound=Descriptor)

MAX_FAULTS = 100
"""Broken entries of one list or object that are reported, so that a report stays readable."""

MAX_LENGTH = 2**31 - 1
"""The largest length of a dimension in a struct: numpy's."""


def structure(value: object, cls: type[D]) -> D:
    """One descriptor from a JSON-like value, without judging what goes with what.

    Raises:
        ConfigError: with everything that is wrong with the value; paths start at the value.
    """
    attempt = read_as(value, cls)
    if attempt.failed:
        raise ConfigError([*attempt.structure, *attempt.meaning])
    return cast(D, attempt.made)


@attrs.frozen
class Attempt:
    """What came of reading a value: something, or the faults that it has."""

    made: Any = None
    structure: tuple[Fault, ...] = ()
    meaning: tuple[Fault, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether there are faults, and nothing is made."""
        return bool(self.structure or self.meaning)


def read_as(value: object, annotation: Any) -> Attempt:
    """Make a JSON-like value what an annotation says; paths start at the value."""
    try:
        return Attempt(_converter.structure(value, annotation))
    except (BaseValidationError, Complaint) as error:
        return Attempt(None, *map(tuple, _sorted_out(error)))


def read_field(value: object, field: attrs.Attribute[Any]) -> Attempt:
    """The same for the value of a descriptor's field, with what its option says."""
    try:
        return Attempt(_bounded(field, _converter)(value, field.type))
    except (BaseValidationError, Complaint) as error:
        return Attempt(None, *map(tuple, _sorted_out(error)))


_stand_in: ContextVar[tuple[np.dtype[Any], list[object]] | None]
_stand_in = ContextVar("stand_in", default=None)


@contextlib.contextmanager
def dtypes_taken_for(stand_in: np.dtype[Any]) -> Iterator[list[object]]:
    """Inside, whatever is written as a dtype and is none is read as this one; gives the former."""
    replaced: list[object] = []
    token = _stand_in.set((stand_in, replaced))
    try:
        yield replaced
    finally:
        _stand_in.reset(token)


def unstructure(descriptor: Descriptor) -> dict[str, Any]:
    """The JSON-like object that `structure` makes an equal descriptor of, with every key."""
    written: dict[str, Any] = _converter.unstructure(descriptor)
    return written


def plain(value: object) -> Any:
    """Any value of a descriptor's field as a configuration writes it."""
    return _converter.unstructure(value)


# --- complaints, and the paths to them


class Complaint(ValueError):
    """One thing that is wrong with the value at hand; ``where`` leads on from its path."""

    def __init__(
        self, message: str, hint: str = "", *, where: str = "", meaning: bool = False
    ) -> None:
        self.message = message
        self.hint = hint
        self.where = where
        self.meaning = meaning
        super().__init__(message)


def _unlike(expected: str, value: object, hint: str = "") -> Complaint:
    return Complaint(f"expected {expected}, found {describe(value)}", hint)


def describe(value: object) -> str:
    """A JSON-like value in a few words."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case str():
            return f"text {shown(value)}"
        case int() | float():
            return f"number {shown(value)}"
        case list():
            return f"a list of {len(value)}"
        case dict():
            return f"an object with {len(value)} keys" if value else "an empty object"
    return f"a Python {type(value).__name__}, which JSON has not"


_NAMES_A_SECRET = re.compile(
    r"passw|secret|passphrase|private.key|sasl\.|ssl\.|\boptions\b", re.IGNORECASE
)


def holds_secrets(text: str) -> bool:
    """Whether a text has names in it that secrets stand beside, so that one may be in it too."""
    return _NAMES_A_SECRET.search(text) is not None


def shown(value: object) -> str:
    """The repr of a value, cut to what a message bears; nothing of what may hold a secret."""
    if isinstance(value, str):
        if holds_secrets(value):
            return f"of length {len(value)}, which is not shown as it names a secret"
        if value.lstrip()[:1] in ("{", "["):
            return f"of length {len(value)}, which looks like JSON"
        if len(value) > 60:
            return f"{value[:57]!r}…"
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python refuses to write very long numbers
        return "too long to show"
    if holds_secrets(text):
        return "something that is not shown as it names a secret"
    return text if len(text) <= 60 else text[:57] + "…"


def _sorted_out(error: Exception) -> tuple[list[Fault], list[Fault]]:
    """The faults of structure and those of meaning in what a hook raised."""
    structural: list[Fault] = []
    meaning: list[Fault] = []
    for complaint, path in _complaints(error, "$"):
        fault = Fault(path + complaint.where, complaint.message, complaint.hint)
        (meaning if complaint.meaning else structural).append(fault)
    return structural, meaning


def _complaints(error: Exception, path: str) -> Iterator[tuple[Complaint, str]]:
    if isinstance(error, BaseValidationError):
        for part in error.exceptions:
            yield from _complaints(part, path + _noted_step(part))
    elif isinstance(error, Complaint):
        yield error, path
    else:  # what an attrs class says about its fields together
        yield Complaint(str(error)), path


def _noted_step(error: Exception) -> str:
    """The step of the path that cattrs noted on an exception."""
    for note in getattr(error, "__notes__", ()):
        match note:
            case AttributeValidationNote():
                return step(note.name)
            case IterableValidationNote():
                return step(note.index)
    return ""


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


def _text(value: object, _: Any) -> str:
    if isinstance(value, str):
        return value
    raise _unlike("text", value, "write it in double quotes" if _is_number(value) else "")


def _boolean(value: object, _: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _unlike("true or false", value)


def _whole(value: object, _: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    if isinstance(value, float) and value.is_integer():
        return int(value)
    raise _unlike("a whole number", value, _unquoted(value))


def _real(value: object, _: Any) -> float:
    if _is_number(value):
        try:
            number = float(typing.cast(float, value))
        except OverflowError:
            number = np.inf
        if np.isfinite(number):
            return number
        raise _unlike("a finite number", value)
    raise _unlike("a number", value, _unquoted(value))


def _null(value: object, _: Any) -> None:
    if value is not None:
        raise _unlike("null", value)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unquoted(value: object) -> str:
    try:
        float(value) if isinstance(value, str) else float("no")
    except ValueError:
        return ""
    return "write it without quotes"


def _literal_hook(annotation: Any, _: cattrs.BaseConverter) -> Any:
    allowed = get_args(annotation)

    def hook(value: object, _: Any) -> object:
        for choice in allowed:
            if type(choice) is type(value) and choice == value:
                return choice
        raise _not_among(value, [str(choice) for choice in allowed], words(annotation))

    return hook


def _not_among(value: object, allowed: list[str], expected: str) -> Complaint:
    hint = did_you_mean(value, allowed) if isinstance(value, str) else ""
    return _unlike(expected, value, "" if hint.startswith("known") else hint)


def _list_hook(annotation: Any, converter: cattrs.BaseConverter) -> Any:
    (item,) = get_args(annotation)
    take = converter.get_structure_hook(item)

    def hook(value: object, _: Any) -> list[Any]:
        if not isinstance(value, list):
            raise _unlike(f"a {words(annotation)}", value, "write it in [ ]")
        taken: list[Any] = []
        entries = ((index, entry, item) for index, entry in enumerate(value))
        _each(entries, lambda _, entry, kind: taken.append(take(entry, kind)), "list")
        return taken

    return hook


def _tuple_hook(annotation: Any, converter: cattrs.BaseConverter) -> Any:
    args = get_args(annotation)
    if args[-1] is ...:
        as_list = _list_hook(list[args[0]], converter)  # type: ignore[valid-type]
        return lambda value, kind: tuple(as_list(value, kind))
    takes = {kind: converter.get_structure_hook(kind) for kind in args}

    def hook(value: object, _: Any) -> tuple[Any, ...]:
        if not isinstance(value, list) or len(value) != len(args):
            raise _unlike(words(annotation), value, f"write exactly {len(args)} entries in [ ]")
        taken: list[Any] = []
        entries = ((i, *pair) for i, pair in enumerate(zip(value, args, strict=True)))
        _each(entries, lambda _, entry, kind: taken.append(takes[kind](entry, kind)), "list")
        return tuple(taken)

    return hook


def _dict_hook(annotation: Any, converter: cattrs.BaseConverter) -> Any:
    _, item = get_args(annotation)
    take = converter.get_structure_hook(item)

    def hook(value: object, _: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise _unlike(f"a {words(annotation)}", value, "write it in { }")
        taken: dict[str, Any] = {}
        entries = ((key, entry, item) for key, entry in value.items())
        _each(entries, lambda key, entry, kind: taken.update({key: take(entry, kind)}), "mapping")
        return taken

    return hook


def _union_hook(annotation: Any, converter: cattrs.BaseConverter) -> Any:
    """The members of a union are told apart by the JSON type of the value alone."""
    takes: dict[str, tuple[Any, Any]] = {}
    for member in get_args(annotation):
        for name in json_types(member):
            if name in takes:
                raise TypeError(f"two members of {annotation} take a JSON {name}")
            takes[name] = (converter.get_structure_hook(member), member)

    def hook(value: object, _: Any) -> Any:
        if (name := json_type(value)) not in takes:
            raise _unlike(words(annotation), value)
        take, member = takes[name]
        return take(value, member)

    return hook


def _registered_hook(base: Any, converter: cattrs.BaseConverter) -> Any:
    """Whatever is registered for a base; the key ``type`` says which."""
    registry = UNIONS[base]

    def hook(value: object, _: Any) -> Any:
        if not isinstance(value, dict):
            raise _unlike(f"a {registry.what}", value, 'write an object with the key "type"')
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


def _descriptor_hook(cls: Any, converter: cattrs.BaseConverter) -> Any:
    """An object with the keys of a descriptor and no others."""
    fields = {field.name: field for field in fields_of(cls)}
    overrides = {
        name: override(struct_hook=_bounded(field, converter)) for name, field in fields.items()
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
            raise _unlike(f"an object: {name}", value, "write it in { }")
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
                expected = words(fields[key].type)
                message = f"the key is missing; expected {expected}"
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


def _bounded(
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


def _dtype(value: object, _: Any) -> np.dtype[Any]:
    errors = list(itertools.islice(_dtype_complaints(value, ""), MAX_FAULTS))
    if not errors:
        try:
            return parse_dtype(_whole_lengths(value))
        except DtypeError as error:
            errors = [Complaint(error.message, error.hint, meaning=True)]
        except _NUMPY_REFUSES as error:
            errors = [Complaint(f"not a dtype: {error}", meaning=True)]
    if (standing_in := _stand_in.get()) is not None:
        standing_in[1].append(value)
        return standing_in[0]
    raise IterableValidationError("while reading a dtype", errors, list)


_NUMPY_REFUSES = (ArithmeticError, TypeError, ValueError, MemoryError, Warning)

_STRUCT = 'for example "float64", or [["name", "U8"], ["offsets", "float64", [2]]] for a struct'


def _dtype_complaints(value: object, where: str) -> Iterator[Complaint]:
    """What is wrong with the form of a dtype, and with each name in it."""

    def unlike(expected: str, found: str, at: str) -> Complaint:
        return Complaint(f"expected {expected}, found {found}", _STRUCT, where=at)

    if isinstance(value, str):
        yield from _dtype_name_complaints(value, where)
        return
    if not isinstance(value, list) or not value:
        yield unlike("the name of a dtype, or a list of [name, dtype]", describe(value), where)
        return
    for index, entry in enumerate(value):
        at = where + step(index)
        if not isinstance(entry, list) or len(entry) not in (2, 3):
            yield unlike("[name, dtype] or [name, dtype, shape]", describe(entry), at)
            continue
        if not isinstance(entry[0], str) or not entry[0]:
            yield unlike("the name of a field", describe(entry[0]), at + "[0]")
        yield from _dtype_complaints(entry[1], at + "[1]")
        if not all(map(_is_length, _lengths(entry))):
            yield unlike("a positive length or a list of them", shown(entry[2]), at + "[2]")


def _dtype_name_complaints(name: str, where: str) -> Iterator[Complaint]:
    try:
        parse_dtype(name)
    except DtypeError as error:
        yield Complaint(error.message, error.hint, where=where, meaning=True)


def _lengths(entry: list[Any]) -> list[Any]:
    """The lengths in the field of a struct; none for a scalar."""
    shape = entry[2] if len(entry) == 3 else None
    return shape if isinstance(shape, list) else [] if shape is None else [shape]


def _is_length(value: object) -> bool:
    try:
        return 1 <= _whole(value, int) <= MAX_LENGTH
    except Complaint:
        return False


def _whole_lengths(value: Any) -> Any:
    """A dtype of the right form with every length as Python's own whole number: 2.0 is 2."""
    if isinstance(value, str):
        return value
    return [
        [entry[0], _whole_lengths(entry[1]), [int(length) for length in _lengths(entry)]]
        for entry in value
    ]


def _unstructured(descriptor: Descriptor) -> dict[str, Any]:
    fields = attrs.fields(type(descriptor))
    values = {field.name: plain(getattr(descriptor, field.name)) for field in fields}
    return {"type": type_names(type(descriptor))[0], **values}


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True)
    for annotation, take in {
        str: _text,
        bool: _boolean,
        int: _whole,
        float: _real,
        types.NoneType: _null,
    }.items():
        converter.register_structure_hook(annotation, take)
    for applies, factory in (
        (is_union, _union_hook),
        (lambda kind: origin(kind) is Literal, _literal_hook),
        (lambda kind: origin(kind) is list, _list_hook),
        (lambda kind: origin(kind) is tuple, _tuple_hook),
        (lambda kind: origin(kind) is dict, _dict_hook),
        (is_descriptor, _descriptor_hook),
        (lambda kind: kind in UNIONS, _registered_hook),
    ):
        converter.register_structure_hook_factory(applies, factory)
    converter.register_structure_hook_func(is_dtype, _dtype)
    converter.register_unstructure_hook_func(is_dtype, dtype_name)
    converter.register_unstructure_hook_func(is_descriptor, _unstructured)
    converter.register_unstructure_hook_func(
        lambda kind: origin(kind) is tuple, lambda value: list(map(plain, value))
    )
    return converter


_converter = _make_converter()
