import json
import math

import attrs
import numpy as np
import pytest
from hypothesis import given, strategies as st

from queue_connector.configuration.document import parse
from queue_connector.connectors.memory.sink import InMemorySinkDescriptor
from queue_connector.connectors.memory.source import InMemorySourceDescriptor
from queue_connector.model.conform import conform
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.endpoints import PipeDescriptor, SinkDescriptor
from queue_connector.model.errors import ConformError
from queue_connector.model.exchanges import (
    DEFAULT_GROUP,
    ExchangeDescriptor,
    QueueConnectorDescriptor,
    faults_of,
)
from queue_connector.model.option import Descriptor, option, option_of, step
from queue_connector.model.services import PublishedAttribute, Services
from queue_connector.model.specs import MAX_DATUM_BYTES, parse_default

SOURCE = InMemorySourceDescriptor(data=[])
SINK = InMemorySinkDescriptor(key="k")


@attrs.frozen(kw_only=True)
class Publisher(SinkDescriptor):
    """Publishes one attribute; never registered."""

    name: str = option(doc="Of the attribute.")

    def claims(self):
        yield "$.name", self.name

    def publishes(self, spec):
        return (PublishedAttribute(self.name, spec, 0),)

    def build(self, spec, services):
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class Stacking(PipeDescriptor):
    """Adds a dynamic dimension; never registered."""

    def output(self, spec):
        return DataSpec(spec.dtype, (-1, *spec.shape))

    def build(self, spec):
        raise NotImplementedError


def exchange(**keys):
    return ExchangeDescriptor(**{"source": SOURCE, "sink": SINK, **keys})


def faults(*exchanges):
    placed = [(f"$[{index}]", item) for index, item in enumerate(exchanges)]
    return [(fault.path, fault.message) for fault in faults_of(placed)]


class TestOption:
    def test_keeps_what_a_field_means(self):
        explained = option_of(attrs.fields(InMemorySourceDescriptor).delay)
        assert explained.doc
        assert (explained.unit, explained.ge) == ("s", 0.0)

    @pytest.mark.parametrize("delay", [-1, -0.001, math.nan])
    def test_bounds_hold_for_descriptors_made_in_python_too(self, delay):
        with pytest.raises(ValueError, match="delay: expected at least 0"):
            InMemorySourceDescriptor(data=[], delay=delay)

    def test_exclusive_bounds_and_lengths_are_complained_of(self):
        @attrs.frozen(kw_only=True)
        class Bounded(Descriptor):
            rate: float = option(default=1.0, gt=0, doc="x")
            names: list[str] = option(default=["a"], min_length=1, doc="x")

        with pytest.raises(ValueError, match="rate: expected more than 0"):
            Bounded(rate=0)
        with pytest.raises(ValueError, match="names: expected at least 1 of length"):
            Bounded(names=[])

    def test_a_mutable_default_is_copied_for_every_instance(self):
        @attrs.frozen(kw_only=True)
        class Listed(Descriptor):
            names: list[str] = option(default=[], doc="x")

        Listed().names.append("a")
        assert Listed().names == []


class TestExchange:
    def test_one_and_many_look_alike(self):
        assert exchange().sources == [SOURCE]
        assert exchange(sink=[SINK, SINK]).sinks == [SINK, SINK]

    def test_is_text_and_scalar_and_passes_through_unless_told_otherwise(self):
        assert exchange().spec == exchange().output == DataSpec("str")

    def test_two_dynamic_dimensions_are_a_fault_at_the_shape(self):
        assert faults(exchange(shape=[-1, -1])) == [
            ("$[0].shape", "found [-1, -1], expected at most one dynamic dimension")
        ]

    def test_a_second_dynamic_dimension_made_by_the_pipe_is_a_fault_at_the_pipe(self):
        [(path, message)] = faults(exchange(dtype="int64", shape=[-1], pipe=Stacking()))
        assert path == "$[0].pipe"
        assert "int64[-1, -1] out of int64[-1]" in message

    @pytest.mark.parametrize("shape", [[10**6, 10**6], [10**30], [0, 10**30], [1] * 33])
    def test_a_shape_that_no_datum_can_have_is_a_fault(self, shape):
        [(path, message)] = faults(exchange(dtype="float64", shape=shape))
        assert path == "$[0].shape"
        assert "expected at most" in message

    def test_the_faults_of_endpoints_have_the_path_of_each(self):
        found = faults(exchange(dtype="object", shape=[2], sink=[SINK, SINK]))
        assert [path for path, _ in found] == ["$[0].source", "$[0].sink[0]", "$[0].sink[1]"]


class TestAttributes:
    def test_one_name_is_claimed_once_whatever_its_case(self):
        first, second = exchange(sink=Publisher(name="Az")), exchange(sink=Publisher(name="aZ"))
        [(path, message)] = faults(first, second)
        assert path == "$[1].sink.name"
        assert "'aZ' is claimed at $[0].sink.name too" in message

    def test_two_sinks_of_one_exchange_may_not_share_a_name_either(self):
        both = exchange(sink=[Publisher(name="az"), Publisher(name="az")])
        assert [path for path, _ in faults(both)] == ["$[0].sink[1].name"]

    def test_an_attribute_stands_in_for_another_of_its_name_and_spec_only(self):
        one = PublishedAttribute("Az", DataSpec("float64"), 0.0)
        assert one.same_type(PublishedAttribute("az", DataSpec("float64"), 1.0))
        assert not one.same_type(PublishedAttribute("az", DataSpec("float32"), 0.0))
        assert not one.same_type(PublishedAttribute("el", DataSpec("float64"), 0.0))


class TestGroups:
    def test_a_list_is_the_default_group_and_null_is_none(self):
        item = exchange()
        assert QueueConnectorDescriptor().groups == {}
        assert QueueConnectorDescriptor(exchanges=[item]).groups == {DEFAULT_GROUP: [item]}
        assert QueueConnectorDescriptor(exchanges={"a": []}).groups == {"a": []}

    def test_names_are_claimed_across_groups(self):
        taken = exchange(sink=Publisher(name="az"))
        whole = QueueConnectorDescriptor(exchanges={"a": [taken], "b-c": [taken]})
        assert [fault.path for fault in whole.faults()] == ["$.exchanges['b-c'][0].sink.name"]


@pytest.mark.parametrize(
    ("key", "written"),
    [
        ("name", ".name"),
        (3, "[3]"),
        ("a-b", "['a-b']"),
        ("", "['']"),
        ("0", "['0']"),
        ("it's", '["it\'s"]'),
        ("\ud800", "['\\ud800']"),
    ],
)
def test_a_step_of_a_path_quotes_keys_that_are_no_identifiers(key, written):
    assert step(key) == written


def test_every_runtime_object_gets_a_ledger_of_its_own():
    assert Services().account is not Services().account


class TestDefaults:
    @pytest.mark.parametrize(
        ("value", "dtype", "shape", "expected"),
        [
            ("", "str", (), ""),
            ("", "float64", (), 0.0),
            ("", "bool", (), False),
            ("", "bytes", (), ("", b"")),
            ("", "object", (), None),
            ("", "int16", (2, 3), [[0, 0, 0], [0, 0, 0]]),
            ("", "float64", (-1,), []),
            ("idle", "str", (), "idle"),
            ("idle", "str", (2,), ["idle", "idle"]),
            (0, "float32", (2, 2), [[0, 0], [0, 0]]),
            (1.5, "float32", (), 1.5),
            ([1, 2], "int64", (3,), [1, 2]),  # a maximum: a shorter spectrum stays short
            ([1, 2], "int64", (2, 2), [[1, 2], [1, 2]]),
            ("inf", "float64", (), math.inf),
            (["-inf", 1], "float32", (2,), [-math.inf, 1]),
            (True, "bool", (), True),
            (["png", "abc"], "bytes", (), ("png", b"abc")),
            ({"a": [1]}, "object", (), {"a": [1]}),
        ],
    )
    def test_is_the_datum_that_the_configuration_means(self, value, dtype, shape, expected):
        found = parse_default(value, DataSpec(dtype, shape))
        if shape:
            np.testing.assert_array_equal(found, expected)
            assert dtype == "str" or found.dtype == np.dtype(dtype)
        else:
            assert found == expected

    @pytest.mark.parametrize("value", ["nan", math.nan, ["nan", "nan"]])
    def test_nan_may_be_written_as_text(self, value):
        assert np.isnan(parse_default(value, DataSpec("float64", (2,)))).all()

    @pytest.mark.parametrize(
        ("value", "dtype", "shape"),
        [
            ("nan", "int32", ()),
            ("NaN?", "float64", ()),
            (300, "uint8", ()),
            (1.5, "int64", ()),
            ([1, 2, 3], "int64", (2,)),
            (None, "str", ()),
            (None, "float64", ()),
            ({"a": 1}, "float64", ()),
            (10**400, "float64", ()),
            ("2020-13-01", "datetime64[s]", ()),
            ("2020-01-01T00:00:00Z", "datetime64[s]", ()),
            ("x", "bytes", ()),
            ("", "float64", (10**6, 10**6)),
            ("", "float64", (MAX_DATUM_BYTES + 1,)),
            ("", "int8", (1,) * 33),
        ],
    )
    def test_what_does_not_fit_is_refused(self, value, dtype, shape):
        with pytest.raises(ConformError):
            parse_default(value, DataSpec(dtype, shape))

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
            lambda inner: (
                st.lists(inner, max_size=3)
                | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            ),
            max_leaves=8,
        ),
        st.sampled_from(
            ["str", "bool", "uint8", "int64", "float32", "float64", "complex64", "datetime64[ns]"]
        ),
        st.sampled_from([(), (2,), (2, 3), (-1,)]),
    )
    def test_any_value_fits_or_is_a_conform_error(self, value, dtype, shape):
        spec = DataSpec(dtype, shape)
        try:
            found = parse_default(value, spec)
        except ConformError:
            return
        again = conform(found, spec, shorter=True)
        np.testing.assert_array_equal(found, again)


def test_an_exchange_tells_what_it_reads_and_writes_by_the_same_keys():
    exchanges = parse(
        json.dumps(
            {
                "exchanges": [
                    {
                        "source": {
                            "type": "TangoSubscriptionSource",
                            "device_name": "a/b/c",
                            "attribute_name": "Pointing",
                        },
                        "sink": [
                            {"type": "KafkaProducerSink", "servers": "k", "topic": "t"},
                            {
                                "type": "TangoRemoteAttributeSink",
                                "device_name": "a/b/d",
                                "attribute_name": "Other",
                            },
                        ],
                        "on_error": {"type": "dead_letter", "servers": ["k"], "topic": "bad"},
                    },
                    {
                        "source": [
                            {"type": "KafkaConsumerSource", "servers": "k:9092", "topic": "t"},
                            {"type": "KafkaConsumerSource", "servers": "j,k", "topic": "bad"},
                        ],
                        "sink": {"type": "TangoLocalAttributeSink", "attribute_name": "pointing"},
                    },
                ]
            }
        )
    ).groups["default"]
    first, second = exchanges
    topic = {("kafka", "k:9092", "t"), ("kafka", "k:9092", "bad")}
    assert first.writes() & second.reads() == topic
    assert second.writes() & first.reads() == {("attribute", "pointing")}
    assert ("attribute", "other") in first.writes()
