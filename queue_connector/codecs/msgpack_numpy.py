"""``msgpack_numpy``: MessagePack with numpy's arrays and scalars, as that library writes them.

* wire      byte for byte what ``msgpack_numpy.packb`` writes; a struct is an array without
            dimensions; integers of an object take 64 bits, keys are text or bytes
* decode    what ``msgpack_numpy.packb`` writes, old versions included, also without bin types, as
            msgpack before 1.0 did; arrays are read-only; those in an object become lists, and
            structs mappings; nested at most `MAX_DEPTH` deep
* refused   arrays of objects (a pickle on the wire, which would run code), datetime64, extension
            types, claims of more data than there are: before anything is made of them; to be
            written, mappings with the keys that stand for an array
* memory    up to 256 bytes for a byte of the payload
* source    https://github.com/msgpack/msgpack/blob/master/spec.md, ``encode`` of msgpack_numpy 0.4
"""

from __future__ import annotations

from typing import Any

import msgpack
import msgpack_numpy
import numpy as np

from ..model.datatypes import Data, DataSpec, Kind
from . import Codec, codecs
from .buffers import dtype_of, from_buffer, has_times
from .plain import check_width, plain

_PASSED = (bytes, complex, np.ndarray, np.generic)


@codecs.register("msgpack_numpy")
class MsgpackNumpyCodec(Codec):
    kinds = frozenset(
        {Kind.STR, Kind.OBJECT, Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.COMPLEX, Kind.STRUCT}
    )

    def refusal(self, spec: DataSpec) -> str:
        if has_times(spec.dtype):
            return f"the encoding {self.name!r} does not carry datetime64, as in {spec}"
        return super().refusal(spec)

    def write(self, value: Data, spec: DataSpec) -> bytes:
        return packed_object(value) if spec.kind is Kind.OBJECT else packed(value)

    def read(self, payload: bytes, spec: DataSpec) -> Data:
        value = unpacked(payload)
        if spec.kind is Kind.OBJECT:
            return plain(value, (bytes, complex))
        check_width(value, spec, len(payload))
        return value


def packed(value: object) -> bytes:
    """A value as the library packs it; any exception means that it cannot be carried."""
    payload: bytes = msgpack.packb(value, default=_pack)
    return payload


def packed_object(value: object) -> bytes:
    """The same for an object, which may hold arrays: what is read again is the same."""
    value = plain(value, _PASSED)
    payload = packed(value)
    if b"nd" in payload or b"complex" in payload:
        _check_mappings(value)
    return payload


def unpacked(payload: bytes) -> Any:
    """What a payload holds; any exception means that it is malformed, or is refused."""
    check = msgpack.Unpacker(max_buffer_size=max(len(payload), 1))
    check.feed(payload)
    check.skip()  # makes nothing; raises when less is there than is claimed
    # Without bin types, bytes are text that is none; what stays so is refused with the value.
    return msgpack.unpackb(
        payload, object_hook=_unpack, ext_hook=_refuse, unicode_errors="surrogateescape"
    )


def _pack(value: object) -> object:
    if isinstance(value, np.void):
        value = np.asarray(value)
    if isinstance(value, np.ndarray) and (value.dtype.kind in "OSm" or has_times(value.dtype)):
        raise TypeError(f"arrays of {value.dtype} are not carried")
    return msgpack_numpy.encode(value)


def _unpack(read: dict[Any, Any]) -> object:
    """What stands for an array, a scalar or a complex number as that; anything else as it is."""
    if b"nd" in read:
        return _array({_text(key): item for key, item in read.items()})
    if b"complex" in read:
        text = _text(read.get(b"data"))
        if not isinstance(text, str) or len(text) > 100:
            raise ValueError("a complex number is none")
        return complex(text)
    if _is_array(read):  # keys that some other packer wrote as text
        data = read["data"]
        if isinstance(data, str):
            read = {**read, "data": data.encode(errors="surrogateescape")}
        return _array(read)
    number = _complex_number(read)
    return read if number is None else number


_ARRAY = frozenset({"nd", "type", "data"})
_ANY_ARRAY = _ARRAY | {"kind", "shape"}


def _is_array(read: dict[Any, Any]) -> bool:
    """Whether a mapping with keys that are text stands for an array or a scalar."""
    if "nd" not in read or not read.keys() >= _ARRAY:
        return False
    return isinstance(read["data"], bytes) or (
        type(read["nd"]) is bool and read.keys() <= _ANY_ARRAY
    )


def _complex_number(read: dict[Any, Any]) -> complex | None:
    """What a mapping with keys that are text says if it stands for a complex number."""
    if len(read) != 2 or read.get("complex") is not True or "data" not in read:
        return None
    text = read["data"]
    try:
        return complex(text) if isinstance(text, str) and len(text) <= 100 else None
    except ValueError:
        return None


def _check_mappings(value: Any) -> None:
    """Refuse to write mappings that would be read as an array or a complex number."""
    if isinstance(value, dict):
        if b"nd" in value or b"complex" in value or _is_array(value):
            raise ValueError("a mapping has the keys of what stands for an array")
        if _complex_number(value) is not None:
            raise ValueError("a mapping has the keys of what stands for a complex number")
        value = value.values()
    elif not isinstance(value, list | tuple):
        return
    for item in value:
        _check_mappings(item)


def _array(read: dict[Any, Any]) -> object:
    if _text(read.get("kind", "")) == "O":
        raise ValueError("an array of objects is refused: it is a pickle, which could run code")
    data, written, whole = read.get("data"), read.get("type"), read.get("nd")
    if not isinstance(data, bytes) or type(whole) is not bool:
        raise ValueError("an array lacks nd or data")
    array = from_buffer(data, dtype_of(written), read.get("shape") if whole else ())
    return array if whole else array[()]


def _text(value: object) -> object:
    return value.decode() if isinstance(value, bytes) else value


def _refuse(code: int, data: bytes) -> object:
    raise ValueError(f"extension type {code} is refused")
