import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from queue_connector.codecs.carray import CArrayCodec
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import DecodeError, EncodeError
from tests.support.data import same

NUMERIC = st.sampled_from(["int16", "uint64", "uint8", "float32", ">f8", "complex64"])
codec = CArrayCodec()


@given(arrays(NUMERIC, array_shapes(max_dims=4, max_side=5)))
def test_the_wire_is_the_row_major_buffer(array):
    spec = DataSpec(array.dtype, array.shape)
    payload = codec.encode(array, spec)
    assert payload == array.tobytes("C")
    assert same(codec.decode(payload, spec), array)


def test_reads_zero_copy_and_read_only():
    payload = np.arange(6.0).tobytes()
    array = codec.decode(payload, DataSpec("float64", (2, 3)))
    assert np.shares_memory(array, np.frombuffer(payload))
    assert not array.flags.writeable


def test_a_number_without_a_label_is_refused_in_a_batch_too():
    spec = DataSpec("int16", labels=("low", "high"))
    first, second = codec.decode_batch([b"\x01\x00", b"\x02\x00"], spec)
    assert first == 1
    assert isinstance(second, DecodeError)


def test_arrays_of_a_batch_are_read_only():
    payloads = [np.full((2, 2), number).tobytes() for number in (1.0, 2.0)]
    for array, number in zip(
        codec.decode_batch(payloads, DataSpec("f8", (2, 2))), (1, 2), strict=True
    ):
        assert array.tolist() == [[number, number]] * 2
        assert not array.flags.writeable


def test_other_memory_orders_are_written_row_major():
    array = np.asfortranarray(np.arange(6).reshape(2, 3))
    payload = codec.encode(array, DataSpec("int64", (2, 3)))
    assert payload == np.arange(6).tobytes()
    spread = np.broadcast_to(np.float64(2), (2, 2))
    assert codec.encode(spread, DataSpec("float64", (2, 2))) == np.full(4, 2.0).tobytes()


@given(st.binary(max_size=64))
def test_any_other_length_is_a_decode_error(payload):
    try:
        assert codec.decode(payload, DataSpec("float64", (2, 2))).nbytes == len(payload)
    except DecodeError as error:
        assert error.size == len(payload) != 32


@given(st.binary(max_size=64))
def test_a_dynamic_dimension_takes_whole_rows(payload):
    spec = DataSpec("int16", (2, -1, 3))
    try:
        assert codec.decode(payload, spec).shape == (2, len(payload) // 12, 3)
    except DecodeError:
        assert len(payload) % 12


@pytest.mark.parametrize("spec", [DataSpec("bool", (2,)), DataSpec([["on", "bool"]], (2,))])
def test_a_boolean_that_is_neither_is_refused(spec):
    assert codec.decode(b"\x00\x01", spec).tolist() in ([False, True], [(False,), (True,)])
    with pytest.raises(DecodeError, match="boolean"):
        codec.decode(b"\x00\x02", spec)


@pytest.mark.parametrize("code", [0x110000, 0xFFFFFFFF, 0xD800, 0xDFFF])
def test_a_character_that_is_none_is_refused(code):
    spec = DataSpec([["n", "int8"], ["inner", [["name", "U2"]], [1]]], (1,))
    with pytest.raises(DecodeError, match="character"):
        codec.decode(b"\x01" + code.to_bytes(4, "little") + bytes(4), spec)


def test_a_value_of_another_shape_cannot_be_written():
    with pytest.raises(EncodeError, match="shape"):
        codec.encode(np.arange(3), DataSpec("int64", (4,)))


def test_a_length_that_the_payload_cannot_tell_is_refused_at_configuration():
    (fault,) = codec.faults(DataSpec("int64", (-1, 0)))
    assert "npy" in fault.hint
