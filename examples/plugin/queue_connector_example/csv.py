"""``csv``: numbers of up to one dimension, separated by commas.

* wire      decimal numbers in ASCII
* errors    `DecodeError` for anything else
"""

from __future__ import annotations

from typing import Any

import numpy as np

import queue_connector as qc


@qc.codecs.register("csv")
class CsvCodec(qc.Codec):
    """See the module's docstring."""

    kinds = frozenset({qc.Kind.INT, qc.Kind.FLOAT})
    max_dimensions = 1

    def write(self, value: Any, spec: qc.DataSpec) -> bytes:
        """The numbers of a value."""
        return ",".join(map(str, np.atleast_1d(value).tolist())).encode()

    def read(self, payload: bytes, spec: qc.DataSpec) -> Any:
        """The numbers of a payload."""
        parse = int if spec.kind is qc.Kind.INT else float
        numbers = [parse(text) for text in payload.decode("ascii").split(",") if text]
        return numbers if spec.shape else numbers[0]
