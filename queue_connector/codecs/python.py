"""``python``: a literal of Python.

* wire      ``repr`` in UTF-8 of plain values; arrays are lists; ``nan``, ``inf`` and ``-inf`` stand
            for themselves
* decode    see `read_literal`; nothing is evaluated; a number beyond float64 is infinite; lone
            surrogates are refused; nested at most `MAX_DEPTH` deep
* memory    up to 64 bytes for a byte of the payload
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from ..model.datatypes import Data, DataSpec, Kind
from . import Codec, codecs
from .literal import read_literal
from .plain import check_nesting, check_width, lone_number, lone_numbers, plain_data

_TEXT = re.compile(rb"'[^'\\\n]*+'")
_OF_NUMBERS = b"[]0123456789+-.eE, \n"
_NAMES = re.compile(rb"(?:nan|inf|Tru|Fals)*+")  # as they are without an e
_JSON = (("nan", "NaN"), ("inf", "Infinity"), ("True", "true"), ("False", "false"))


@codecs.register("python")
class PythonCodec(Codec):
    kinds = frozenset({Kind.STR, Kind.OBJECT, Kind.BOOL, Kind.INT, Kind.FLOAT})

    def write(self, value: Data, spec: DataSpec) -> bytes:
        return repr(plain_data(value, spec, (bytes,))).encode()

    def read_batch(self, payloads: Sequence[bytes], spec: DataSpec) -> list[Data] | None:
        return lone_numbers(payloads, spec)

    def read(self, payload: bytes, spec: DataSpec) -> Data:
        if (number := lone_number(payload)) is not None:
            return number
        if _TEXT.fullmatch(payload):
            return payload[1:-1].decode()
        value = _numbers(payload)
        if value is None or spec.kind is Kind.STR:
            value = read_literal(payload.decode()) if value is None else value
            check_width(value, spec, len(payload))
        return value


def _numbers(payload: bytes) -> Data:
    """Nested lists of numbers, which JSON writes alike and reads ten times faster; else None."""
    names = payload.translate(None, _OF_NUMBERS)
    if not _NAMES.fullmatch(names):
        return None
    check_nesting(payload)
    text = payload.decode()
    if names:
        for name, literal in _JSON:
            text = text.replace(name, literal)
    try:
        return json.loads(text)
    except ValueError:  # not JSON: it may be a literal still, such as "1." or "[1, ]"
        return None
