import math
import time

import numpy as np
import pytest
from hypothesis import given, strategies as st

from queue_connector.configuration.document import examine
from queue_connector.connectors.tango.array_scatter_sink import (
    TangoArrayScatterAttributeSinkDescriptor,
)
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.delivery import Delivery
from queue_connector.model.endpoints import sinks
from queue_connector.model.errors import ConformError, EndpointError
from queue_connector.model.services import Services
from tests.unit.connectors.tango.hosts import Host

SEVEN = list("abcdefg")


def described(**keys):
    keys = {"attribute_names": ["a", "b"], **keys}
    return TangoArrayScatterAttributeSinkDescriptor(**keys)


def faults(shape, dtype="float64", **keys):
    return [(fault.path, str(fault)) for fault in described(**keys).faults(DataSpec(dtype, shape))]


def paths(shape, dtype="float64", **keys):
    return [path for path, _ in faults(shape, dtype, **keys)]


def published(shape, dtype="float64", **keys):
    """Name → spec and default."""
    descriptor, spec = described(**keys), DataSpec(dtype, shape)
    assert list(descriptor.faults(spec)) == []
    return {one.name: (str(one.spec), one.default) for one in descriptor.publishes(spec)}


def cut(value, shape, dtype="float64", **keys):
    host, spec = Host(), DataSpec(dtype, shape)
    return described(**keys).build(spec, Services(attributes=host)).parts(value)


def test_the_older_spelling_is_read():
    with pytest.warns(DeprecationWarning, match="TangoArrayScatterAttributeSink"):
        assert sinks.lookup("TangoSplitAttributeSink") is TangoArrayScatterAttributeSinkDescriptor


class TestShapes:
    @pytest.mark.parametrize(
        ("shape", "keys", "specs"),
        [
            ([7, 3], {"attribute_names": SEVEN}, ["float64[3]"] * 7),
            ([3, 7], {"attribute_names": SEVEN, "axis": 1}, ["float64[3]"] * 7),
            ([3, 7], {"attribute_names": SEVEN, "axis": -1}, ["float64[3]"] * 7),
            ([7], {"attribute_names": SEVEN}, ["float64"] * 7),
            ([6], {}, ["float64[3]"] * 2),
            ([4, 3], {}, ["float64[2, 3]"] * 2),
            ([5], {"indices": [1]}, ["float64", "float64[4]"]),
            ([5, 2], {"indices": [4]}, ["float64[4, 2]", "float64[2]"]),
            ([4, 3, 2], {}, ["float64[12]"] * 2),
            ([2, 3, 2], {}, ["float64[6]"] * 2),
            ([3], {"attribute_names": ["a"]}, ["float64[3]"]),
            ([3], {"attribute_names": ["a"], "indices": []}, ["float64[3]"]),
        ],
    )
    def test_of_the_attributes(self, shape, keys, specs):
        assert [spec for spec, _ in published(shape, **keys).values()] == specs

    def test_attributes_for_shapes_come_before_their_parts(self):
        found = published([4, 3, 2], attribute_shape_names=["sa", "sb"])
        assert list(found) == ["sa", "a", "sb", "b"]
        assert found["sa"][0] == "int64[3]"
        assert found["sa"][1].tolist() == [2, 3, 2]

    @pytest.mark.parametrize(
        ("shape", "lengths"),
        [([2], [1]), ([2, 3], [1, 3]), ([4, 3], [2, 3]), ([2, 3, 2], [1, 3, 2])],
    )
    def test_shapes_are_those_of_the_parts_as_they_are_cut(self, shape, lengths):
        found = published(shape, attribute_shape_names=["sa", "sb"])
        assert found["sb"][1].tolist() == lengths
        values = dict(cut(np.zeros(shape), shape, attribute_shape_names=["sa", "sb"]))
        assert values["sb"].tolist() == lengths
        assert values["sb"].dtype == np.int64

    @pytest.mark.parametrize(
        ("shape", "default", "seen"),
        [
            ([2], "", 0.0),
            ([2], 1.5, 1.5),
            ([4], [1], [1]),
            ([4, 3], 2, [[2, 2, 2], [2, 2, 2]]),
            ([2, 3], [1, 2, 3], [1, 2, 3]),
            ([2, 3, 2], 1, [1] * 6),
            ([2, 3, 2], [1, 2], [1, 2] * 3),
        ],
    )
    def test_the_default_fits_every_part(self, shape, default, seen):
        for _, value in published(shape, default_value=default).values():
            assert np.asarray(value).tolist() == seen

    def test_a_shorter_default_of_a_flattened_part_tells_its_shape(self):
        found = published([4, 3, 2], default_value=[[[7]]], attribute_shape_names=["sa", "sb"])
        assert found["a"][1].tolist() == [7]
        assert found["sa"][1].tolist() == [1, 1, 1]


class TestFaults:
    @pytest.mark.parametrize(
        ("shape", "keys", "where"),
        [
            ([], {}, ["$"]),
            ([5], {}, ["$.attribute_names"]),
            ([1], {}, ["$.attribute_names"]),
            ([0], {}, ["$.attribute_names"]),
            ([-1], {}, ["$"]),
            ([-1, 2], {"axis": 1}, ["$"]),
            ([4], {"axis": 1}, ["$.axis"]),
            ([4], {"axis": -2}, ["$.axis"]),
            ([4], {"indices": [0]}, ["$.indices[0]"]),
            ([4], {"indices": [4]}, ["$.indices[0]"]),
            ([4], {"indices": [-1]}, ["$.indices[0]"]),
            ([4], {"indices": [2, 2]}, ["$.indices[1]", "$.attribute_names"]),
            ([4], {"indices": [3, 1]}, ["$.indices[1]", "$.attribute_names"]),
            ([4], {"indices": []}, ["$.attribute_names"]),
            ([4], {"indices": [1, 2]}, ["$.attribute_names"]),
            ([4], {"attribute_shape_names": ["s"]}, ["$.attribute_shape_names"]),
            ([4], {"default_value": "x"}, ["$.default_value"]),
            ([4], {"default_value": [1, 2, 3]}, ["$.default_value"]),
            ([4], {"attribute_names": ["a", "0b"]}, ["$.attribute_names[1]"]),
            ([4], {"attribute_names": ["a", "STATE"]}, ["$.attribute_names[1]"]),
            ([4], {"attribute_shape_names": ["versionid", "s"]}, ["$.attribute_shape_names[0]"]),
        ],
    )
    def test_each_has_its_path(self, shape, keys, where):
        assert paths(shape, **keys) == where

    @pytest.mark.parametrize("dtype", ["bytes", "object", "complex64", [["a", "int8"]]])
    def test_kinds_that_tango_cannot_carry_in_parts(self, dtype):
        assert "$" in paths([], dtype)

    def test_a_dtype_that_tango_has_not(self):
        assert paths([4], "int8") == ["$"]

    def test_they_say_what_would_do(self):
        [(_, remainder)] = faults([7, 3], attribute_names=["a", "b"])
        assert "7 along axis 0 of float64[7, 3] do not make 2 equal parts" in remainder
        assert "divides 7, or indices" in remainder
        [(_, order)] = faults([6], attribute_names=["a", "b", "c"], indices=[4, 2])
        assert order.startswith("$.indices[1]: found 2, expected 5 to 5 (indices rise")

    def test_all_are_told_together_names_that_are_claimed_twice_too(self):
        reading = examine(
            """{"exchanges": [{"dtype": "float64", "shape": [5],
                "source": {"type": "InMemorySource", "data": ["x"]},
                "sink": {"type": "TangoArrayScatterAttributeSink",
                         "attribute_names": ["a", "A"], "attribute_shape_names": ["s", "a"]}}]}"""
        )
        sink = "$.exchanges[0].sink"
        assert [fault.path for fault in reading.faults] == [
            "$.exchanges[0].source.data[0]",
            f"{sink}.attribute_names",
            f"{sink}.attribute_names[1]",
            f"{sink}.attribute_shape_names[1]",
        ]


SIDES = st.lists(st.integers(1, 5), min_size=1, max_size=4)


@st.composite
def splits(draw):
    """A shape, an axis of it, and boundaries (None: equal parts) with the number of parts."""
    shape = draw(SIDES)
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    count = draw(st.integers(1, 4))
    if draw(st.booleans()):
        shape[axis] *= count
        return shape, axis, None, count
    indices = sorted(draw(st.sets(st.integers(1, shape[axis]), max_size=3)) - {shape[axis]})
    return shape, axis, indices, len(indices) + 1


class TestValues:
    @given(splits(), st.sampled_from(["float64", "int16", "bool", "str"]))
    def test_the_parts_put_together_are_the_array(self, split, dtype):
        shape, axis, indices, count = split
        names, shape_names = [f"n{i}" for i in range(count)], [f"s{i}" for i in range(count)]
        numbers = np.arange(math.prod(shape)).reshape(shape)
        array = numbers.astype("U" if dtype == "str" else dtype)
        keys = {"attribute_names": names, "attribute_shape_names": shape_names, "axis": axis}
        assert faults(shape, dtype, indices=indices, **keys) == []
        values = dict(cut(array, shape, dtype, indices=indices, **keys))
        specs = published(shape, dtype, indices=indices, **keys)
        assert list(values) == list(specs)
        for name in names:
            spec = DataSpec(dtype, np.shape(values[name]))
            assert specs[name][0] == str(spec)
        parts = [
            np.reshape(values[name], values[told])
            for name, told in zip(names, shape_names, strict=True)
        ]
        np.testing.assert_array_equal(np.concatenate(parts, axis), array)

    def test_a_scalar_part_of_text_is_text(self):
        assert cut(["x", "y"], [2], "str") == [("a", "x"), ("b", "y")]
        assert type(cut(["x", "y"], [2], "str")[0][1]) is str

    def test_a_value_is_broadcast_up_to_the_shape(self):
        values = cut(1.5, [4, 2])
        assert [value.tolist() for _, value in values] == [[[1.5, 1.5]] * 2] * 2

    def test_the_shape_is_a_maximum_off_the_axis(self):
        values = dict(cut([[1, 2]] * 4, [4, 3]))
        assert values["b"].tolist() == [[1, 2], [1, 2]]

    def test_along_the_axis_every_entry_must_be_there(self):
        with pytest.raises(ConformError, match="axis 0 is cut, and wants its whole length of 4"):
            cut([1.0, 2.0], [4])

    def test_a_flattened_part_may_be_shorter_only_where_its_shape_is_told(self):
        shorter = np.arange(8.0).reshape(2, 2, 2)
        with pytest.raises(ConformError, match="only if its shape is told"):
            cut(shorter, [2, 3, 2])
        values = dict(cut(shorter, [2, 3, 2], attribute_shape_names=["sa", "sb"]))
        assert values["sb"].tolist() == [1, 2, 2]
        assert values["b"].tolist() == [4, 5, 6, 7]

    async def test_a_batch_is_one_job_in_order_without_what_does_not_fit(self):
        host = Host()
        sink = described().build(DataSpec("float64", [2]), Services(attributes=host))
        delivery = Delivery([[1.0, 2.0], [1.0, 2.0, 3.0], [3.0, 4.0]])
        async with sink:
            await sink.awrite_batch(delivery)
            await sink.awrite([5.0, 6.0])
            with pytest.raises(ConformError):
                await sink.awrite("x")
        assert host.jobs == [
            [("a", 1.0), ("b", 2.0), ("a", 3.0), ("b", 4.0)],
            [("a", 5.0), ("b", 6.0)],
        ]
        assert delivery.accepted == [True, False, True]
        assert list(delivery.refused) == [1]

    async def test_a_batch_of_which_nothing_fits_publishes_nothing(self):
        host = Host()
        sink = described().build(DataSpec("float64", [2]), Services(attributes=host))
        delivery = Delivery(["x"])
        await sink.awrite_batch(delivery)
        assert (host.jobs, delivery.untold) == ([], 0)

    def test_text_that_tango_cannot_carry_is_refused(self):
        with pytest.raises(ConformError, match="Latin-1"):
            cut(["ok", "Ω"], [2], "str")

    def test_without_a_device_there_is_nowhere_to_publish(self):
        with pytest.raises(EndpointError, match="no device"):
            described().build(DataSpec("float64", [2]), Services())


@pytest.mark.parametrize("shape", [[2, 5 * 10**6], [2, 10**3, 5 * 10**3]])
def test_a_huge_shape_is_judged_at_once(shape):
    began = time.process_time()
    assert paths(shape, "str", default_value="ü") == []
    assert paths(shape, "str", default_value="€") == ["$.default_value"]
    assert time.process_time() - began < 1


def test_a_default_that_would_take_too_much_memory_flat_is_a_fault():
    default = ["x" * 3000, "b"]
    assert paths([2, 2**21, 2], "str", default_value=default) == ["$.default_value"]
