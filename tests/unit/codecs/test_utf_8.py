import numpy as np
import pytest
from hypothesis import given, strategies as st

from queue_connector.codecs.utf_8 import Utf8Codec
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import DecodeError, EncodeError
from tests.support.data import same

codec = Utf8Codec()


@given(st.text(st.characters(codec="utf-8")))
def test_text_is_left_as_it_is(text):
    spec = DataSpec("str")
    assert codec.encode(text, spec) == text.encode()
    assert codec.decode(text.encode(), spec) == text


@given(st.integers(0, 2**32 - 1))
def test_every_float32_survives_the_shortest_text(bits):
    value = np.uint32(bits).view(np.float32)
    assert same(codec.decode(codec.encode(value, DataSpec("float32")), DataSpec("float32")), value)


@pytest.mark.parametrize(
    ("dtype", "payload", "value"),
    [
        ("bool", b"True", True),
        ("bool", b"False\n", False),
        ("int64", b" -12\r\n", -12),
        ("uint8", b"+007", 7),
        ("uint64", b"18446744073709551615", 2**64 - 1),
        ("float64", b"1e3", 1000.0),
        ("float64", b".5", 0.5),
        ("float32", b"-Infinity", -np.inf),
        ("float64", b"1e999", np.inf),
        ("str", b" True\n", " True\n"),
    ],
)
def test_reads_what_people_write(dtype, payload, value):
    assert codec.decode(payload, DataSpec(dtype)) == value


@pytest.mark.parametrize(
    ("dtype", "payload"),
    [
        ("bool", b"true"),
        ("bool", b"1"),
        ("bool", b""),
        ("int64", b"1_000"),
        ("int64", "٣".encode()),
        ("int64", b"1.0"),
        ("int64", b"0x10"),
        ("int64", b"1 2"),
        ("int64", b""),
        ("uint8", b"256"),
        ("uint8", b"-1"),
        ("int64", b"9" * 100_000),
        ("float64", b"1_0.0"),
        ("float64", "٣.٣".encode()),
        ("float64", b"\x1c1"),
        ("float64", b"0x1p3"),
        ("float64", b"[1.0]"),
        ("float32", b"1e39"),
        ("str", b"\xff"),
        ("str", b"\xed\xa0\x80"),
        ("U2", b"abc"),
        ("U2", b"a\x00"),
    ],
)
def test_anything_else_is_a_decode_error(dtype, payload):
    with pytest.raises(DecodeError) as caught:
        codec.decode(payload, DataSpec(dtype))
    assert caught.value.encoding == "utf-8"
    assert caught.value.size == len(payload)


def test_writes_what_str_writes():
    assert codec.encode(np.float32(0.1), DataSpec("float32")) == b"0.1"
    assert codec.encode(np.True_, DataSpec("bool")) == b"True"
    assert codec.encode(np.float64("nan"), DataSpec("float64")) == b"nan"


def test_a_lone_surrogate_cannot_be_written():
    with pytest.raises(EncodeError, match="surrogate"):
        codec.encode("\udcff", DataSpec("str"))
