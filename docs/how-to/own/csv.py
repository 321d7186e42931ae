"""``csv``: numbers of up to one dimension, separated by commas.

* wire      decimal numbers in ASCII
* errors    `DecodeError` for anything else
"""

from __future__ import annotations

import numpy as np

from queue_connector.codecs import Codec, codecs
from queue_connector.model.datatypes import Data, DataSpec, Kind


@codecs.register("csv")
class CsvCodec(Codec):
    """See the module's docstring."""

    kinds = frozenset({Kind.INT, Kind.FLOAT})
    max_dimensions = 1

    def write(self, value: Data, spec: DataSpec) -> bytes:
        """The numbers of a value."""
        return ",".join(map(str, np.atleast_1d(value).tolist())).encode()

    def read(self, payload: bytes, spec: DataSpec) -> Data:
        """The numbers of a payload."""
        parse = int if spec.kind is Kind.INT else float
        numbers = [parse(text) for text in payload.decode("ascii").split(",") if text]
        return numbers if spec.shape else numbers[0]
