"""``json``: a JSON text.

* wire      ``json.dumps`` in UTF-8, with the literals ``NaN``, ``Infinity``, ``-Infinity``; arrays
            are lists; keys that are numbers, booleans or None become text
* decode    ``json.loads``, after a byte order mark if there is one; of a key that stands twice the
            last counts; a number beyond float64 is infinite; lone surrogates are refused; nested
            at most `MAX_DEPTH` deep
* memory    up to 64 bytes for a byte of the payload
* source    RFC 8259
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from ..model.datatypes import Data, DataSpec, Kind
from . import Codec, codecs
from .plain import check_nesting, check_width, lone_number, lone_numbers, plain, plain_data

_as_json = json.JSONEncoder(ensure_ascii=False).encode
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


@codecs.register("json")
class JsonCodec(Codec):
    kinds = frozenset({Kind.STR, Kind.OBJECT, Kind.BOOL, Kind.INT, Kind.FLOAT})

    def write(self, value: Data, spec: DataSpec) -> bytes:
        return _as_json(plain_data(value, spec)).encode()

    def read_batch(self, payloads: Sequence[bytes], spec: DataSpec) -> list[Data] | None:
        return lone_numbers(payloads, spec)

    def read(self, payload: bytes, spec: DataSpec) -> Data:
        if (number := lone_number(payload)) is not None:
            return number
        check_nesting(payload)
        value = json.loads(payload.decode().removeprefix("\ufeff"))
        if _SURROGATE.search(payload):
            plain(value)
        if b'"' in payload or spec.kind is Kind.STR:
            check_width(value, spec, len(payload))
        return value
