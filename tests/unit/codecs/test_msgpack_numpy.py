import pickle
import tracemalloc

import msgpack
import msgpack_numpy
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from queue_connector.codecs.msgpack_numpy import MsgpackNumpyCodec
from queue_connector.model.conform import conform
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import DecodeError, EncodeError
from tests.support.data import DTYPES, json_like, same, values

codec = MsgpackNumpyCodec()
OBJECT = DataSpec("object")
SPECS = [
    spec
    for dtype in DTYPES
    for shape in [(), (3,), (2, 3), (0, 2)]
    if not codec.refusal(spec := DataSpec(dtype, shape))
]
CALIBRATION = [["antenna_name", "U8"], *[[f"f{i}", "float64"] for i in range(13)]]


@settings(max_examples=200)
@given(st.sampled_from(SPECS).flatmap(lambda spec: st.tuples(st.just(spec), values(spec))))
def test_the_wire_is_the_librarys(case):
    spec, value = case
    theirs = msgpack_numpy.packb(np.asarray(value) if isinstance(value, np.void) else value)
    assert codec.encode(value, spec) == theirs
    restored = codec.decode(theirs, spec)
    assert same(restored, value)


@settings(max_examples=100)
@given(json_like(leaves=st.binary(max_size=4) | st.complex_numbers(allow_nan=False)))
def test_objects_are_packed_as_the_library_packs_them(value):
    payload = msgpack_numpy.packb(value)
    assert codec.encode(value, OBJECT) == payload
    assert codec.decode(payload, OBJECT) == msgpack_numpy.unpackb(payload) or "nan" in repr(value)


def test_arrays_and_structs_in_an_object_become_lists_and_mappings():
    struct = np.array([("SKA001", 1.5)], [("name", "U8"), ("x", "f8")])
    value = {"a": np.arange(4).reshape(2, 2), "b": [np.float32(0.5), np.True_], "c": struct}
    expected = {
        "a": [[0, 1], [2, 3]], "b": [0.5, True], "c": [{"name": "SKA001", "x": 1.5}]
    }  # fmt: skip
    assert codec.decode(msgpack_numpy.packb(value), OBJECT) == expected
    assert codec.encode(value, OBJECT) == msgpack_numpy.packb(value)


def test_lists_of_numbers_fit_a_spec_too():
    spec = DataSpec("float64", (3,))
    assert codec.decode(msgpack.packb([1, 2.5, float("inf")]), spec).tolist() == [1, 2.5, np.inf]
    scalars = msgpack_numpy.packb([np.float32(1), np.int8(2), 3])
    assert codec.decode(scalars, spec).tolist() == [1, 2, 3]


def test_the_message_of_pointing_calibration_is_read():
    spec = DataSpec(CALIBRATION, (-1,))
    array = np.zeros(3, spec.dtype)
    array["antenna_name"] = ["SKA001", "SKA036", "M000"]
    array["f1"] = [1.5, np.nan, -0.0]
    assert same(codec.decode(msgpack_numpy.packb(array), spec), array)


def test_aligned_structs_are_read_by_the_names_of_their_fields():
    aligned = np.zeros(2, np.dtype([("n", "i1"), ("x", "f8")], align=True))
    aligned["x"] = [1.5, 2.5]
    spec = DataSpec([["x", "float64"], ["n", "int8"]], (2,))
    assert codec.decode(msgpack_numpy.packb(aligned), spec).tolist() == [(1.5, 0), (2.5, 0)]


def test_keys_that_another_packer_wrote_as_text_are_read():
    data = np.arange(2.0).tobytes()
    for wrap in (str, str.encode):
        message = {"nd": True, "type": "<f8", "kind": "", "shape": [2], "data": data}
        payload = msgpack.packb({wrap(key): item for key, item in message.items()})
        assert codec.decode(payload, DataSpec("float64", (2,))).tolist() == [0, 1]
    without_kind = msgpack.packb({b"nd": True, b"type": "<f8", b"shape": [2], b"data": data})
    assert codec.decode(without_kind, DataSpec("float64", (2,))).tolist() == [0, 1]
    assert codec.decode(msgpack.packb({"nd": 1, "x": 2}), OBJECT) == {"nd": 1, "x": 2}


class Tripwire:
    ran = False

    def __reduce__(self):
        return setattr, (Tripwire, "ran", True)


def array_of(kind, written, data):
    return {b"nd": True, b"type": written, b"kind": kind, b"shape": (1,), b"data": data}


@pytest.mark.parametrize(
    "message",
    [
        np.array([Tripwire()], object),
        {"deep": [{"er": np.array([Tripwire()], object)}]},
        array_of(b"O", "|O", pickle.dumps(Tripwire())),
        array_of("O", "<f8", pickle.dumps(Tripwire())),
        {"nd": True, "type": "|O", "kind": "O", "shape": [1], "data": pickle.dumps(Tripwire())},
        array_of(b"", "|O", pickle.dumps(Tripwire())),
        array_of(b"V", [("a", "|O")], bytes(8)),
        {b"nd": False, b"type": "|O", b"data": bytes(8)},
        {b"nd": True, b"kind": b"O", b"data": pickle.dumps(Tripwire())},
    ],
    ids=lambda message: repr(message)[:50],
)
def test_a_pickle_never_runs(message):
    payload = msgpack_numpy.packb(message)
    for spec in (OBJECT, DataSpec("float64", (1,)), DataSpec([["a", "int64"]], (1,))):
        with pytest.raises(DecodeError, match="refused"):
            codec.decode(payload, spec)
    assert not Tripwire.ran


def test_the_tripwire_would_have_noticed():
    try:
        msgpack_numpy.unpackb(msgpack_numpy.packb(np.array([Tripwire()], object)))
        assert Tripwire.ran
    finally:
        Tripwire.ran = False


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\xc1",
        b"\x01\x01",
        b"\x91",
        b"\xdd\xff\xff\xff\xff" * 5000,
        b"\xdf\xff\xff\xff\xff",
        b"\xc6\xff\xff\xff\xff",
        b"\x91" * 500 + b"\x01",
        b"\x91" * 100_000 + b"\x01",
        b"\x81\xa1a" * 2000 + b"\x01",
        b"\xa1\xff",
        b"\xa3\xed\xa0\x80",
        b"\x81\x01\x02",
        b"\x81\x90\x02",
        msgpack.packb(msgpack.Timestamp(1, 2)),
        msgpack.packb([msgpack.Timestamp(1, 2)]),
        msgpack.packb(msgpack.ExtType(5, b"x")),
        msgpack.packb({b"nd": True}),
        msgpack.packb({b"nd": 1, b"type": "<f8", b"data": bytes(8)}),
        msgpack.packb({b"nd": True, b"type": "<f8", b"data": bytes(8)}),
        msgpack.packb({b"nd": True, b"type": "<f8", b"shape": [-1], b"data": bytes(8)}),
        msgpack.packb({b"nd": True, b"type": "<f8", b"shape": [2**40], b"data": bytes(8)}),
        msgpack.packb({b"nd": True, b"type": "<f8", b"shape": [0.5], b"data": bytes(8)}),
        msgpack.packb({b"nd": True, b"type": "<f8", b"shape": [1], b"data": "x" * 8}),
        msgpack.packb({b"nd": True, b"type": 5, b"shape": [1], b"data": bytes(8)}),
        msgpack.packb({b"nd": False, b"type": "<f8", b"data": bytes(16)}),
        msgpack.packb({b"nd": False, b"type": "<U1", b"data": b"\xff" * 4}),
        msgpack.packb({b"nd": False, b"type": "<M8[ns]", b"data": bytes(8)}),
        msgpack.packb({b"complex": True}),
        msgpack.packb({b"complex": True, b"data": "__import__('os')"}),
        msgpack.packb({b"complex": True, b"data": "1" * 10**6}),
        msgpack_numpy.packb(np.array([b"x"])),
        msgpack_numpy.packb({"a": np.array([b"x"])}),
    ],
    ids=lambda payload: repr(payload[:30]),
)
def test_anything_else_is_a_decode_error(payload):
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError) as caught:
            codec.decode(payload, OBJECT)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert caught.value.encoding == "msgpack_numpy"
    assert peak < 2**19 + 256 * len(payload)


@pytest.mark.parametrize(
    "value",
    [
        np.array([None]), {"a": np.array([1, "x"], object)}, {"a": np.array([b"x"])}, 2**64,
        {"t": np.datetime64("2026-01-01", "ns")}, {"t": np.array(["2026-01-01"], "M8[ns]")},
        {(1, 2): 3}, {"s": "\ud800"}, object,
    ],
    ids=repr,
)  # fmt: skip
def test_what_it_would_not_read_again_cannot_be_written(value):
    with pytest.raises(EncodeError):
        codec.encode(value, OBJECT)


def test_a_scalar_struct_is_read_from_a_mapping_too():
    spec = DataSpec([["name", "U8"], ["x", "float64"]])
    value = codec.decode(msgpack.packb({"name": "SKA001", "x": 1}), spec)
    assert value == conform(("SKA001", 1.0), spec)


def without_bin_types(value):
    """As msgpack before 1.0 packs it: text and bytes are one type on the wire."""
    return msgpack.packb(value, default=msgpack_numpy.encode, use_bin_type=False)


@settings(max_examples=200)
@given(st.sampled_from(SPECS).flatmap(lambda spec: st.tuples(st.just(spec), values(spec))))
def test_what_was_packed_without_bin_types_is_read(case):
    spec, value = case
    if spec == OBJECT:
        return
    payload = without_bin_types(np.asarray(value) if isinstance(value, np.void) else value)
    assert same(codec.decode(payload, spec), value)


@pytest.mark.parametrize(
    "array",
    [
        np.array([0.1, np.nan]), np.arange(6).reshape(2, 3), np.array([True]), np.array(["Ω", ""]),
        np.array([("SKA001", 1.5)], [("name", "U8"), ("x", "f8")]), np.float32(0.1), np.int64(-1),
        np.array([0x41414141], "i4"), np.zeros((0, 2)), np.array([1 + 2j]), 1 + 2j,
    ],
    ids=repr,
)  # fmt: skip
def test_without_bin_types_an_array_in_an_object_is_no_mapping(array):
    wanted = codec.decode(msgpack_numpy.packb({"a": {"deep": [array]}, "b": "text"}), OBJECT)
    payload = without_bin_types({"a": {"deep": [array]}, "b": "text"})
    assert same(codec.decode(payload, OBJECT), wanted)


@pytest.mark.parametrize(
    "message",
    [
        {"nd": True, "type": "|O", "kind": "O", "shape": [1], "data": "x"},
        {"nd": True, "type": "<f8", "kind": "", "shape": [1], "data": "short"},
        {"nd": True, "type": "<f8", "shape": [1], "data": 5},
        {"nd": False, "type": "<f8", "data": "short"},
        {"nd": True, "type": "nonsense", "shape": [1], "data": ""},
        {"text": b"\xff"},
        {b"\xff": 1},
        [b"\xc3"],
    ],
    ids=repr,
)
def test_what_lacks_bin_types_and_is_no_array_is_refused(message):
    payload = msgpack.packb({"deep": [message]}, use_bin_type=False)
    with pytest.raises(DecodeError):
        codec.decode(payload, OBJECT)
    with pytest.raises(DecodeError):
        codec.decode(payload, DataSpec("str"))


@pytest.mark.parametrize(
    "value",
    [
        {"nd": 1, "x": 2},
        {"nd": True, "type": "a", "data": "b", "more": 1},
        {"complex": True, "data": "no number"},
        {"complex": 5, "data": "1"},
    ],
    ids=repr,
)
def test_mappings_that_are_no_array_stay_mappings(value):
    assert codec.decode(codec.encode(value, OBJECT), OBJECT) == value


@pytest.mark.parametrize(
    "value",
    [
        {"nd": True, "type": "<f8", "shape": [1], "data": "12345678"},
        {"deep": [{"nd": False, "type": "<i1", "data": "x"}]},
        {"complex": True, "data": "1j"},
    ],
    ids=repr,
)
def test_a_mapping_that_would_come_back_as_an_array_cannot_be_written(value):
    with pytest.raises(EncodeError, match="stands for"):
        codec.encode(value, OBJECT)
