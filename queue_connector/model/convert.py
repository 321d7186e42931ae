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

import types
from typing import Any, Literal, TypeVar, cast

import attrs
import cattrs
from cattrs.errors import (
    BaseValidationError,
)

from .annotations import (
    is_descriptor,
    is_dtype,
    is_union,
    origin,
    type_names,
)
from .complaint import Complaint, sorted_out
from .datatypes import dtype_name
from .dtype_hook import dtype_hook
from .endpoints import UNIONS
from .errors import ConfigError, Fault
from .hooks import (
    boolean_hook,
    bounded,
    descriptor_hook,
    dict_hook,
    list_hook,
    literal_hook,
    null_hook,
    real_hook,
    registered_hook,
    text_hook,
    tuple_hook,
    union_hook,
    whole_hook,
)
from .option import Descriptor

D = TypeVar("D", bound=Descriptor)


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
        return Attempt(None, *map(tuple, sorted_out(error)))


def read_field(value: object, field: attrs.Attribute[Any]) -> Attempt:
    """The same for the value of a descriptor's field, with what its option says."""
    try:
        return Attempt(bounded(field, _converter)(value, field.type))
    except (BaseValidationError, Complaint) as error:
        return Attempt(None, *map(tuple, sorted_out(error)))


def unstructure(descriptor: Descriptor) -> dict[str, Any]:
    """The JSON-like object that `structure` makes an equal descriptor of, with every key."""
    written: dict[str, Any] = _converter.unstructure(descriptor)
    return written


def plain(value: object) -> Any:
    """Any value of a descriptor's field as a configuration writes it."""
    return _converter.unstructure(value)


def _unstructured(descriptor: Descriptor) -> dict[str, Any]:
    fields = attrs.fields(type(descriptor))
    values = {field.name: plain(getattr(descriptor, field.name)) for field in fields}
    return {"type": type_names(type(descriptor))[0], **values}


def _make_converter() -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=True)
    for annotation, take in {
        str: text_hook,
        bool: boolean_hook,
        int: whole_hook,
        float: real_hook,
        types.NoneType: null_hook,
    }.items():
        converter.register_structure_hook(annotation, take)
    for applies, factory in (
        (is_union, union_hook),
        (lambda kind: origin(kind) is Literal, literal_hook),
        (lambda kind: origin(kind) is list, list_hook),
        (lambda kind: origin(kind) is tuple, tuple_hook),
        (lambda kind: origin(kind) is dict, dict_hook),
        (is_descriptor, descriptor_hook),
        (lambda kind: kind in UNIONS, registered_hook),
    ):
        converter.register_structure_hook_factory(applies, factory)
    converter.register_structure_hook_func(is_dtype, dtype_hook)
    converter.register_unstructure_hook_func(is_dtype, dtype_name)
    converter.register_unstructure_hook_func(is_descriptor, _unstructured)
    converter.register_unstructure_hook_func(
        lambda kind: origin(kind) is tuple, lambda value: list(map(plain, value))
    )
    return converter


_converter = _make_converter()
