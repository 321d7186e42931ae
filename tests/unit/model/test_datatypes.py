import contextlib
import datetime
import math
import tracemalloc

import attrs
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from queue_connector.model.conform import conform, conform_batch, zero
from queue_connector.model.datatypes import DataSpec, DtypeError, Kind, dtype_name, parse_dtype
from queue_connector.model.errors import ConformError
from tests.support.data import DTYPES, SHAPES, STRUCT, json_like, same, values

SPECS = [
    DataSpec(dtype, shape)
    for dtype in DTYPES
    for shape in SHAPES.values()
    if not (shape and dtype in ("object", "bytes"))
]


@pytest.mark.parametrize(
    ("written", "dtype"),
    [
        *[(name, "U") for name in ("str", "str_", "string", "DevString", "U")],
        *[(name, "S") for name in ("bytes", "DevEncoded")],
        *[(name, "O") for name in ("object", "object_")],
        *[(name, "?") for name in ("bool", "DevBoolean", "?")],
        *[(name, "i8") for name in ("int64", "int", "DevLong64", "<i8", "q", "l", "longlong")],
        *[(name, "u8") for name in ("uint64", "DevULong64", "Q", "L", "ulonglong")],
        ("int8", "i1"),
        ("uint8", "u1"),
        ("DevUChar", "u1"),
        ("DevShort", "i2"),
        ("DevUShort", "u2"),
        ("DevLong", "i4"),
        ("DevULong", "u4"),
        ("DevFloat", "f4"),
        ("<f4", "f4"),
        *[(name, "f8") for name in ("float64", "float", "double", "DevDouble", "d")],
        ("complex64", "c8"),
        ("complex128", "c16"),
        ("datetime64", "M8[ns]"),
        ("datetime64[ns]", "M8[ns]"),
        ("datetime64[25s]", "M8[25s]"),
        ("U8", "U8"),
        (">f8", ">f8"),
    ],
)
def test_a_dtype_has_many_names(written, dtype):
    parsed = parse_dtype(written)
    assert parsed == np.dtype(dtype)
    assert parsed.char == np.dtype(dtype).char  # not one of numpy's equal types
    assert parse_dtype(parsed) is parsed


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_the_name_of_a_dtype_is_read_as_that_dtype(dtype):
    parsed = parse_dtype(dtype)
    assert parse_dtype(dtype_name(parsed)) == parsed


@given(
    st.recursive(
        st.sampled_from(["int8", "float64", "U3", "datetime64[us]", ">i4", "bool"]),
        lambda dtype: st.lists(
            st.tuples(dtype)
            | st.tuples(dtype, st.lists(st.integers(1, 3), min_size=1, max_size=2)),
            min_size=1,
            max_size=3,
        ).map(lambda fields: [[f"f{i}", *map(_jsonable, field)] for i, field in enumerate(fields)]),
        max_leaves=6,
    )
)
def test_any_struct_survives_being_written(written):
    parsed = parse_dtype(written)
    assert parse_dtype(dtype_name(parsed)) == parsed


def _jsonable(part):
    return list(part) if isinstance(part, tuple) else part


def test_structs_have_fields_with_shapes():
    parsed = parse_dtype([["a", "float32", 2], ("b", "U4"), ["c", "int8", []], ["d", "?", [2, 3]]])
    assert parsed == np.dtype([("a", "f4", (2,)), ("b", "U4"), ("c", "i1"), ("d", "?", (2, 3))])


@pytest.mark.parametrize(
    ("written", "hint"),
    [
        ("bytearray", "'bytes'"),
        ("json", "'object', and the encoding 'json'"),
        ("dict", "'object'"),
        ("list", "'object'"),
        ("flaot64", "'float64'"),
        ("DevDuble", "'DevDouble'"),
        ("DevState", "known|did you mean"),
        ("float16", "'float32'"),
        ("longdouble", "'float64'"),
        ("timedelta64[s]", "known|did you mean"),
        ("S8", "."),
        ("V8", "."),
        ("a", "."),
        ("f8,f8", "."),
        ("(2,)f8", "."),
        ("\0", "."),
        ("", "."),
        (",", "."),
        ("x" * 10_000, "."),
        ("datetime64[parsecs]", "."),
        ("U" + "9" * 30, "."),
        ([], "write a name"),
        (None, "write a name"),
        (5, "write a name"),
        ({"a": 1}, "write a name"),
        (["float64"], r'\["name", "dtype"\]'),
        ([["a"]], r'\["name", "dtype"\]'),
        ([["", "float64"]], r'\["name", "dtype"\]'),
        ([["a", "float64", -1]], "positive"),
        ([["a", "float64", [1.5]]], "positive"),
        ([["a", "float64", [True]]], "positive"),
        ([["a", "str"]], "'U8'"),
        ([["a", "object"]], "fixed length"),
        ([["a", "int8"], ["a", "int8"]], "name of its own"),
        ([["a", "nothing"]], "."),
        ([["a", "float64", [2**30, 2**30, 2**30]]], "."),
    ],
    ids=lambda item: str(item)[:40],
)
def test_what_is_no_dtype_is_refused_with_a_hint(written, hint):
    with pytest.raises(DtypeError, match=hint) as caught:
        parse_dtype(written)
    assert len(str(caught.value)) < 600


@settings(max_examples=300)
@given(st.text(max_size=12) | json_like())
def test_whatever_is_written_is_a_dtype_or_a_dtype_error(written):
    with contextlib.suppress(DtypeError):
        DataSpec(written)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_zero_conforms(spec):
    assert same(conform(zero(spec), spec), zero(spec))


def test_zero_of_text_and_bytes_is_empty():
    assert zero(DataSpec("str")) == ""
    assert zero(DataSpec("bytes")) == ("", b"")
    assert zero(DataSpec("object")) is None
    assert zero(DataSpec("str", (2,))).tolist() == ["", ""]


@settings(max_examples=300)
@given(st.sampled_from(SPECS).flatmap(lambda spec: st.tuples(st.just(spec), values(spec))))
def test_what_conforms_is_left_as_it_is(case):
    spec, value = case
    for shorter in (False, True):
        assert same(conform(value, spec, shorter=shorter), value)


NUMERIC = [s for s in SPECS if s.kind in (Kind.BOOL, Kind.INT, Kind.FLOAT) and s.dtype.isnative]


@settings(max_examples=200)
@given(
    st.sampled_from([s for s in SPECS if s.kind is Kind.STR] + NUMERIC).flatmap(
        lambda spec: st.tuples(st.just(spec), values(spec))
    )
)
def test_plain_lists_conform_to_the_same_array(case):
    spec, value = case
    written = value.tolist() if spec.shape or spec.kind is not Kind.STR else value
    restored = conform(written, spec)
    if 0 in spec.shape or not np.size(value):
        restored = conform(written, spec, shorter=True)
    assert same(restored, value)


@pytest.mark.parametrize(
    ("value", "shape", "expected"),
    [
        (2.0, (2, 2), [[2, 2], [2, 2]]),
        ([1.0, 2.0], (2, 2), [[1, 2], [1, 2]]),
        ([[1], [2]], (2, 3), [[1, 1, 1], [2, 2, 2]]),
        (0, (3,), [0, 0, 0]),
        ([[1, 2]], (-1, 2), [[1, 2]]),
        ([1, 2, 3], (-1,), [1, 2, 3]),
        ([], (-1, 3), []),
        ([[], []], (2, -1), [[], []]),
        (True, (1,), [1]),
    ],
)
def test_broadcasts_up_to_the_shape(value, shape, expected):
    array = conform(value, DataSpec("float32", shape))
    assert array.dtype == np.float32
    assert array.tolist() == expected


@pytest.mark.parametrize(
    ("value", "shape"),
    [([1, 2], ()), ([1, 2], (3,)), ([[1, 2]], (2,)), ([], (3,)), ([1, 2, 3], (2, 2)), (1, (-1,))],
)
def test_what_does_not_broadcast_is_refused(value, shape):
    with pytest.raises(ConformError):
        conform(value, DataSpec("int64", shape))


def test_a_shorter_value_keeps_its_lengths_only_when_asked():
    spec = DataSpec("int64", (3, 4))
    assert conform([[1, 2]], spec, shorter=True).shape == (1, 2)
    assert conform([], spec, shorter=True).shape == (0, 4)
    assert conform(7, spec, shorter=True).shape == (3, 4)
    assert conform([1, 2, 3, 4], spec, shorter=True).shape == (3, 4)
    with pytest.raises(ConformError):
        conform([[1] * 5], spec, shorter=True)
    with pytest.raises(ConformError):
        conform([[1, 2]], spec)


@pytest.mark.parametrize(
    ("value", "dtype"),
    [
        (300, "uint8"), (-1, "uint64"), (2**63, "int64"), (2**64, "uint64"), ([1, 2**64], "uint64"),
        ([-1, 2**63], "uint64"), ([-1, 2**63], "int64"), (1.5, "int64"), ([1, 1.5], "int64"),
        (float("nan"), "int64"), (1, "bool"), ("1", "int64"), ("1.5", "float64"), (None, "str"),
        ([1, None], "str"), ([b"\xff"], "str"), (b"a\0", "str"), (10**39, "float32"),
        (1e39, "float32"),
        (10**400, "float64"), ([1.5, 10**400], "float64"), (1j, "float64"), (None, "float64"),
        ([None], "float64"), ({}, "float64"), ("abc", "U2"), (["a", "abc"], "U2"), ("a\0", "U2"),
        (["a\0"], "str"), ("\ud800", "str"), (["\ud800"], "str"), (b"1", "float64"),
        (5, "datetime64[ns]"), ("now", "datetime64[ns]"), ("x", "datetime64[ns]"),
        ("2026-01-31T12:00:00Z", "datetime64[ns]"), ("9999-01-01", "datetime64[ns]"),
        ("2026-13-01", "datetime64[ns]"), (["2026-01-01", 5], "datetime64[ns]"),
        ("2026-01-01T00:00:00.123456789012345678", "datetime64[ns]"),
        (np.datetime64("9999-01-01", "s"), "datetime64[ns]"), (np.timedelta64(1, "s"), "int64"),
        (np.array([b"\xff"]), "str"), (1234, "U2"), (np.float64(0.25), "U3"),
        (np.array(["2026"], "M8[s]"), "str"), ([object], "str"),
        (np.array([1e300]), "float32"), (np.array([None]), "float64"),
        (object, "int64"), (datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC), "datetime64[ns]"),
    ],
    ids=lambda item: str(item)[:30],
)  # fmt: skip
def test_a_value_that_would_be_changed_is_refused(value, dtype):
    shape = np.shape(value) if isinstance(value, list | np.ndarray) else ()
    with pytest.raises(ConformError) as caught:
        conform(value, DataSpec(dtype, shape))
    assert "expected" in str(caught.value)
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize(
    ("value", "dtype", "expected"),
    [
        (2**64 - 1, "uint64", 2**64 - 1),
        ([2**64 - 1, 0], "uint64", [2**64 - 1, 0]),
        (2**70, "float64", 2.0**70),
        ([0.5, 2**70], "float64", [0.5, 2.0**70]),
        ([1, 2], "complex64", [1, 2]),
        (np.int64(200), "uint8", 200),
        (np.array([1.5]), "float32", [1.5]),
        (True, "int8", 1),
        (np.str_("é"), "str", "é"),
        ([np.str_("é")], "str", ["é"]),
        (math.inf, "float32", math.inf),
    ],
)
def test_values_are_cast_when_they_survive_it(value, dtype, expected):
    restored = conform(value, DataSpec(dtype, np.shape(value)))
    assert (restored if isinstance(restored, str) else restored.tolist()) == expected


def test_64_bit_scalars_have_the_one_type_that_numpy_shows():
    assert type(conform(2**64 - 1, DataSpec("uint64"))) is np.uint64
    assert conform(np.zeros(2, "ulonglong"), DataSpec("uint64", (2,))).dtype.char == "L"


def test_times_are_read_at_the_precision_of_the_dtype():
    spec = DataSpec("datetime64[ns]", (2,))
    array = conform(["2026-01-31T12:00:00.123456789", "NaT"], spec)
    assert array[0] == np.datetime64("2026-01-31T12:00:00.123456789")
    assert np.isnat(array[1])
    assert conform(np.datetime64("2026-01-01"), DataSpec("datetime64[s]")).dtype == "M8[s]"


class TestStructs:
    spec = DataSpec([["name", "U8"], ["x", "float32"], ["n", "uint8"]])

    @pytest.mark.parametrize(
        "value",
        [
            {"n": 3, "x": 1.5, "name": "SKA001"},
            ("SKA001", 1.5, 3),
            ["SKA001", 1.5, 3],
            np.array([(3, 1.5, "SKA001")], [("n", "i8"), ("x", "f8"), ("name", "U20")])[0],
        ],
        ids=["mapping", "tuple", "list", "struct of another order"],
    )
    def test_are_written_in_many_ways(self, value):
        assert conform(value, self.spec).tolist() == ("SKA001", 1.5, 3)
        rows = DataSpec(self.spec.dtype, (2,))
        assert conform([value, value], rows).tolist() == [("SKA001", 1.5, 3)] * 2

    @pytest.mark.parametrize(
        "value",
        [
            {"n": 3, "x": 1.5},
            {"n": 3, "x": 1.5, "name": "SKA001", "more": 1},
            ("SKA001", 1.5),
            ("SKA001-and-more", 1.5, 3),
            ("SKA001", 1.5, 300),
            ("SKA001", 1.5, 2.5),
            ("SKA001", "1.5", 3),
            ("SKA001", 1e300, 3),
            (None, 1.5, 3),
            (123456789, 1.5, 3),
            ([], [], []),
            [],
            5,
            "SKA001",
            None,
            np.array([("SKA001-and-more", 1.5, 3)], [("name", "U20"), ("x", "f8"), ("n", "u1")])[0],
            np.array([("SKA001", 1.5, 300)], [("name", "U8"), ("x", "f4"), ("n", "i8")])[0],
            np.array([("SKA001", 1.5, 3)], [("name", "U8"), ("y", "f4"), ("n", "u1")])[0],
            np.array([("SKA001", [1, 2], 3)], [("name", "U8"), ("x", "f4", 2), ("n", "u1")])[0],
        ],
        ids=str,
    )
    def test_whose_fields_do_not_fit_are_refused(self, value):
        with pytest.raises(ConformError):
            conform(value, self.spec)

    def test_have_fields_with_shapes(self):
        spec = DataSpec(STRUCT)
        value = {"name": "a", "x": 1, "n": 2**64 - 1, "on": True, "m": [1, 2]}
        assert conform(value, spec)["m"].tolist() == [1, 2]
        assert conform(value, spec)["n"] == 2**64 - 1

    def test_are_objects_as_mappings(self):
        value = conform(("SKA001", 1.5, 3), self.spec)
        expected = {"name": "SKA001", "x": 1.5, "n": 3}
        assert conform(value, DataSpec("object")) == expected
        assert conform(np.array([value]), DataSpec("object")) == [expected]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (("jpeg", b"x"), ("jpeg", b"x")),
        (["jpeg", bytearray(b"x")], ("jpeg", b"x")),
        (["jpeg", "é"], ("jpeg", b"\xc3\xa9")),
        (b"x", ("", b"x")),
    ],
)
def test_bytes_are_a_pair(value, expected):
    assert conform(value, DataSpec("bytes")) == expected


@pytest.mark.parametrize("value", ["x", 5, None, ("a",), ("a", 1), ["a", "\ud800"], [b"a", b"b"]])
def test_other_pairs_are_refused(value):
    with pytest.raises(ConformError):
        conform(value, DataSpec("bytes"))


def deep(depth, bottom):
    for _ in range(depth):
        bottom = [bottom]
    return bottom


HOSTILE = [
    deep(70, 1), deep(70, "a"), deep(5000, 1), deep(5000, "a"), deep(5000, {}), deep(40, []),
    [[1], [2, 3]], [[1], 2], [1, [2]], [[], [1]], ["a", ["b"]], [{}], [{"a": 1}, 2], {}, {"a": []},
    None, [None], math.nan, [math.nan, None], 10**5000, [10**5000], -(10**400), [[10**400], [1]],
    ["x", 1, None], [""], [[], {}], "\ud800", ["\0"], object(), [object()], {1, 2}, 1j, [[1j]],
    b"x", [b"x"], range(3), np.array(None), np.array([[]]), np.void(b"x"), np.datetime64("NaT"),
    np.zeros((1,) * 40), np.array([1, "a"], object), np.zeros(2, [("a", "O")]), np.ma.masked,
    np.timedelta64(1), np.bytes_(b"x"), np.zeros((), "V4"), type, [[[]], [[], []]], (), ((),),
]  # fmt: skip


@pytest.mark.parametrize("value", HOSTILE, ids=range(len(HOSTILE)))
def test_nothing_but_a_conform_error_comes_of_it(value):
    for spec in SPECS:
        for shorter in (False, True):
            refused_or_stable(value, spec, shorter)


LEAVES = (
    st.integers()
    | st.sampled_from([2**63, 2**64, 10**400, "\ud800", "2026-01-01", "a\0", b"x", 1j, (), []])
    | st.dictionaries(st.sampled_from(["name", "x", "n", "ts", "az"]), st.floats(), max_size=3)
)


@settings(max_examples=1000)
@given(json_like(leaves=LEAVES), st.sampled_from(SPECS), st.booleans())
def test_nothing_but_a_conform_error_comes_of_json(value, spec, shorter):
    refused_or_stable(value, spec, shorter)


def refused_or_stable(value, spec, shorter):
    """Refused, or what came out conforms and is left as it is."""
    try:
        once = conform(value, spec, shorter=shorter)
    except ConformError as error:
        assert len(str(error)) < 1000
        return
    if spec.kind is not Kind.OBJECT:
        assert same(conform(once, spec, shorter=shorter), once)
        if spec.shape:
            assert once.ndim == len(spec.shape)
            assert spec.kind is Kind.STR or once.dtype == spec.dtype


@pytest.mark.parametrize(
    ("value", "dtype", "text"),
    [
        (1, "str", "1"), (-0.5, "str", "-0.5"), (True, "str", "True"), (1e16, "str", "1e+16"),
        (float("nan"), "str", "nan"), (2**64, "str", str(2**64)), (1j, "str", "1j"),
        (np.float32(0.1), "str", "0.1"), (np.int8(-3), "U2", "-3"), (np.True_, "U8", "True"),
        (b"abc", "str", "abc"), (np.bytes_(b"abc"), "U3", "abc"),
        ([1, "a", 2.5, False, b"b"], "str", ["1", "a", "2.5", "False", "b"]),
        (np.array([1.5, np.inf]), "str", ["1.5", "inf"]), (np.array([True]), "U5", ["True"]),
        (np.array([0.1], "f4"), "U3", ["0.1"]), (np.array([b"a", b"bc"]), "str", ["a", "bc"]),
        ([np.array([1, 2])], "str", [["1", "2"]]),
    ],
    ids=repr,
)  # fmt: skip
def test_numbers_booleans_and_ascii_bytes_become_their_text(value, dtype, text):
    """numpy calls these casts safe."""
    fitting = conform(value, DataSpec(dtype, np.shape(text)))
    assert (fitting if isinstance(text, str) else fitting.tolist()) == text


@given(st.lists(st.floats() | st.integers() | st.booleans(), min_size=1))
def test_the_text_of_a_number_is_the_same_alone_in_a_list_and_in_an_array(numbers):
    texts = [conform(number, DataSpec("str")) for number in numbers]
    assert texts == list(map(str, numbers))
    assert conform(numbers, DataSpec("str", (-1,))).tolist() == texts
    kinds = {type(number) for number in numbers}
    if len(kinds) == 1 and all(abs(n) < 2**63 for n in numbers if isinstance(n, int)):
        assert conform(np.array(numbers), DataSpec("str", (-1,))).tolist() == texts


def test_the_text_of_a_number_goes_into_a_struct_too():
    spec = DataSpec([["name", "U4"], ["on", "bool"]])
    assert conform({"name": 12, "on": True}, spec).item() == ("12", True)
    given = np.array([(12, True)], [("name", "i4"), ("on", "?")])
    assert conform(given, DataSpec(spec.dtype, (1,)))["name"].tolist() == ["12"]


LARGE = (
    st.integers(-(2**70), 2**70) | st.integers(-300, 300) | st.sampled_from([2**53 + 1, 10**400])
)
SCALARS = (
    st.floats() | st.floats(width=32) | LARGE | st.booleans() | st.sampled_from([3.5e38, -1e39])
)
NUMPYS = st.sampled_from([np.float64(0.1), np.float32(0.1), np.int16(3), np.uint8(200), np.True_])
PLAIN_NUMBERS = [f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8)] + [
    "f4",
    "f8",
    "?",
    ">f8",
]


def slowly(value, spec):
    """The same without shortcuts: as an array of one more dimension, by the rules for those."""
    conformed = conform([value], attrs.evolve(spec, shape=(1,)))
    return conformed[0]


def outcome(function, *arguments):
    try:
        value = function(*arguments)
    except ConformError:
        return "refused"
    return type(value), repr(value)


@settings(max_examples=500)
@given(SCALARS | NUMPYS, st.sampled_from(PLAIN_NUMBERS))
def test_scalars_conform_alike_by_the_short_way_and_the_long(value, dtype):
    spec = DataSpec(dtype)
    assert outcome(conform, value, spec) == outcome(slowly, value, spec)


@given(st.lists(SCALARS | st.text(max_size=2), min_size=1, max_size=6))
def test_short_lists_conform_alike_by_the_short_way_and_the_long(values):
    spec = DataSpec("f8", (len(values),))
    assert outcome(conform, tuple(values), spec) == outcome(conform, values, spec)


@pytest.mark.parametrize("data", [b"", bytearray(b"ab"), memoryview(b"ab")])
def test_bytes_are_left_as_they_are_and_never_shared_where_they_may_change(data):
    pair = ("npy", data)
    fitting = conform(pair, DataSpec("bytes"))
    assert fitting == ("npy", bytes(data))
    assert type(fitting[1]) is bytes
    assert (fitting[1] is data) is (type(data) is bytes)


BATCHES = st.lists(SCALARS | NUMPYS | st.text(max_size=2) | st.none(), max_size=6)


@given(
    BATCHES | st.lists(st.floats(), max_size=6) | st.lists(st.integers(-300, 300), max_size=6),
    st.sampled_from([*PLAIN_NUMBERS, "str", "object"]),
)
def test_a_batch_conforms_like_one_after_the_other(values, dtype):
    spec = DataSpec(dtype)
    together = conform_batch(values, spec)
    assert len(together) == len(values)
    for value, found in zip(values, together, strict=True):
        try:
            wanted = conform(value, spec)
        except ConformError as error:
            assert str(found) == str(error)
        else:
            assert (type(found), repr(found)) == (type(wanted), repr(wanted))


@pytest.mark.parametrize("wrap", [list, lambda inner: {"a": inner}, lambda inner: (inner,)])
def test_what_does_not_fit_is_shown_without_being_written_out(wrap):
    """The text of a datum is many times its size."""
    value = wrap([{"x": [0.5] * 1_000_000}] * 3)
    tracemalloc.start()
    try:
        with pytest.raises(ConformError) as caught:
            conform(value, DataSpec("float64"))
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert "0.5, 0.5" in str(caught.value)
