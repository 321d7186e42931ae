"""``carray``: a raw row-major buffer, with no header and no shape on the wire.

* wire      ``prod(shape) * itemsize`` bytes, row-major, in the byte order of the dtype
* decode    a read-only view of the payload, zero-copy; of many payloads of one length, a view of
            them joined. One dimension of the shape may be dynamic; a scalar is one item
* errors    `DecodeError` when the length does not fit, or a boolean or a character is none
* source    numpy manual, "The N-dimensional array", internal memory layout
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..model.datatypes import Data, DataSpec, Kind
from . import Codec, codecs
from .buffers import from_buffer, has_times


@codecs.register("carray")
class CArrayCodec(Codec):
    kinds = frozenset({Kind.BOOL, Kind.INT, Kind.FLOAT, Kind.COMPLEX, Kind.STRUCT})
    max_dimensions = None

    def refusal(self, spec: DataSpec) -> str:
        if has_times(spec.dtype):
            return f"the encoding {self.name!r} does not carry datetime64, as in {spec}"
        if spec.dynamic and 0 in spec.shape:
            return f"the encoding {self.name!r} cannot tell a dynamic length beside a length of 0"
        return super().refusal(spec)

    def write(self, value: Data, spec: DataSpec) -> bytes:
        array = np.asarray(value, spec.dtype)
        fits = len(array.shape) == len(spec.shape) and all(
            most < 0 or length == most for length, most in zip(array.shape, spec.shape, strict=True)
        )
        if not fits:
            raise ValueError(f"the value has the shape {list(array.shape)}")
        return array.tobytes()

    def read_batch(self, payloads: Sequence[bytes], spec: DataSpec) -> list[Data] | None:
        if spec.dynamic or spec.kind not in (Kind.INT, Kind.FLOAT, Kind.COMPLEX):
            return None
        size = math.prod(spec.shape) * spec.dtype.itemsize
        if not size or set(map(len, payloads)) != {size}:
            return None
        joined = np.frombuffer(b"".join(payloads), spec.dtype)
        return list(joined.reshape(len(payloads), *spec.shape))

    def read(self, payload: bytes, spec: DataSpec) -> Data:
        shape = spec.shape
        if spec.dynamic:
            row = math.prod(length for length in shape if length >= 0) * spec.dtype.itemsize
            length, rest = divmod(len(payload), row)
            if rest:
                raise ValueError(f"the length is not a multiple of {row} B")
            shape = tuple(length if most < 0 else most for most in shape)
        return from_buffer(payload, spec.dtype, shape)
