"""Enumerations: int16 with labels."""

import json

import numpy as np
import pytest

from queue_connector.codecs import codec_for
from queue_connector.configuration.document import examine, parse
from queue_connector.model.conform import conform, zero
from queue_connector.model.convert import unstructure
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import ConformError, DecodeError
from queue_connector.model.specs import parse_default

STATES = ("OFF", "ON", "FAULT")
ONE = DataSpec("int16", (), STATES)
MANY = DataSpec("int16", (3,), STATES)


def config(labels=STATES, dtype="int16", data=(), default="", **keys):
    return json.dumps(
        {
            "exchanges": [
                {
                    "dtype": dtype,
                    "labels": list(labels),
                    "source": {"type": "InMemorySource", "data": list(data)},
                    "sink": {
                        "type": "TangoLocalAttributeSink",
                        "attribute_name": "state_of_it",
                        "default_value": default,
                    },
                    **keys,
                }
            ]
        }
    )


class TestConforming:
    @pytest.mark.parametrize(
        "value", [1, "ON", np.int16(1), np.int64(1), np.str_("ON"), np.array(1)]
    )
    def test_a_number_or_its_label_is_the_number(self, value):
        found = conform(value, ONE)
        assert found == 1
        assert type(found) is np.int16

    @pytest.mark.parametrize(
        "value", [["OFF", 2, "ON"], np.array(["OFF", "FAULT", "ON"]), (0, 2, 1)]
    )
    def test_lists_may_mix_them(self, value):
        found = conform(value, MANY)
        assert found.tolist() == [0, 2, 1]
        assert found.dtype == np.int16

    def test_shapes_are_those_of_any_array(self):
        assert conform("ON", MANY).tolist() == [1, 1, 1]
        assert conform(["ON"], MANY, shorter=True).tolist() == [1]
        assert conform([], MANY, shorter=True).tolist() == []

    @pytest.mark.parametrize("value", [3, -1, "on", "", 1.0, None, [1], 2**40, {"a": 1}, b"ON"])
    def test_nothing_else_fits(self, value):
        with pytest.raises(ConformError) as caught:
            conform(value, ONE)
        assert caught.value.expected in (ONE, DataSpec("int16"))

    def test_an_array_of_the_right_dtype_is_checked_too(self):
        with pytest.raises(ConformError, match=r"only the numbers 0 … 2 have a label"):
            conform(np.array([0, 1, 3], np.int16), MANY)

    def test_the_error_tells_the_labels(self):
        with pytest.raises(
            ConformError, match=r"expected enum\(OFF, ON, FAULT\), .*no label is 'Onn'"
        ):
            conform("Onn", ONE)

    def test_the_zero_is_the_first_label(self):
        assert zero(ONE) == parse_default("", ONE) == parse_default("OFF", ONE) == 0
        assert parse_default("FAULT", MANY).tolist() == [2, 2, 2]


@pytest.mark.parametrize("encoding", ["python", "json", "msgpack_numpy", "npy", "carray", "utf-8"])
def test_numbers_are_written_and_read(encoding):
    for spec, value in ((ONE, np.int16(2)), (MANY, np.array([2, 0, 1], np.int16))):
        if spec.shape and encoding == "utf-8":
            continue
        codec = codec_for(encoding, spec)
        payload = codec.encode(value, spec)
        assert payload == codec_for(encoding, DataSpec("int16")).encode(value, spec)
        np.testing.assert_array_equal(codec.decode(payload, spec), value)


@pytest.mark.parametrize(
    ("encoding", "payload"),
    [("python", b"['ON', 0]"), ("json", b'["ON", 0]'), ("msgpack_numpy", b"\x92\xa2ON\x00")],
)
def test_labels_are_read_where_the_encoding_has_text(encoding, payload):
    spec = DataSpec("int16", (2,), STATES)
    assert codec_for(encoding, spec).decode(payload, spec).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("encoding", "payload"), [("json", b"3"), ("json", b'"ready"'), ("carray", b"\x03\x00")]
)
def test_what_has_no_label_does_not_decode(encoding, payload):
    with pytest.raises(DecodeError, match="label"):
        codec_for(encoding, ONE).decode(payload, ONE)


class TestConfiguration:
    def test_labels_reach_the_attribute_and_are_written_back(self):
        descriptor = parse(config(data=["ON", 2], default="FAULT"))
        [exchange] = descriptor.exchanges
        [attribute] = exchange.attributes()
        assert (attribute.spec, attribute.default) == (ONE, 2)
        assert unstructure(descriptor)["exchanges"][0]["labels"] == list(STATES)

    def test_pipes_keep_them(self):
        sink = {"type": "InMemorySink", "key": "k"}
        [exchange] = parse(config(pipe={"type": "BufferWithTimePipe"}, sink=sink)).exchanges
        assert exchange.output == DataSpec("int16", (-1,), STATES)

    @pytest.mark.parametrize(
        ("keys", "where"),
        [
            ({"dtype": "int32"}, ["labels"]),
            ({"dtype": "str"}, ["labels"]),
            ({"dtype": "enum"}, ["dtype"]),
            ({"dtype": "DevEnum"}, ["dtype"]),
            ({"labels": ["a", "", "a"]}, ["labels[1]", "labels[2]"]),
            ({"labels": ["Ω"]}, ["sink"]),
            ({"labels": ["a\0"]}, ["sink"]),
            ({"data": ["ON", "onn", 3]}, ["source.data[1]", "source.data[2]"]),
            ({"default": 3}, ["sink.default_value"]),
        ],
    )
    def test_faults(self, keys, where):
        found = [fault.path for fault in examine(config(**keys)).faults]
        assert found == [f"$.exchanges[0].{path}" for path in where]

    def test_labels_of_text_beside_another_fault_are_faults_and_no_crash(self):
        reading = examine(config(dtype="str", labels=["", "x"], shape=[[]], data=[False]))
        assert "$.exchanges[0].shape[0]" in [fault.path for fault in reading.faults]

    def test_scattered_attributes_have_labels_of_their_own(self):
        sink = {
            "type": "TangoObjectScatterAttributeSink",
            "attributes": [{"attribute_name": "a", "dtype": "int16", "labels": ["x", "x"]}],
        }
        reading = examine(config(dtype="object", labels=[], sink=sink))
        assert [fault.path for fault in reading.faults] == [
            "$.exchanges[0].sink.attributes[0].labels[1]"
        ]
