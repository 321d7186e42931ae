import io
import time
import tracemalloc
import warnings

import numpy as np
import pytest

from queue_connector.codecs.npy import NpyCodec
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import DecodeError, EncodeError
from tests.support.data import same

codec = NpyCodec()
POINTING = [["antenna_name", "U8"], ["ts", "datetime64[ns]"], ["az", "float64"]]


def saved(array, **options):
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def forged(header, data=b"", version=1):
    text = header.encode() if isinstance(header, str) else header
    size = len(text).to_bytes(2 if version == 1 else 4, "little")
    return b"\x93NUMPY" + bytes([version, 0]) + size + text + data


@pytest.mark.parametrize(
    "array",
    [np.arange(6.0).reshape(2, 3), np.array("Ω"), np.array(["a", ""]), np.zeros((0, 3), "c8")],
    ids=str,
)
def test_writes_what_numpy_saves(array):
    value = array if array.shape else str(array)
    assert codec.encode(value, DataSpec(array.dtype, array.shape)) == saved(array)


def test_numpy_reads_structs_with_times():
    spec = DataSpec(POINTING, (2,))
    array = np.zeros(2, spec.dtype)
    array["ts"] = ["2026-01-31T12:00:00.123456789", "NaT"]
    assert same(np.load(io.BytesIO(codec.encode(array, spec)), allow_pickle=False), array)


def test_field_names_beyond_latin_1_are_written_in_version_3():
    spec = DataSpec([["Ω", "int8"]], (1,))
    payload = codec.encode(np.ones(1, spec.dtype), spec)
    assert payload[6] == 3
    assert codec.decode(payload, spec)["Ω"].tolist() == [1]


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_reads_each_version(version):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.arange(3), version)
    assert codec.decode(file.getvalue(), DataSpec("int64", (3,))).tolist() == [0, 1, 2]


def test_reads_column_major_files():
    array = np.asfortranarray(np.arange(6).reshape(2, 3))
    payload = saved(array)
    assert b"'fortran_order': True" in payload
    assert same(codec.decode(payload, DataSpec("int64", (2, 3))), array)


def test_reads_zero_copy_and_read_only():
    payload = saved(np.arange(6.0))
    array = codec.decode(payload, DataSpec("float64", (6,)))
    assert np.shares_memory(array, np.frombuffer(payload, "u1"))
    assert not array.flags.writeable


def test_other_byte_orders_and_sizes_are_cast_when_that_is_safe():
    assert codec.decode(saved(np.array([1, 2], ">i2")), DataSpec("int64", (2,))).tolist() == [1, 2]
    assert codec.decode(saved(np.array(["ab"], ">U2")), DataSpec("str", (1,))).tolist() == ["ab"]
    with pytest.raises(DecodeError, match="out of range"):
        codec.decode(saved(np.array([300])), DataSpec("uint8", (1,)))


def test_reads_aligned_structs_by_the_names_of_their_fields():
    aligned = np.zeros(2, np.dtype([("n", "i1"), ("x", "f8")], align=True))
    aligned["x"] = [1.5, 2.5]
    spec = DataSpec([["x", "float64"], ["n", "int16"]], (2,))
    assert codec.decode(saved(aligned), spec).tolist() == [(1.5, 0), (2.5, 0)]


class Bomb:
    ran = False

    def __reduce__(self):
        return setattr, (Bomb, "ran", True)


def test_a_pickle_is_not_loaded():
    payload = saved(np.array([Bomb()], object), allow_pickle=True)
    with pytest.raises(DecodeError, match="refused"):
        codec.decode(payload, DataSpec("float64", (1,)))
    struct = forged("{'descr': [('a', '|O')], 'fortran_order': False, 'shape': (1,)}", bytes(8))
    with pytest.raises(DecodeError, match="refused"):
        codec.decode(struct, DataSpec([["a", "int64"]], (1,)))
    assert not Bomb.ran


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_is_refused(save):
    file = io.BytesIO()
    save(file, np.zeros(1000))
    with pytest.raises(DecodeError, match="archive"):
        codec.decode(file.getvalue(), DataSpec("float64", (1000,)))


CLAIM = "{{'descr': {!r}, 'fortran_order': False, 'shape': {!r}, }}"


@pytest.mark.parametrize(
    ("descr", "shape"),
    [
        ("<f8", (2**40,)),
        ("<f8", (2**62, 2**62, 2**62)),
        ("<f8", (10**4000,)),
        ("<U0", (2**40,)),
        ("<U99999999", (2**20,)),
        ([("a", "<f8", (2**30, 2**30))], (1,)),
        ([("a", "<f8", (0,))], (2**40,)),
        ("<f8", (-1,)),
        ("<f8", (-(2**63), -2)),
        ("<f8", (True,)),
        ("<f8", (1,) * 5000),
    ],
    ids=lambda item: str(item)[:30],
)
def test_a_header_that_claims_much_takes_no_memory(descr, shape):
    payload = forged(CLAIM.format(descr, shape), b"x" * 64)
    tracemalloc.start()
    try:
        with pytest.raises(DecodeError):
            codec.decode(payload, DataSpec("float64", (-1,)))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2**20 + 100 * len(payload)


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\x93NUMPY",
        saved(np.zeros(3))[:-1],
        saved(np.zeros(3)) + b"\x00",
        forged("{}"),
        forged("[]"),
        forged("{'descr': '<f8', 'fortran_order': 0, 'shape': (1,)}", bytes(8)),
        forged("{'descr': '<f8', 'fortran_order': False, 'shape': [1]}", bytes(8)),
        forged("{'descr': '<f8', 'fortran_order': False, 'shape': (1,), 'x': 1}", bytes(8)),
        forged(CLAIM.format("|S8", (1,)), bytes(8)),
        forged(CLAIM.format("<m8[ns]", (1,)), bytes(8)),
        forged(CLAIM.format("f8,f8", (1,)), bytes(16)),
        forged(CLAIM.format([], (1,)), bytes(8)),
        forged(CLAIM.format([("a",)], (1,)), bytes(8)),
        forged(CLAIM.format([("a", "<f8"), ("a", "<f8")], (1,)), bytes(16)),
        forged(CLAIM.format([(("t", "a"), "<f8")], (1,)), bytes(8)),
        forged("{'descr': " + "[('a'," * 60 + "'<f8'" + ")]" * 60 + "}", bytes(8)),
        forged("{'descr': __import__('os'), 'fortran_order': False, 'shape': ()}", bytes(8)),
        forged(b"\xff" * 30, version=3),
        forged("(" * 60_000),
        forged(" " * 70_000, version=2),
        b"\x93NUMPY\x04\x00\x10\x00" + bytes(16),
        b"\x93NUMPY\x02\x00\xff\xff\xff\xff",
        forged(CLAIM.format("<U1", (1,)), b"\xff\xff\xff\xff"),
        forged(CLAIM.format("|b1", (1,)), b"\x02"),
    ],
    ids=lambda payload: repr(payload[-40:]),
)
def test_anything_else_is_a_decode_error(payload):
    began = time.perf_counter()
    with pytest.raises(DecodeError) as caught:
        codec.decode(payload, DataSpec("float64", (-1,)))
    assert caught.value.encoding == "npy"
    assert time.perf_counter() - began < 1


def test_text_that_numpy_would_strip_cannot_be_written():
    assert codec.decode(codec.encode("\0a", DataSpec("str")), DataSpec("str")) == "\0a"
    with pytest.raises(EncodeError, match="NUL"):
        codec.encode("a\0", DataSpec("str"))


@pytest.mark.parametrize("kind", ["f8", ">f4", "?", "U3", "M8[ns]", "c16", [("a", "u1")]])
@pytest.mark.parametrize("order", ["C", "F", "strided", "broadcast"])
def test_large_arrays_are_written_as_numpy_saves_them_and_copied_once(kind, order):
    array = np.zeros((300, 1100), kind, order="F" if order == "F" else "C")
    if order == "strided":
        array = array[:, ::2]
    if order == "broadcast":
        array = np.broadcast_to(array[:1], array.shape)
    if array.flags.writeable:
        array[1::3, 1] = 1
    assert codec.write(array, DataSpec("object")) == saved(array)


@pytest.mark.parametrize(
    "header",
    [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3L,), }",
        "{'descr': [('a3L', '<f4', (2L,))], 'fortran_order': True, 'shape': (3L, ), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (3L, 1L), }",
    ],
)
@pytest.mark.parametrize("version", [1, 2])
def test_reads_the_long_integers_of_old_headers_as_numpy_does(header, version):
    payload = forged(header + "\n", np.arange(3.0).tobytes(), version)
    with warnings.catch_warnings(action="ignore"):
        theirs = np.load(io.BytesIO(payload), allow_pickle=False)
    restored = codec.decode(payload, DataSpec(theirs.dtype, theirs.shape))
    assert same(np.asarray(restored), theirs)


@pytest.mark.parametrize(
    ("header", "version"),
    [
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (3L,), }", 3),
        ("{'descr': '<f8L', 'fortran_order': False, 'shape': (3,), }", 1),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (3LL,), }", 1),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (L,), }", 1),
        ("{'descr': '|O', 'fortran_order': False, 'shape': (3L,), }", 1),
        ("{'descr': '<f8', 'fortran_order': False, 'shape': (9999999999L,), }", 1),
    ],
)
def test_other_headers_with_an_l_are_refused(header, version):
    with pytest.raises(DecodeError):
        codec.decode(forged(header, bytes(24), version), DataSpec("float64", (3,)))
