"""``utf-8``: one scalar as text.

* wire      ``str(value)`` in UTF-8
* decode    str: the text as it is; bool: ``True`` or ``False``; int: decimal digits with a sign;
            float: a decimal number, ``nan``, ``inf``; one beyond float64 is infinite. White space
            around all but text is ignored (a shell's newline); underscores and digits of other
            scripts are refused
* errors    `DecodeError` for anything else, `EncodeError` for a lone surrogate
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from ..model.datatypes import Data, DataSpec, Kind
from . import Codec, codecs
from .plain import lone_number, lone_numbers

_INTEGER = re.compile(r"[+-]?[0-9]{1,400}")
_FLOAT = re.compile(
    r"[+-]?(([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|nan|inf|infinity)", re.ASCII | re.IGNORECASE
)


class TextCodec(Codec):
    """Text in a character set; each one is registered by its name."""

    kinds = frozenset({Kind.STR, Kind.BOOL, Kind.INT, Kind.FLOAT})
    max_dimensions = 0
    charset: ClassVar[str]

    def write(self, value: Data, spec: DataSpec) -> bytes:
        text = str(value)
        if spec.kind is Kind.FLOAT and not _same(float(text), value, spec):
            text = str(value.item())  # the shortest text of a float32 may differ as a float64
        return text.encode(self.charset)

    def read_batch(self, payloads: Sequence[bytes], spec: DataSpec) -> list[Data] | None:
        return lone_numbers(payloads, spec)

    def read(self, payload: bytes, spec: DataSpec) -> Data:
        if spec.kind in (Kind.FLOAT, Kind.INT):
            number = lone_number(payload)
            if number is not None and (type(number) is int or spec.kind is Kind.FLOAT):
                return number if spec.kind is Kind.INT else float(payload)
        text = payload.decode(self.charset)
        if spec.kind is Kind.STR:
            return text
        if len(text) > 1000:
            raise ValueError(f"it is too long for a {spec.kind.value}")
        text = text.strip(" \t\r\n")
        match spec.kind:
            case Kind.BOOL if text in ("True", "False"):
                return text == "True"
            case Kind.INT if _INTEGER.fullmatch(text):
                return int(text)
            case Kind.FLOAT if _FLOAT.fullmatch(text):
                return float(text)
        raise ValueError(f"{text[:40]!r} is not text of a {spec.kind.value}")


def _same(number: float, value: Any, spec: DataSpec) -> bool:
    return bool(spec.dtype.type(number) == value or np.isnan(value))


@codecs.register("utf-8")
class Utf8Codec(TextCodec):
    charset = "utf-8"
