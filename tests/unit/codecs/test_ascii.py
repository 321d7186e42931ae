import numpy as np
import pytest

from queue_connector.codecs.ascii import AsciiCodec
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import DecodeError, EncodeError

codec = AsciiCodec()


def test_text_survives():
    assert codec.decode(codec.encode("a\tb~", DataSpec("str")), DataSpec("str")) == "a\tb~"


def test_numbers_are_written_as_in_utf_8():
    assert codec.encode(np.int16(-5), DataSpec("int16")) == b"-5"


def test_other_characters_cannot_be_written():
    with pytest.raises(EncodeError, match="ascii"):
        codec.encode("Ω", DataSpec("str"))


def test_other_bytes_cannot_be_read():
    with pytest.raises(DecodeError, match="ascii"):
        codec.decode("Ω".encode(), DataSpec("str"))
