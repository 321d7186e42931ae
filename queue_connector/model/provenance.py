"""What a datum was before it was one, for those who are told that it cannot be used."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import numpy as np

from .datatypes import Data
from .errors import DataError
from .ledger import Refusal


@attrs.frozen
class Provenance:
    """What a datum was before it was one: its bytes as they came, and where they stood.

    What else came with them is there too, so that the message can be sent again as it was.
    """

    payload: bytes | None = b""
    """None: a message without a value, which in Kafka is a tombstone."""
    position: str = ""
    key: bytes | None = None
    headers: Sequence[tuple[str, str | bytes | None]] = ()

    def refusal(self, error: DataError, path: str = "") -> Refusal:
        """That the datum cannot be used, and why; *path* leads to what refused it."""
        return Refusal(error, self.payload, self.position, path, self.key, self.headers)


def readable(value: Data) -> bytes:
    """A datum as text for people, UTF-8: what Python writes for it, arrays as lists."""
    plain = value.tolist() if isinstance(value, np.ndarray | np.generic) else value
    return repr(plain).encode(errors="backslashreplace")
