"""Data of an exchange ⇄ values of a Tango attribute: types, dimensions, names, text.

* types     the rows of the specification's table that have a Tango type; int8 has none
* shapes    ``()`` is SCALAR, one dimension SPECTRUM, two IMAGE of (rows, columns): the second
            length is ``max_dim_x``, the first ``max_dim_y``
* text      Tango's strings are Latin-1 and end at the first NUL; other text is a data error
* errors    `ConformError` for a value that Tango cannot carry
* light     Tango itself is not imported: its types and formats are told by their names
* source    Tango Controls RFC 4 (attributes), 9 (data types) and 16 (resource locators)
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import attrs
import numpy as np

from ...model.conform import conform
from ...model.datatypes import Data, DataSpec, Kind
from ...model.errors import ConformError, Fault
from ...model.services import Place

EVENT_TYPES = {
    "CHANGE_EVENT": 0,
    "PERIODIC_EVENT": 2,
    "ARCHIVE_EVENT": 3,
    "USER_EVENT": 4,
    "ALARM_EVENT": 9,
}
"""The types of event that carry a value, by name, with the number that Tango has for each."""

TANGO_KINDS = frozenset({Kind.BYTES, Kind.STR, Kind.BOOL, Kind.INT, Kind.FLOAT})
"""The kinds of dtype that an attribute may have."""

_NUMBERS = {
    "b1": "DevBoolean",
    "u1": "DevUChar",
    "i2": "DevShort",
    "u2": "DevUShort",
    "i4": "DevLong",
    "u4": "DevULong",
    "i8": "DevLong64",
    "u8": "DevULong64",
    "f4": "DevFloat",
    "f8": "DevDouble",
}
_FORMATS = ("SCALAR", "SPECTRUM", "IMAGE")

_MEMBER = r"[^\s/#:]+"
_DEVICE_NAME = re.compile(
    rf"((tango:)?//{_MEMBER}:\d+/|{_MEMBER}:\d+/)?{_MEMBER}/{_MEMBER}/{_MEMBER}(#dbase=(yes|no))?",
    re.IGNORECASE | re.ASCII,
)
MAX_ATTRIBUTE_NAME = 255
"""Characters of an attribute's name; a Tango database keeps no more."""

_ATTRIBUTE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*", re.ASCII)


def tango_type(spec: DataSpec) -> str | None:
    """The type of an attribute that carries *spec*, ``DevDouble``, or None where there is none."""
    if spec.labels:
        return "DevEnum"
    match spec.kind:
        case Kind.STR:
            return "DevString"
        case Kind.BYTES:
            return "DevEncoded"
    return _NUMBERS.get(f"{spec.dtype.kind}{spec.dtype.itemsize}")


def dimensions(spec: DataSpec) -> dict[str, Any]:
    """Format, by its name, and largest dimensions of an attribute, by PyTango's keys of them."""
    described: dict[str, Any] = {"dformat": _FORMATS[len(spec.shape)]}
    for name, length in zip(("max_dim_x", "max_dim_y"), reversed(spec.shape), strict=False):
        described[name] = max(length, 1)  # Tango wants room for one; `conform` keeps it empty
    if spec.labels:
        described["enum_labels"] = list(spec.labels)
    return described


def from_tango(value: object, dimensions: int) -> object:
    """A value that Tango handed over, in memory of its own.

    Tango's arrays are views of a buffer that lives as long as the event; its empty ones may have
    fewer dimensions than the attribute.
    """
    if isinstance(value, np.ndarray):
        return value.copy()
    if dimensions and (value is None or value == ()):
        return np.empty((0,) * dimensions, None if value is None else "U")
    return value


def lengthened(value: object, spec: DataSpec) -> object:
    """A value of Tango with the lengths of the shape, where it has no elements to tell them.

    An image of two rows without columns comes as one without rows and columns.
    """
    lengths = [max(length, 0) for length in spec.shape]
    if isinstance(value, np.ndarray) and not value.size and value.ndim == len(lengths):
        return value.reshape(lengths) if 0 in lengths else value
    return value


def fit(value: object, spec: DataSpec) -> Data:
    """The value as an attribute of this *spec* can carry it; the shape is a maximum.

    Raises:
        ConformError: it does not fit, or is text that Tango cannot carry.
    """
    fitting = conform(value, spec, shorter=True)
    if spec.kind is Kind.STR:
        texts = _distinct(fitting).flat if isinstance(fitting, np.ndarray) else (fitting,)
    elif spec.kind is Kind.BYTES:
        texts = (fitting[0],)
    else:
        return fitting
    for text in texts:
        if "\0" in text:
            raise ConformError(spec, _excerpt(text), "Tango's strings end at a NUL character")
        try:
            text.encode("latin-1")
        except UnicodeEncodeError as error:
            reason = f"Tango's strings are Latin-1, which has no {text[error.start]!r}"
            raise ConformError(spec, _excerpt(text), reason) from None
    return fitting


def _distinct(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The elements of an array without those that broadcasting repeats: a shape may be huge."""
    return array[tuple(slice(None) if step else slice(1) for step in array.strides)]


def wire(value: Data) -> Any:
    """A fitting value in the form that PyTango turns into an attribute's value."""
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "U":
            return value.tolist()
        if value.flags.c_contiguous and value.dtype.isnative:
            return value
        return np.ascontiguousarray(value, value.dtype.newbyteorder("="))
    return value.item() if isinstance(value, np.generic) else value


def legible(text: str) -> str:
    """Text for a person, as far as Tango carries it; other characters by their number."""
    return text.encode("latin-1", "backslashreplace").decode("latin-1").replace("\0", "\\0")


def _excerpt(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


def type_faults(spec: DataSpec) -> Iterator[Fault]:
    """Of the kinds that Tango carries, the dtypes that it does not."""
    if spec.kind in TANGO_KINDS and tango_type(spec) is None:
        yield Fault("$", f"Tango has no type for {spec}", "write a wider dtype, such as int16")
    for label in spec.labels:
        if "\0" in label or legible(label) != label:
            hint = "Tango's strings are Latin-1 and end at a NUL character"
            yield Fault("$", f"Tango does not carry the label {_excerpt(label)}", hint)


def device_name_faults(name: str) -> Iterator[Fault]:
    """What is wrong with the name of a device."""
    if not _DEVICE_NAME.fullmatch(name):
        yield Fault(
            "$.device_name",
            f"{name!r} is not the name of a Tango device",
            "write domain/family/member, or tango://host:port/domain/family/member#dbase=no",
        )


def attribute_name_faults(name: str, path: str = "$.attribute_name") -> Iterator[Fault]:
    """What is wrong with the name of an attribute."""
    if len(name) > MAX_ATTRIBUTE_NAME:
        yield Fault(
            path,
            f"expected at most {MAX_ATTRIBUTE_NAME} characters, found {len(name)}",
            "choose a shorter name",
        )
    elif not _ATTRIBUTE_NAME.fullmatch(name):
        yield Fault(
            path,
            f"{name!r} is not the name of a Tango attribute",
            "write letters, digits, '_', '-' and '.', beginning with a letter",
        )


def attribute_place(device: str, attribute: str) -> Place:
    """An attribute of another device as what is written there.

    A device may send no event for a value that it has, so not all comes back that is written.
    """
    device = device.lower().removeprefix("tango:").removeprefix("//").removesuffix("#dbase=yes")
    name = f"{device}/{attribute.lower()}"
    what = f"the attribute {name!r}"
    return Place("attribute_name", what, frozenset({("tango", name)}), passes_all=False)


def read_place(device: str, attribute: str) -> Place:
    """The same as what is read; the device may be the connector itself, wherever it is."""
    place = attribute_place(device, attribute)
    bare = "/".join(device.lower().partition("#")[0].split("/")[-3:])
    return attrs.evolve(place, keys=place.keys | {("own", f"{bare}/{attribute.lower()}")})


def own_places(device: str, names: Iterable[str]) -> Iterator[Place]:
    """Attributes that the connector of this name has itself, as what is written there."""
    for name in names:
        key = ("own", f"{device}/{name}".lower())
        yield Place("attribute_name", f"the attribute {name!r}", frozenset({key}), passes_all=False)


OWN_ATTRIBUTES = (
    *("State", "Status", "healthState", "loggingLevel"),
    *("versionId", "version", "buildState"),
    *("groups", "statistics", "configuration"),
    *("dataReceived", "dataDelivered", "dataFiltered", "dataDropped", "dataFailed"),
    *("dataInFlight", "upstreamTrouble", "exchangesPaused"),
)
"""What the device has of its own, and no sink may publish."""


def published_name_faults(name: str, path: str = "$.attribute_name") -> Iterator[Fault]:
    """What is wrong with the name of an attribute that this device is to have."""
    own = next((own for own in OWN_ATTRIBUTES if own.lower() == name.lower()), None)
    if own is not None:
        yield Fault(path, f"the device has an attribute {own!r} of its own", "choose another name")
    else:
        yield from attribute_name_faults(name, path)
