import ast
import time

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

from queue_connector.codecs.literal import read_literal
from queue_connector.codecs.python import PythonCodec
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import DecodeError, EncodeError
from tests.support.data import TEXT, json_like, same

codec = PythonCodec()
OBJECT = DataSpec("object")
KEYS = TEXT | st.integers(-(2**63), 2**63) | st.booleans() | st.none() | st.binary(max_size=4)


@settings(max_examples=200)
@given(json_like(keys=KEYS, leaves=st.binary(max_size=5)))
def test_reads_what_repr_writes(value):
    assert same(read_literal(repr(value)), value)


@settings(max_examples=300)
@given(
    st.text("[](){},: \n'\"\\bx01u.eE+-", max_size=12)
    | st.lists(
        st.sampled_from(
            ["[", "]", "(", ")", "{", "}", ",", ":", "1", "-2.5", "'a'", "b'\\x00'", "None", " "]
        ),
        max_size=10,
    ).map("".join)
)
@pytest.mark.filterwarnings("ignore")
def test_what_it_reads_is_what_literal_eval_reads(text):
    try:
        value = read_literal(text)
    except ValueError:
        return
    assert same(value, ast.literal_eval(text.lstrip()))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("nan", float("nan")),
        ("[-inf, +inf, 'nan', \"-inf\"]", [-np.inf, np.inf, "nan", "-inf"]),
        (
            "{'a': (1, 2.), 'b': (3,), 'c': (), 'd': (4)}",
            {"a": (1, 2.0), "b": (3,), "c": (), "d": 4},
        ),
        ("1, 2", (1, 2)),
        ("[1, 2, ]", [1, 2]),
        ("{1: None, True: 2}", {1: 2}),
        (r"'\x41\u03a9\U0001f600\n\'\"\\'", "AΩ😀\n'\"\\"),
        (r"b'\x00\xff\''", b"\x00\xff'"),
        ("-0.0", -0.0),
        ("'('", "("),
    ],
)
def test_reads_literals(text, value):
    assert same(codec.decode(text.encode(), OBJECT), value)


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "[", "]", "[1", "1]", "[1 2]", "[,]", "[1,,2]", "(,)", "{1}", "{1: }", "{: 1}",
        "{1: 2: 3}", "{1, 2}", "{[]: 1}", "{(1, 2): 1}", "(1]", "nano", "xnan", "nan1", "1a", "01",
        "1__0", "0x10", "1j", "1+2j", "--1", "- 1", "[1 # x\n]", "'a' 'b'", "'''a'''", "r'a'",
        "f'{1}'", "u'a'", "'a", "'a\nb'", r"'\q'", r"'\x4'", r"'\ud800'", r"'\U00110000'",
        r"b'\u0041'", "b'Ω'", "...", "set()", "True.real", "__import__('os')", "a", "true", "null",
        "NaN", "Infinity", "lambda: 1", "[x for x in ()]", "1\x00", "\x00", "'\ud7ff' + '1'",
    ],
)  # fmt: skip
def test_anything_else_is_a_decode_error(text):
    with pytest.raises(DecodeError) as caught:
        codec.decode(text.encode(), OBJECT)
    assert caught.value.encoding == "python"


@pytest.mark.parametrize("payload", [b"true", b"[NaN]", b"null", b"[Infinity]", b"Tru", b"[1e]"])
def test_the_fast_way_reads_no_more_than_the_other(payload):
    with pytest.raises(DecodeError):
        codec.decode(payload, DataSpec("float64", (-1,)))


def test_nan_and_infinity_survive_beside_text_that_spells_them():
    value = {"nan": [float("nan"), "inf"], "x": -float("inf")}
    assert same(codec.decode(codec.encode(value, OBJECT), OBJECT), value)


def test_writes_arrays_as_lists_of_plain_numbers():
    spec = DataSpec("float32", (2, 2))
    assert codec.encode(np.array([[1, 2], [3, np.nan]], "f4"), spec) == b"[[1.0, 2.0], [3.0, nan]]"
    assert codec.encode(np.int8(-1), DataSpec("int8")) == b"-1"
    assert codec.encode("it's", DataSpec("str")) == b'"it\'s"'


def test_numpy_in_an_object_is_written_plain():
    value = {"a": np.arange(2), "b": np.float32(0.5), np.str_("c"): (np.True_,)}
    assert codec.encode(value, OBJECT) == b"{'a': [0, 1], 'b': 0.5, 'c': (True,)}"


@pytest.mark.parametrize(
    "payload",
    [
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b"(" * 5000 + b"1" + b")" * 5000,
        b"{1:" * 5000,
        b"['" + b"]" * 5000 + b"'," + b"[" * 4000 + b"]" * 4000 + b"]",
        b"-" * 100_000 + b"1",
        b"1+" * 100_000 + b"1",
        b"not " * 50_000 + b"1",
        b"'a'" * 300_000,
        b"9" * 1_000_000,
        b"1" * 5000,
        b"'" + b"\\" * 1_000_001,
        b"[" + b"1." * 300_000,
    ],
    ids=lambda payload: payload[:8].decode() + f"...{len(payload)}",
)
def test_hostile_texts_are_refused_quickly(payload):
    began = time.perf_counter()
    with pytest.raises(DecodeError):
        codec.decode(payload, OBJECT)
    assert time.perf_counter() - began < 2


def test_a_number_of_too_many_digits_cannot_be_written():
    with pytest.raises(EncodeError, match="digits"):
        codec.encode({"a": 10**5000}, OBJECT)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("np.float64(1.5)", 1.5), ("np.float32(0.1)", 0.1), ("np.float16(nan)", float("nan")),
        ("np.float64(-inf)", -float("inf")), ("np.float64(1e-300)", 1e-300), ("np.int64(-3)", -3),
        ("np.uint64(18446744073709551615)", 2**64 - 1), ("np.True_", True), ("np.False_", False),
        ("np.str_('a)b')", "a)b"), ('np.str_("it\'s")', "it's"), (r"np.str_('\n')", "\n"),
        ("np.bytes_(b'x')", b"x"),
        ("[np.float64(1.5), 2, {'a': (np.int8(1),)}]", [1.5, 2, {"a": (1,)}]),
        ("{np.str_('k'): np.True_}", {"k": True}),
    ],
)  # fmt: skip
def test_reads_the_scalars_that_numpy_2_writes(text, value):
    assert same(codec.decode(text.encode(), OBJECT), value)


SCALARS = ("f2", "f4", "f8", "i1", "i8", "u1", "u8", "?")


@given(st.sampled_from(SCALARS).flatmap(lambda kind: hnp.arrays(kind, (3,))))
def test_reads_whatever_numpy_2_writes_of_scalars(array):
    scalars = list(array)
    restored = codec.decode(repr(scalars).encode(), OBJECT)
    assert same(np.array(restored, array.dtype), array)


@pytest.mark.parametrize(
    "text",
    [
        "np.float64()", "np.float64('1')", "np.float64(1, 2)", "np.float64([1])", "np.int64(1.5)",
        "np.float64(np.float64(1))", "np.float64(True)", "np.float64(__import__('os'))",
        "np.str_(1)", "np.str_(b'a')", "np.bytes_('a')", "np.float64 (1)", "np.float64(1", "np.",
        "np.float64", "np.load('x')", "np.array([1])", "array([1])", "np.float128(1)", "np.True_()",
        "np.datetime64('2026')", "np.complex128(1j)", "os.float64(1)", "np.True_.real", "xnp.True_",
        "np.float64(1)np.float64(2)", "np.float64((1))", "np.str_('a' 'b')", "np.float64(1)1",
    ],
)  # fmt: skip
def test_nothing_else_of_numpy_is_read(text):
    with pytest.raises(DecodeError):
        codec.decode(text.encode(), OBJECT)


def test_numbers_of_numpy_2_fit_a_spec():
    assert codec.decode(b"np.float64(1.5)", DataSpec("float64")) == 1.5
    array = codec.decode(b"[np.float32(0.1), np.float32(2.0)]", DataSpec("float32", (2,)))
    assert array.tolist() == np.array([0.1, 2.0], "f4").tolist()
