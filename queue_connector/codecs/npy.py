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

import io
import re

import numpy as np

from ..datatypes import Data, DataSpec, Kind
from . import Codec, codecs
from .buffers import dtype_of, from_buffer
from .literal import read_literal

_MAGIC = b"\x93NUMPY"
_LENGTHS = {(1, 0): 2, (2, 0): 4, (3, 0): 4}
_MAX_HEADER = 65536
_LONG = re.compile(r"""('(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+"|(?<![\w.])[0-9]++)(L\b)?""")


@codecs.register("npy")
class NpyCodec(Codec):
    kinds = frozenset(
        {Kind.STR, Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.COMPLEX, Kind.DATETIME, Kind.STRUCT}
    )
    max_dimensions = None

    def write(self, value: Data, spec: DataSpec) -> bytes:
        if isinstance(value, str):
            value.encode()  # raises for a lone surrogate
            if value.endswith("\0"):
                raise ValueError("numpy would strip the NUL at the text's end")
        array = np.asarray(value)
        # The first version has Latin-1 for the names of fields, the third UTF-8.
        version = (3, 0) if max(map(ord, str(array.dtype)), default=0) > 255 else (1, 0)
        file = io.BytesIO()
        np.lib.format.write_array(file, array, version, allow_pickle=False)
        return file.getvalue()

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
        charset = "utf-8" if payload[6] == 3 else "latin-1"
        header = _header(payload[start : start + length].decode(charset), payload[6])
        if not isinstance(header, dict) or header.keys() != {"descr", "fortran_order", "shape"}:
            raise ValueError("its header does not say descr, fortran_order and shape")
        if type(header["fortran_order"]) is not bool or type(header["shape"]) is not tuple:
            raise ValueError("its header says fortran_order or shape wrongly")
        return from_buffer(
            memoryview(payload)[start + length :],
            dtype_of(header["descr"]),
            header["shape"],
            fortran=header["fortran_order"],
        )


def _header(text: str, version: int) -> object:
    try:
        return read_literal(text)
    except ValueError:
        if version == 3 or "L" not in text:  # Python 2 wrote no version 3
            raise
    return read_literal(_LONG.sub(_shortened, text))


def _shortened(match: re.Match[str]) -> str:
    return match[1] if match[1].isdigit() else match[0]
