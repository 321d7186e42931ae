"""The dict form of xarray's objects: byte for byte what the library and msgpack_numpy write."""

import msgpack
import msgpack_numpy
import numpy as np
import pytest
import xarray
from hypothesis import given, settings, strategies as st

from queue_connector.codecs import codecs
from queue_connector.codecs.xarray import XarrayCodec
from queue_connector.expressions.selection import Selector, compile_expression
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import DecodeError, EncodeError
from tests.support.data import DTYPES, SHAPES, same, values

codec = XarrayCodec()
OBJECT = DataSpec("object")
DATASET = bytes.fromhex(
    "84a6636f6f72647381a7616e74656e6e6183a464696d7391a7616e74656e6e61a5617474727380a4646174"
    "6185c4026e64c3c40474797065a33c5536c4046b696e64c400c40573686170659101c40464617461c41853"
    "0000004b00000041000000300000003000000031000000a5617474727381aa6a6f6e65735f74797065a142"
    "a464696d7381a7616e74656e6e6101a9646174615f7661727381a46761696e83a464696d7391a7616e7465"
    "6e6e61a5617474727380a46461746185c4026e64c3c40474797065a33c6338c4046b696e64c400c4057368"
    "6170659101c40464617461c4080000803f00000040"
)
DATA_ARRAY = bytes.fromhex(
    "85a464696d7391a169a5617474727380a46461746185c4026e64c3c40474797065a33c6634c4046b696e64"
    "c400c40573686170659101c40464617461c4040000c03fa6636f6f72647380a46e616d65a178"
)
GAIN = xarray.Dataset(
    {"gain": ("antenna", np.array([1 + 2j], "c8"))},
    coords={"antenna": ["SKA001"]},
    attrs={"jones_type": "B"},
)
X = xarray.DataArray(np.array([1.5], "f4"), dims=["i"], name="x")
SPECS = [
    spec
    for dtype in DTYPES
    for shape in SHAPES.values()
    if dtype != "object" and not codec.refusal(spec := DataSpec(dtype, shape))
]


def theirs(value, form="array"):
    return msgpack_numpy.packb(value.to_dict(data=form))


def test_the_library_writes_the_golden_bytes():
    assert theirs(GAIN) == DATASET
    assert theirs(X) == DATA_ARRAY


def test_golden_bytes_are_read_as_objects_and_written_again():
    found = codec.decode(DATASET, OBJECT)
    assert found == {
        "coords": {"antenna": {"dims": ["antenna"], "attrs": {}, "data": ["SKA001"]}},
        "attrs": {"jones_type": "B"},
        "dims": {"antenna": 1},
        "data_vars": {"gain": {"dims": ["antenna"], "attrs": {}, "data": [1 + 2j]}},
    }
    found["data_vars"]["gain"]["data"] = np.array([1 + 2j], "c8")  # a list is complex128
    assert codec.encode(found, OBJECT) == DATASET
    assert codec.decode(DATA_ARRAY, OBJECT)["data"] == [1.5]


def test_jmespath_finds_the_data_of_a_variable():
    found = codec.decode(DATASET, OBJECT)
    select = Selector(found).select
    assert select(compile_expression("data_vars.gain.data")) == [1 + 2j]
    assert select(compile_expression("coords.antenna.data[0]")) == "SKA001"


@settings(max_examples=200)
@given(st.sampled_from(SPECS).flatmap(lambda spec: st.tuples(st.just(spec), values(spec))))
def test_an_array_is_written_as_the_library_writes_a_data_array_and_read_as_it_does(case):
    spec, value = case
    array = xarray.DataArray(np.asarray(value))
    assert codec.encode(value, spec) == theirs(array)
    assert same(codec.decode(theirs(array), spec), value)
    named = XarrayCodec("gain")
    assert named.encode(value, spec) == theirs(xarray.Dataset({"gain": array}))
    assert same(named.decode(theirs(xarray.Dataset({"gain": array, "x": 1})), spec), value)


@pytest.mark.parametrize("dtype", ["int8", "uint64", "f4", "f8", "c8", "c16", "bool", "U3"])
def test_xarray_reads_what_is_written(dtype):
    array = np.array([[0, 1, 1]]).astype(dtype)
    payload = codec.encode(array, DataSpec(dtype, (1, 3)))
    made = xarray.DataArray.from_dict(msgpack_numpy.unpackb(payload))
    assert made.dtype == array.dtype
    assert made.identical(xarray.DataArray(array))
    payload = XarrayCodec("gain").encode(array, DataSpec(dtype, (1, 3)))
    made = xarray.Dataset.from_dict(msgpack_numpy.unpackb(payload))
    assert made.identical(xarray.Dataset({"gain": xarray.DataArray(array)}))


def test_the_list_form_is_read():
    payload = theirs(GAIN, "list")
    assert codec.decode(payload, OBJECT)["data_vars"]["gain"]["data"] == [1 + 2j]
    assert codec.decode(payload, DataSpec("complex64", (-1,))).tolist() == [1 + 2j]
    assert codec.decode(theirs(X, "list"), DataSpec("float64", (1,))).tolist() == [1.5]


def test_lists_of_an_object_are_written_as_arrays():
    found = codec.decode(theirs(GAIN, "list"), OBJECT)
    made = xarray.Dataset.from_dict(msgpack_numpy.unpackb(codec.encode(found, OBJECT)))
    assert made.gain.dtype == np.dtype("c16")
    assert made.identical(xarray.Dataset.from_dict(found))
    x = codec.decode(DATA_ARRAY, OBJECT)
    assert xarray.DataArray.from_dict(msgpack_numpy.unpackb(codec.encode(x, OBJECT))).equals(X)


def test_a_variable_is_named_where_there_are_several_and_coordinates_are_too():
    both = theirs(xarray.Dataset({"a": ("x", [1.0]), "b": ("x", [2.0])}, coords={"x": [7]}))
    spec = DataSpec("float64", (1,))
    assert [XarrayCodec(name).decode(both, spec)[0] for name in ("a", "b", "x")] == [1, 2, 7]
    with pytest.raises(DecodeError, match="2 variables: name one of 'a', 'b'"):
        codec.decode(both, spec)
    with pytest.raises(DecodeError, match="no variable 'c', but 'x', 'a', 'b'"):
        XarrayCodec("c").decode(both, spec)
    assert XarrayCodec("x").decode(DATA_ARRAY, spec).tolist() == [1.5]
    with pytest.raises(DecodeError, match="not 'y', but 'x'"):
        XarrayCodec("y").decode(DATA_ARRAY, spec)


@pytest.mark.parametrize("head", [b"\x89HDF\r\n\x1a\n", b"CDF\x01", b"CDF\x02", b"CDF\x05"])
@pytest.mark.parametrize("spec", [OBJECT, DataSpec("float64", (-1,))], ids=str)
def test_netcdf_is_refused_by_its_name(head, spec):
    with pytest.raises(DecodeError, match="it is netCDF"):
        codec.decode(head + bytes(100), spec)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_is_refused(protocol):
    import pickle

    with pytest.raises(DecodeError, match="it is a pickle"):
        codec.decode(pickle.dumps(X, protocol), OBJECT)
    objects = xarray.DataArray(np.array([{}, None], dtype=object))
    with pytest.raises(DecodeError, match="an array of objects is refused"):
        codec.decode(theirs(objects), OBJECT)


@pytest.mark.parametrize("value", [1, [], {}, {"data_vars": {}}, {"data_vars": {"a": 1}}, {"a": 1}])
def test_what_is_neither_a_dataset_nor_a_data_array_has_no_array(value):
    with pytest.raises(DecodeError):
        codec.decode(msgpack.packb(value), DataSpec("float64", (-1,)))


@pytest.mark.parametrize("data", [[None], [1, "a", None], [[1], [1, 2]], [{"a": 1}]])
def test_data_that_are_no_array_are_an_encode_error(data):
    with pytest.raises(EncodeError):
        codec.encode({"dims": ["x"], "data": data}, OBJECT)


def test_dims_that_are_not_those_of_the_data_are_an_encode_error():
    with pytest.raises(EncodeError, match="2 dims for data of 1 dimensions"):
        codec.encode({"dims": ["x", "y"], "data": [1.0]}, OBJECT)


def test_times_cannot_be_written():
    assert "datetime64" in codec.refusal(DataSpec("datetime64[ns]", (1,)))


def test_text_that_ends_in_nul_is_an_encode_error():
    with pytest.raises(EncodeError, match="NUL"):
        codec.encode("a\0", DataSpec("str"))


def test_the_connector_does_not_import_xarray():
    import subprocess
    import sys

    code = "import sys, queue_connector.codecs; print('xarray' in sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "False\n"
    assert "xarray" in codecs
