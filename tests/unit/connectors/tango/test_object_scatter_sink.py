import math

import numpy as np
import pytest
import trio

from queue_connector.configuration.document import examine
from queue_connector.connectors.tango.object_scatter_sink import (
    SelectionError,
    TangoAttributeDescriptor,
    TangoObjectScatterAttributeSinkDescriptor,
)
from queue_connector.model.convert import structure
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.delivery import Delivery
from queue_connector.model.endpoints import sinks
from queue_connector.model.errors import EndpointError
from queue_connector.model.services import Services
from tests.unit.connectors.tango.hosts import Host

OBJECT = DataSpec("object")


def described(*attributes):
    attributes = [{"attribute_name": f"a{i}", **keys} for i, keys in enumerate(attributes)]
    return structure({"attributes": attributes}, TangoObjectScatterAttributeSinkDescriptor)


def built(*attributes, host=None):
    host = Host() if host is None else host
    descriptor = described(*attributes)
    assert list(descriptor.faults(OBJECT)) == []
    return descriptor.build(OBJECT, Services(attributes=host)), host


async def written(datum, *attributes):
    sink, host = built(*attributes)
    async with sink:
        await sink.awrite(datum)
    return host.published


def test_the_older_spelling_is_read():
    with pytest.warns(DeprecationWarning, match="TangoObjectScatterAttributeSink"):
        found = sinks.lookup("TangoJsonScatterAttributeSink")
    assert found is TangoObjectScatterAttributeSinkDescriptor


class TestSelecting:
    async def test_attributes_are_published_in_the_order_configured(self):
        paths = [{"dtype": "int64", "path": key} for key in ("c", "a", "b")]
        found = await written({"a": 1, "b": 2, "c": 3}, *paths)
        assert found == [("a0", 3), ("a1", 1), ("a2", 2)]

    async def test_null_leaves_an_attribute_as_it_is(self):
        found = await written({"a": None, "b": 0}, *({"dtype": "int64", "path": p} for p in "abc"))
        assert found == [("a1", 0)]

    async def test_nothing_selected_publishes_nothing_and_is_delivered(self):
        sink, host = built({"dtype": "int64", "path": "a"})
        delivery = Delivery([{}])
        await sink.awrite_batch(delivery)
        assert (host.jobs, delivery.accepted) == ([], [True])

    @pytest.mark.parametrize(
        ("condition", "shown"),
        [
            (None, True),
            ("type=='visibility_receive'", True),
            ("type=='other'", False),
            ("missing", False),
            ("zero", True),
            ("empty", False),
            ("length(empty) == `0`", True),
        ],
    )
    async def test_the_filter_decides(self, condition, shown):
        datum = {"type": "visibility_receive", "zero": 0, "empty": "", "x": 5}
        found = await written(datum, {"dtype": "int64", "path": "x", "filter": condition})
        assert found == ([("a0", 5)] if shown else [])

    async def test_values_are_conformed_to_each_attribute(self):
        datum = {"n": 3, "l": [1, 2], "m": [[1]], "t": "x", "b": True, "e": ["json", "{}"]}
        found = dict(
            await written(
                datum,
                {"dtype": "float32", "path": "n"},
                {"dtype": "float64", "shape": [3], "path": "l"},  # a shorter one stays short
                {"dtype": "int16", "shape": [2, 2], "path": "n"},  # broadcast
                {"dtype": "str", "path": "t"},
                {"dtype": "bool", "path": "b"},
                {"dtype": "bytes", "path": "e"},
                {"dtype": "str", "shape": [2], "path": "t"},
            )
        )
        assert (found["a0"], found["a0"].dtype) == (3, np.float32)
        assert (found["a1"].tolist(), found["a1"].dtype) == ([1, 2], np.float64)
        assert (found["a2"].tolist(), found["a2"].dtype) == ([[3, 3], [3, 3]], np.int16)
        assert (found["a3"], found["a4"]) == ("x", True)
        assert found["a5"] == ("json", b"{}")
        assert found["a6"].tolist() == ["x", "x"]

    async def test_arrays_are_lists_and_structs_are_mappings(self):
        fields = [("antenna_name", "U8"), ("x", "float64"), ("y", "float64")]
        array = np.array([("SKA001", 1, np.nan), ("SKA002", 2, 20)], fields)
        paths = [f"[?antenna_name=='SKA00{n}'] | [0].[x, y]" for n in (1, 2, 3)]
        found = await written(
            array, *({"dtype": "float64", "shape": [2], "path": p} for p in paths)
        )
        assert [name for name, _ in found] == ["a0", "a1"]
        np.testing.assert_array_equal(found[0][1], [1, math.nan])
        np.testing.assert_array_equal(found[1][1], [2, 20])
        assert await written(array[1], {"dtype": "float64", "path": "y"}) == [("a0", 20)]
        assert await written(np.arange(3), {"dtype": "int64", "path": "[2]"}) == [("a0", 2)]
        assert await written(np.float64(2.5), {"dtype": "float64"}) == [("a0", 2.5)]


class TestRefusing:
    @pytest.mark.parametrize(
        ("keys", "message"),
        [
            ({"dtype": "int64", "path": "t"}, "'t' selects str 'x', expected int64: "),
            ({"dtype": "uint8", "path": "n"}, "'n' selects int 300, expected uint8: "),
            ({"dtype": "int64", "path": "f"}, "'f' selects float 1.5, expected int64: "),
            ({"dtype": "float64", "shape": [2], "path": "[n, x]"}, "expected float64[2]: "),
            ({"dtype": "float64", "shape": [2], "path": "[n, n, n]"}, "expected float64[2]: "),
            ({"dtype": "str", "path": "u"}, "Latin-1"),
            ({"dtype": "int64", "path": "sum(t)"}, "'sum(t)' fails: "),
            ({"dtype": "int64", "path": "n", "filter": "sum(t)"}, "'sum(t)' fails: "),
        ],
    )
    async def test_the_error_names_the_attribute_and_what_was_found(self, keys, message):
        datum = {"t": "x", "n": 300, "f": 1.5, "u": "Ω"}
        with pytest.raises(SelectionError) as caught:
            await written(datum, {"dtype": "int64", "path": "n"}, keys)
        assert caught.value.attribute == "a1"
        assert str(caught.value).startswith("attribute 'a1': ")
        assert message in str(caught.value)

    async def test_a_datum_of_which_one_part_does_not_fit_publishes_nothing(self):
        sink, host = built({"dtype": "int64", "path": "a"}, {"dtype": "int64", "path": "b"})
        data = [{"a": 1, "b": 1}, {"a": 2, "b": "x"}, {"a": 3}]
        delivery = Delivery(data)
        await sink.awrite_batch(delivery)
        assert host.jobs == [[("a0", 1), ("a1", 1), ("a0", 3)]]
        assert delivery.accepted == [True, False, True]
        assert list(delivery.refused) == [1]

    def test_without_a_device_there_is_nowhere_to_publish(self):
        with pytest.raises(EndpointError, match="no device"):
            described({"dtype": "int64"}).build(OBJECT, Services())


async def test_a_long_evaluation_can_be_cancelled():
    sink, host = built(*({"dtype": "int64", "path": f"sum([].x{i})"} for i in range(50)))
    rows = [{f"x{i}": 1 for i in range(50)}] * 20_000
    with trio.move_on_after(0.3) as scope:
        await sink.awrite_batch(Delivery([rows] * 100))
    assert scope.cancelled_caught
    assert host.jobs == []


class TestFaults:
    @pytest.mark.parametrize(
        ("keys", "where"),
        [
            ({"dtype": "object"}, ["$"]),
            ({"dtype": "complex64"}, ["$"]),
            ({"dtype": "datetime64[ns]"}, ["$"]),
            ({"dtype": [["a", "float64"]]}, ["$"]),
            ({"dtype": "int8"}, ["$"]),
            ({"dtype": "bytes", "shape": [2]}, ["$"]),
            ({"dtype": "float64", "shape": [-1]}, ["$"]),
            ({"dtype": "float64", "shape": [1, 1, 1]}, ["$"]),
            ({"dtype": "float64", "shape": [10**10]}, ["$.shape"]),
            ({"dtype": "float64", "default_value": "x"}, ["$.default_value"]),
            ({"dtype": "float64", "default_value": [1, 2]}, ["$.default_value"]),
            ({"dtype": "str", "default_value": "Ω"}, ["$.default_value"]),
            ({"dtype": "str", "attribute_name": "a b"}, ["$.attribute_name"]),
            ({"dtype": "str", "attribute_name": "Statistics"}, ["$.attribute_name"]),
            ({"dtype": "str", "path": "a b"}, ["$.path"]),
            ({"dtype": "str", "path": ""}, ["$.path"]),
            ({"dtype": "str", "filter": "x="}, ["$.filter"]),
            ({"dtype": "str", "filter": ""}, ["$.filter"]),
            ({"dtype": "str", "filter": "(", "path": "f(@)"}, ["$.path", "$.filter"]),
        ],
    )
    def test_of_an_attribute_each_have_their_path(self, keys, where):
        attribute = structure({"attribute_name": "a", **keys}, TangoAttributeDescriptor)
        assert [fault.path for fault in attribute.own_faults()] == where

    @pytest.mark.parametrize("default", ["", "nan", math.nan, [1, "inf"], 0])
    def test_defaults_that_fit(self, default):
        descriptor = described({"dtype": "float64", "shape": [2], "default_value": default})
        assert list(descriptor.faults(OBJECT)) == []
        (published,) = descriptor.publishes(OBJECT)
        assert published.default.shape == (2,)

    @pytest.mark.parametrize("dtype", ["str", "bytes", "bool", "complex64", "datetime64[ns]"])
    def test_of_data_that_have_no_parts(self, dtype):
        descriptor = described({"dtype": "int64"})
        assert [fault.path for fault in descriptor.faults(DataSpec(dtype))] == ["$"]

    def test_data_may_have_any_shape(self):
        descriptor = described({"dtype": "int64"})
        for shape in ((-1,), (2, -1), (2, 3, 4)):
            assert list(descriptor.faults(DataSpec("int64", shape))) == []

    def test_all_of_a_configuration_are_told_together(self):
        reading = examine(
            """{"exchanges": [
                {"dtype": "object", "source": {"type": "InMemorySource", "data": []},
                 "sink": {"type": "TangoObjectScatterAttributeSink", "attributes": [
                    {"attribute_name": "x", "dtype": "float64"},
                    {"attribute_name": "X", "dtype": "float64", "default_value": "?"},
                    {"attribute_name": "y", "dtype": "float64", "path": "[?a=='b"},
                    {"attribute_name": "groups", "dtype": "object"}]}},
                {"dtype": "float64", "source": {"type": "InMemorySource", "data": []},
                 "sink": {"type": "TangoLocalAttributeSink", "attribute_name": "Y"}}]}"""
        )
        sink = "$.exchanges[0].sink.attributes"
        assert [fault.path for fault in reading.faults] == [
            f"{sink}[1].default_value",
            f"{sink}[2].path",
            f"{sink}[3]",
            f"{sink}[3].attribute_name",
            f"{sink}[1].attribute_name",
            "$.exchanges[1].sink.attribute_name",
        ]
        assert reading.descriptor is None


def test_double_quotes_around_text_are_a_warning_and_no_fault():
    sink = described(
        {"dtype": "int64", "path": "a"},
        {"dtype": "int64", "path": '[?b=="x"]', "filter": 'type=="visibility_receive"'},
        {"dtype": "int64", "path": "(("},
    )
    assert [fault.path for fault in sink.faults(OBJECT)] == ["$.attributes[2].path"]
    first, second = sink.warnings()
    assert first.path == "$.attributes[1].path"
    assert second.path == "$.attributes[1].filter"
    assert "'visibility_receive'" in second.hint
