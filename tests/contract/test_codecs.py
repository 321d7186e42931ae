"""What every encoding owes: the registry is iterated, so that a new one is judged as well."""

import contextlib
import tracemalloc

import msgpack_numpy
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from queue_connector.codecs import codec_for, codecs
from queue_connector.model.conform import conform
from queue_connector.model.datatypes import DataSpec, Kind, dtype_name
from queue_connector.model.errors import DecodeError, EncodeError
from tests.support import matrix
from tests.support.data import NESTED, STRUCT, TIMED, json_like, same, values
from tests.support.fuzzing import SPECS, fuzz

NAMES = list(codecs)
CARRIED = {name: [s for s in SPECS if not codecs.lookup(name)().refusal(s)] for name in NAMES}
BOUNDED = settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

COLUMNS = {"int": "ints", "float": "floats"}
MOST = {matrix.SCALAR: 0, matrix.UP_TO_2_D: 2, matrix.ANY: 32}


def in_the_table(name, spec):
    """Whether the specification's table says that an encoding carries it."""
    columns, shapes = matrix.ENCODINGS[name]
    column = COLUMNS.get(spec.kind.value, spec.kind.value)
    if dtype_name(spec.dtype) == TIMED:
        column = "struct with datetime64"
    most = 0 if column in matrix.SCALAR_ONLY else MOST[shapes]
    return column in columns and len(spec.shape) <= most


@pytest.mark.parametrize("name", NAMES)
def test_carries_what_the_table_of_encodings_says(name):
    for spec in SPECS:
        carried = not codecs.lookup(name)().refusal(spec)
        assert carried == in_the_table(name, spec), spec


@pytest.mark.parametrize("name", NAMES)
@settings(BOUNDED, max_examples=150)
@given(data=st.data())
def test_decoding_undoes_encoding(name, data):
    codec = codecs.lookup(name)()
    spec = data.draw(st.sampled_from(CARRIED[name]))
    value = data.draw(values(spec))
    try:
        payload = codec.encode(value, spec)
    except EncodeError:
        assert name == "ascii"
        assert not str(value).isascii()
        return
    restored = codec.decode(payload, spec)
    assert same(restored, value), payload
    assert same(conform(restored, spec), restored)
    assert codec.encode(restored, spec) == payload or "U" in str(spec.dtype.descr)


EXTREMES = {
    **{
        name: [np.iinfo(name).min, np.iinfo(name).max, 0]
        for name in ("uint8", "uint64", "int8", "int16", "int32", "int64")
    },
    "float32": [np.nan, np.inf, -np.inf, -0.0, 1e-45, 3.4028235e38, 0.1],
    "float64": [np.nan, np.inf, -np.inf, -0.0, 5e-324, 1.7976931348623157e308, 0.1],
    "bool": [True, False],
    "str": ["", "nan", "Ω≈ç 😀", "'\"\\\n", "None"],
}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", EXTREMES)
def test_extreme_values_survive(name, dtype):
    codec = codecs.lookup(name)()
    shapes = [(), (len(EXTREMES[dtype]),), (-1, 1)]
    for spec in [DataSpec(dtype, shape) for shape in shapes]:
        if codec.refusal(spec):
            continue
        if spec.shape:
            column = [[item] for item in EXTREMES[dtype]]
            cases = [conform(column if spec.dynamic else EXTREMES[dtype], spec)]
        else:
            cases = [conform(item, spec) for item in EXTREMES[dtype]]
        for value in cases:
            if name == "ascii" and dtype == "str" and not value.isascii():
                with pytest.raises(EncodeError):
                    codec.encode(value, spec)
            else:
                assert same(codec.decode(codec.encode(value, spec), spec), value)


@pytest.mark.parametrize("name", ["python", "json", "msgpack_numpy"])
@settings(BOUNDED, max_examples=100)
@given(value=json_like())
def test_objects_survive_nested_as_they_are(name, value):
    codec, spec = codecs.lookup(name)(), DataSpec("object")
    assert same(codec.decode(codec.encode(value, spec), spec), value)


@pytest.mark.parametrize("name", NAMES)
def test_a_shorter_value_stays_short(name):
    codec = codecs.lookup(name)()
    if codec.refusal(DataSpec("int32", (5,))) or name == "carray":
        return
    payload = codec.encode(np.arange(3, dtype="int32"), DataSpec("int32", (3,)))
    assert codec.decode(payload, DataSpec("int32", (5,))).tolist() == [0, 1, 2]
    with pytest.raises(DecodeError, match="broadcast"):
        codec.decode(payload, DataSpec("int32", (2,)))


@pytest.mark.parametrize("name", NAMES)
def test_what_it_cannot_carry_is_a_fault_with_a_way_out(name):
    codec = codecs.lookup(name)()
    for spec in SPECS:
        faults = list(codec.faults(spec))
        if spec.kind in (Kind.OBJECT, Kind.BYTES) and spec.shape:
            assert not faults  # the endpoint's descriptor says it
            continue
        assert bool(faults) == bool(codec.refusal(spec))
        for fault in faults:
            assert fault.path == "$"
            assert name in fault.message
            fitting = [other for other in NAMES if spec in CARRIED[other]]
            assert all(other in fault.hint for other in fitting)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "value",
    [object(), object, {"a": object()}, {(1, 2): 3}, {1, 2}, np.datetime64("2026-01-01"), [[...]]],
    ids=["object", "type", "object inside", "tuple key", "set", "datetime64", "Ellipsis"],
)
def test_an_object_that_cannot_be_written_is_an_encode_error(name, value):
    codec, spec = codecs.lookup(name)(), DataSpec("object")
    if codec.refusal(spec):
        return
    with pytest.raises(EncodeError) as caught:
        codec.encode(value, spec)
    assert caught.value.encoding == name


@pytest.mark.parametrize("name", ["python", "json", "msgpack_numpy"])
def test_nesting_is_bounded_the_same_for_writing_and_reading(name):
    codec, spec = codecs.lookup(name)(), DataSpec("object")
    deep = []
    for _ in range(99):
        deep = [deep]
    assert codec.decode(codec.encode(deep, spec), spec) == deep
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(EncodeError, match="deep"):
        codec.encode(deep, spec)


@pytest.mark.parametrize("name", NAMES)
def test_a_lone_surrogate_is_no_text(name):
    codec, spec = codecs.lookup(name)(), DataSpec("str")
    if not codec.refusal(spec):
        with pytest.raises(EncodeError):
            codec.encode("\ud800", spec)


@pytest.mark.parametrize("name", NAMES)
def test_a_slice_of_the_fuzzing(name):
    assert fuzz(name, 2000, seed=7) > 50


@settings(BOUNDED, max_examples=300)
@given(payload=st.binary(max_size=40), data=st.data())
def test_random_bytes_are_values_or_decode_errors(payload, data):
    name = data.draw(st.sampled_from(NAMES))
    spec = data.draw(st.sampled_from(CARRIED[name]))
    try:
        value = codecs.lookup(name)().decode(payload, spec)
    except DecodeError as error:
        assert error.encoding == name
    else:
        assert same(conform(value, spec, shorter=True), value)


MIB = 2**20
KIB = 2**10
SIZE = 64 * KIB
GREEDY = {
    "python ints": ("python", b"[" + b"1," * (SIZE // 2) + b"1]", 64),
    "python tuples": ("python", b"(" + b"(),'x'," * (SIZE // 7) + b")", 64),
    "python mappings": ("python", b"[" + b"{1:''}," * (SIZE // 7) + b"]", 64),
    "json lists": ("json", b"[" + b"[]," * (SIZE // 3) + b"[]]", 64),
    "json mappings": ("json", b"[" + b'{"":1},' * (SIZE // 7) + b"1]", 64),
    "msgpack lists": ("msgpack_numpy", b"\xdd" + SIZE.to_bytes(4) + b"\x90" * SIZE, 256),
    "msgpack mappings": (
        "msgpack_numpy", b"\xdd" + (SIZE // 3).to_bytes(4) + b"\x81\xa0\x01" * (SIZE // 3), 256,
    ),
    "msgpack structs": (
        "msgpack_numpy",
        msgpack_numpy.packb(np.zeros(SIZE, [("a", "u1")])),
        256,
    ),
    "msgpack claims": ("msgpack_numpy", (b"\xdd" + SIZE.to_bytes(4)) * 1000 + bytes(SIZE), 256),
}  # fmt: skip


@pytest.mark.parametrize("case", GREEDY)
def test_memory_stays_within_the_factor_that_is_stated(case):
    name, payload, factor = GREEDY[case]
    codec, spec = codecs.lookup(name)(), DataSpec("object")
    tracemalloc.start()
    try:
        with contextlib.suppress(DecodeError):
            codec.decode(payload, spec)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < factor * len(payload), peak / len(payload)


@pytest.mark.parametrize("name", ["python", "json", "msgpack_numpy"])
@pytest.mark.parametrize("spec", [DataSpec("str", (-1,)), DataSpec("float64", (-1,))], ids=str)
@pytest.mark.parametrize("nested", [False, True])
def test_text_that_numpy_would_blow_up_is_refused(name, spec, nested):
    codec = codecs.lookup(name)()
    texts = ["x" * 20_000] + [""] * 20_000  # 1.6 GB as an array of numpy
    payload = codec.encode([[texts]] if nested else texts, DataSpec("object"))
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="memory"):
            codec.decode(payload, spec)
        assert tracemalloc.get_traced_memory()[1] < 20 * MIB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("name", ["python", "json"])
def test_a_long_number_among_short_ones_is_not_blown_up_as_text(name):
    numbers = [10**4000] + [1] * 20_000  # 320 MB as an array of text
    payload = codecs.lookup(name)().encode(numbers, DataSpec("object"))
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError, match="memory"):
            codecs.lookup(name)().decode(payload, DataSpec("str", (-1,)))
        assert tracemalloc.get_traced_memory()[1] < 20 * MIB
    finally:
        tracemalloc.stop()


def test_arrays_of_text_in_a_list_are_not_blown_up_either():
    codec = codecs.lookup("msgpack_numpy")()
    parts = [np.array(["x" * 20_000])] + [np.array([""])] * 5000
    payload = msgpack_numpy.packb(parts)
    with pytest.raises(DecodeError, match="memory"):
        codec.decode(payload, DataSpec("str", (-1, 1)))


def test_bytes_are_carried_by_any_name_of_an_encoding():
    spec = DataSpec("bytes")
    for encoding in (*NAMES, "jpeg", "", None):
        codec = codec_for(encoding, spec)
        assert codec.decode(b"\x00\xff", spec) == (encoding or "", b"\x00\xff")
        assert codec.encode((encoding or "", b"\x00\xff"), spec) == b"\x00\xff"


def test_structs_of_every_make_are_among_the_specs():
    assert {dtype_name(s.dtype)[0][0] for s in SPECS if s.kind is Kind.STRUCT} == {
        STRUCT[0][0], NESTED[0][0], TIMED[0][0]
    }  # fmt: skip


FRAGMENTS = st.sampled_from(
    [b"1", b"-0", b"1.5", b" 2\n", b"1,2", b"", b"[1", b"2]", b"nan", b"NaN", b"Infinity", b"true",
     b"1e400", b"300", b"9" * 30, b"9" * 5000, b"01", b"+1", b"1.", b"x", b'"1"', b"\xef\xbb\xbf1",
     b"\xff", b"null", b"-1", b"1_0", b"[" * 200, b"\x00" * 8, b"\x00" * 7, b"\xff\xff", b"0.1",
     b"9007199254740993", b"18446744073709551615", b"np.float64(1.5)", b"True"],
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
@settings(max_examples=150)
@given(st.data())
def test_a_batch_is_decoded_like_one_after_the_other(name, data):
    codec = codecs.lookup(name)()
    dtypes = ["float64", "float32", "int64", "uint8", "int16", "bool", "str", ">f8", "complex64"]
    specs = [DataSpec(dtype, shape) for dtype in dtypes for shape in ((), (2, 2), (-1,), (0,))]
    specs.append(DataSpec("int16", labels=("low", "high")))
    spec = data.draw(st.sampled_from([spec for spec in specs if not codec.refusal(spec)]))
    encoded = values(spec).map(lambda value: encoded_or_empty(codec, value, spec))
    payloads = data.draw(
        st.lists(FRAGMENTS, max_size=5) | st.lists(encoded | FRAGMENTS, max_size=5)
        | st.lists(encoded, max_size=5)
    )  # fmt: skip
    together = codec.decode_batch(payloads, spec)
    assert len(together) == len(payloads)
    for payload, found in zip(payloads, together, strict=True):
        try:
            wanted = codec.decode(payload, spec)
        except DecodeError as error:
            assert str(found) == str(error)
        else:
            assert same(found, wanted)


@pytest.mark.parametrize("name", ["python", "json", "utf-8", "ascii"])
@pytest.mark.parametrize("zero", [b"-0", b"-0 ", b"-0.0"])
def test_a_zero_keeps_its_sign_in_a_batch_as_it_does_alone(name, zero):
    codec, spec = codecs.lookup(name)(), DataSpec("float64")
    for payloads in ([b"1", zero], [zero, b"1"], [b"-0.5", zero, b"2"]):
        alone = [codec.decode(payload, spec) for payload in payloads]
        assert all(map(same, codec.decode_batch(payloads, spec), alone))


def encoded_or_empty(codec, value, spec):
    try:
        return codec.encode(value, spec)
    except EncodeError:
        return b""
