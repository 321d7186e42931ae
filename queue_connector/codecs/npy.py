"""``npy``: numpy's own file format, with dtype and shape in its header.

* wire      what ``numpy.save`` writes with ``allow_pickle=False``
* decode    versions 1 to 3, row- or column-major; a read-only view of the payload, zero-copy; the
            long integers of Python 2 in a header, as in ``(3L,)``, as `numpy.load` reads them
* refused   archives (npz), arrays of objects, headers beyond 64 KiB, and payloads that are shorter
            or longer than their header says: before anything is allocated
* strings   numpy pads text with NUL: text that ends in NUL cannot be written
* source    numpy manual, "NEP 1: A simple file format for NumPy arrays"
"""

from __future__ import annotations

import functools
import io
import re
from typing import Any, Literal

import numpy as np

from ..model.datatypes import Data, DataSpec, Kind
from . import Codec, codecs
from .buffers import check_text, dtype_of, from_buffer
from .literal import read_literal

_MAGIC = b"\x93NUMPY"
_LENGTHS = {(1, 0): 2, (2, 0): 4, (3, 0): 4}
_MAX_HEADER = 65536
_COPIED = 65536
"""Bytes of an array that are copied once more, which is quicker while they are few."""
_LONG = re.compile(r"""('(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+"|(?<![\w.])[0-9]++)(L\b)?""")


@codecs.register("npy")
class NpyCodec(Codec):
    kinds = frozenset(
        {Kind.STR, Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.COMPLEX, Kind.DATETIME, Kind.STRUCT}
    )
    max_dimensions = None

    def write(self, value: Data, spec: DataSpec) -> bytes:
        check_text(value)
        array = np.asarray(value)
        if _beyond_latin(array.dtype):  # names in UTF-8, which version 3 has
            file = io.BytesIO()
            np.lib.format.write_array(file, array, (3, 0), allow_pickle=False)
            return file.getvalue()
        if array.dtype.hasobject:
            raise ValueError("arrays of objects are not carried")
        fortran = array.flags.f_contiguous and not array.flags.c_contiguous
        header = _written_header(array.dtype, array.shape, fortran)
        order: Literal["C", "F"] = "F" if fortran else "C"
        if array.nbytes < _COPIED:
            return header + array.tobytes(order)
        flat = np.ascontiguousarray(array.reshape(-1, order=order))
        return b"".join((header, flat.view("u1").data))

    def read(self, payload: bytes, spec: DataSpec) -> Data:
        if payload[:4] == b"PK\x03\x04":
            raise ValueError("it is an archive (npz) and not one array")
        if payload[:6] != _MAGIC or len(payload) < 12:
            raise ValueError("it does not begin like an array's file")
        if (size := _LENGTHS.get((payload[6], payload[7]))) is None:
            raise ValueError(f"version {payload[6]}.{payload[7]} is not known")
        start = 8 + size
        length = int.from_bytes(payload[8:start], "little")
        if length > _MAX_HEADER or start + length > len(payload):
            raise ValueError(f"a header of {length} B is too long")
        text = payload[start : start + length]
        dtype, shape, fortran = (_known_header if length <= 1024 else _header)(text, payload[6])
        return from_buffer(memoryview(payload)[start + length :], dtype, shape, fortran=fortran)


@functools.lru_cache(256)
def _beyond_latin(dtype: np.dtype[Any]) -> bool:
    return max(map(ord, str(dtype))) > 255


@functools.lru_cache(256)
def _written_header(dtype: np.dtype[Any], shape: tuple[int, ...], fortran: bool) -> bytes:
    file = io.BytesIO()
    descr = np.lib.format.dtype_to_descr(dtype)
    described = {"descr": descr, "fortran_order": fortran, "shape": shape}
    np.lib.format.write_array_header_1_0(file, described)
    return file.getvalue()


def _header(text: bytes, version: int) -> tuple[np.dtype[Any], tuple[int, ...], bool]:
    """Dtype, shape and whether the first index is the fastest."""
    header = _literal(text.decode("utf-8" if version == 3 else "latin-1"), version)
    if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
        raise ValueError("its header does not say descr, fortran_order and shape")
    if type(header["fortran_order"]) is not bool or type(header["shape"]) is not tuple:
        raise ValueError("its header says fortran_order or shape wrongly")
    return dtype_of(header["descr"]), header["shape"], header["fortran_order"]


_known_header = functools.lru_cache(256)(_header)


def _literal(text: str, version: int) -> object:
    try:
        return read_literal(text)
    except ValueError:
        if version == 3 or "L" not in text:  # Python 2 wrote no version 3
            raise
    return read_literal(_LONG.sub(_shortened, text))


def _shortened(match: re.Match[str]) -> str:
    return match[1] if match[1].isdigit() else match[0]
