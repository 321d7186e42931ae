import json

import numpy as np
import pytest

from queue_connector.codecs.json import JsonCodec
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import DecodeError, EncodeError
from tests.support.data import same

codec = JsonCodec()
OBJECT = DataSpec("object")


def test_writes_utf_8_and_the_literals_of_infinity():
    assert codec.encode({"Ω": [np.nan, -np.inf]}, OBJECT) == '{"Ω": [NaN, -Infinity]}'.encode()
    assert codec.encode(np.array([[True, False]]), DataSpec("bool", (1, 2))) == b"[[true, false]]"


@pytest.mark.parametrize(
    ("payload", "value"),
    [
        (b'{"a": 1, "a": 2}', {"a": 2}),
        (b"[NaN, Infinity, -Infinity]", [np.nan, np.inf, -np.inf]),
        (rb'"\ud83d\ude00"', "😀"),
        (b'"' + b"[" * 5000 + b'\\""', "[" * 5000 + '"'),
        (b" null ", None),
    ],
)
def test_reads_json(payload, value):
    assert same(codec.decode(payload, OBJECT), value)


def test_rows_many_as_they_are_do_not_count_as_nesting():
    spec = DataSpec("int64", (500, 2))
    value = np.arange(1000).reshape(500, 2)
    assert same(codec.decode(codec.encode(value, spec), spec), value)


def test_keys_that_are_no_text_become_text():
    assert json.loads(codec.encode({1: 2, None: 3}, OBJECT)) == {"1": 2, "null": 3}


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"{", b"[1,]", b"\xff", b"nan", b"'a'", rb'"\ud800"', rb'{"\udc00": 1}', b'"\x00"',
        "\ufeff".encode(), "1".encode("utf-16"), b"1" * 5000,
        b"[" * 100_000, b"[" * 5000 + b"]" * 5000, b'{"a":' * 5000 + b"1" + b"}" * 5000,
        b'["' + b"]" * 200 + b'",' + b"[" * 200 + b"]" * 201, b"]" * 200, b"[{" * 60 + b"]}" * 60,
    ],
    ids=lambda payload: repr(payload[:12]),
)  # fmt: skip
def test_anything_else_is_a_decode_error(payload):
    with pytest.raises(DecodeError) as caught:
        codec.decode(payload, OBJECT)
    assert caught.value.encoding == "json"


@pytest.mark.parametrize(
    ("spec", "payload"),
    [
        (DataSpec("uint8"), b"256"),
        (DataSpec("int64"), b"1.5"),
        (DataSpec("int64"), b"9" * 400),
        (DataSpec("float64"), b"9" * 400),
        (DataSpec("float64", (2,)), b"[1, 2, 3]"),
        (DataSpec("float64", (2, 2)), b"[[1], [2, 3]]"),
        (DataSpec("str"), b"null"),
        (DataSpec("str", (2,)), b'["a", null]'),
        (DataSpec("str", (1,)), rb'["a\u0000"]'),
        (DataSpec("bool"), b"1"),
        (DataSpec("float64"), b"null"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_a_decode_error_that_says_what_was_found(spec, payload):
    with pytest.raises(DecodeError, match="found"):
        codec.decode(payload, spec)


@pytest.mark.parametrize("value", [b"x", {"a": b"x"}, 1j, {b"k": 1}])
def test_what_json_has_not_cannot_be_written(value):
    with pytest.raises(EncodeError):
        codec.encode(value, OBJECT)


def test_a_text_may_begin_with_a_byte_order_mark():
    assert codec.decode(b'\xef\xbb\xbf{"a": 1}', DataSpec("object")) == {"a": 1}
    assert codec.decode(b"\xef\xbb\xbf1.5", DataSpec("float64")) == 1.5
    for payload in (b"\xef\xbb\xbf\xef\xbb\xbf1", b"1\xef\xbb\xbf", b"\xef\xbb\xbf"):
        with pytest.raises(DecodeError):
            codec.decode(payload, DataSpec("float64"))
    assert codec.decode('"\ufeffa"'.encode(), DataSpec("str")) == "\ufeffa"
