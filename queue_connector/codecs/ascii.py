"""``ascii``: one scalar as text, as `utf-8` does it, in ASCII.

* errors    `DecodeError` and `EncodeError` for any other character
"""

from __future__ import annotations

from . import codecs
from .utf_8 import TextCodec


@codecs.register("ascii")
class AsciiCodec(TextCodec):
    charset = "ascii"
