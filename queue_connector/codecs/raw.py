"""Bytes, which no encoding touches: the payload is the bytes.

* wire      the bytes
* decode    the pair of the configured encoding's name (``""`` for none) and the payload
* encode    the bytes of a pair; `EncodeError` when an encoding is configured and the datum
            carries the name of another one (``""`` is none, and goes with any)
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..model.datatypes import Data, DataSpec, Kind
from ..model.errors import DataError
from . import Codec


class RawCodec(Codec):
    kinds = frozenset({Kind.BYTES})
    max_dimensions = 0

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding

    @property
    def name(self) -> str:
        return self._encoding

    def write(self, value: Data, spec: DataSpec) -> bytes:
        encoding, payload = value
        if self._encoding and encoding and encoding != self._encoding:
            raise ValueError(f"the datum is encoded as {encoding!r}")
        return bytes(payload)

    def encode_batch(self, values: Sequence[object], spec: DataSpec) -> list[bytes | DataError]:
        own = ("", self._encoding)
        if {type(value) for value in values} == {tuple}:
            pairs: Any = values
            payloads: list[bytes | DataError] = [
                pair[1]
                for pair in pairs
                if len(pair) == 2
                and type(pair[1]) is bytes
                and (pair[0] in own if self._encoding else type(pair[0]) is str)
            ]
            if len(payloads) == len(values):
                return payloads
        return super().encode_batch(values, spec)

    def read_batch(self, payloads: Sequence[bytes], spec: DataSpec) -> list[Data] | None:
        return [(self._encoding, payload) for payload in payloads]

    def read(self, payload: bytes, spec: DataSpec) -> Data:
        return (self._encoding, payload)
