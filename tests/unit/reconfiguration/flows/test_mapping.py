"""A flow becomes the exchange that a user would have written."""

import json

import pytest

from queue_connector.configdb import Versioned, View
from queue_connector.configuration.reading import read
from queue_connector.model.errors import ConfigError
from queue_connector.reconfiguration.flows.choosing import chosen, left_out
from queue_connector.reconfiguration.flows.ends import parse_trl, shape_of
from queue_connector.reconfiguration.flows.entities import Entities, FlowKey
from queue_connector.reconfiguration.flows.mapping import NotThereError, exchange_of
from tests.support.flow_entities import DEVICE, PB, attribute, blocks, flow, queue, uri


def entities(**values):
    """The entities of a database in which these flows stand, by kind and name."""
    everything = {**blocks(), **{uri(*name.split("__")[::-1]): v for name, v in values.items()}}
    texts = {path: json.dumps(value).encode() for path, value in everything.items()}
    found = Entities()
    found.update(View(9, {path: Versioned(text, 5) for path, text in texts.items()}))
    return found


def mapped(sink, *uris, parameters=None, **others):
    """The exchange of the flow ``tango:x``, and that it is valid."""
    found = entities(tango__x=flow(sink, *uris, **(parameters or {})), **others)
    exchange = exchange_of(found.flow(FlowKey(PB, "tango", "x")), found, DEVICE)
    assert read({"exchanges": [exchange]}, DEVICE).faults == ()
    return exchange


def refused(sink, *uris, parameters=None, **others):
    with pytest.raises(ConfigError) as raised:
        mapped(sink, *uris, parameters=parameters, **others)
    return str(raised.value)


QUEUE = {"data-queue__q": flow(queue())}


def from_queue(topic="metrics-01", **more):
    servers = {"servers": "127.0.0.1:9092", "topic": topic, "encoding": "json"}
    return [{"type": "KafkaConsumerSource", **servers, **more}]


def test_a_queue_into_an_attribute_of_this_device():
    assert mapped(attribute("offset", x=3, default_value=[0, 0, 0]), uri("q"), **QUEUE) == {
        "dtype": "DevDouble",
        "shape": [3],
        "source": from_queue(),
        "sink": [
            {
                "type": "TangoLocalAttributeSink",
                "attribute_name": "offset",
                "default_value": [0, 0, 0],
            }
        ],
    }


def test_a_queue_into_an_attribute_of_another_device():
    exchange = mapped(attribute("offset", device="mid-dish/leaf/ska001"), uri("q"), **QUEUE)
    assert exchange["sink"] == [
        {
            "type": "TangoRemoteAttributeSink",
            "device_name": "mid-dish/leaf/ska001",
            "attribute_name": "offset",
        }
    ]


RECEIVER = {
    "receiver_state": "DevString",
    "last_update": "DevDouble",
    "processing_block_id": "DevString",
    "execution_block_id": "DevString",
    "subarray_id": "DevString",
    "scan_id": "DevLong64",
    "payloads_received": "DevLong64",
    "time_slices": "DevLong64",
    "time_since_last_payload": "DevDouble",
}


@pytest.mark.parametrize("form", ["pairs", "flat", "mapping"])
def test_a_queue_into_a_map_of_nine_attributes_in_each_form_that_has_been_told_of(form):
    when, items = "type=='visibility_receive'", []
    for name, dtype in RECEIVER.items():
        made, said = attribute(name, dtype), {"select": name, "when": when}
        items.append([made, said] if form == "pairs" else {**made, **said})
    named = dict(zip(RECEIVER, items, strict=True))
    sink = {"kind": "tango-map", "attributes": named if form == "mapping" else items}
    exchange = mapped(sink, uri("q"), **QUEUE)
    assert exchange["dtype"] == "object"
    (scatter,) = exchange["sink"]
    assert scatter["type"] == "TangoObjectScatterAttributeSink"
    assert [each["attribute_name"] for each in scatter["attributes"]] == [*RECEIVER]
    assert scatter["attributes"][3] == {
        "attribute_name": "execution_block_id",
        "dtype": "DevString",
        "shape": [],
        "path": "execution_block_id",
        "filter": when,
        "default_value": "",
    }


def test_dish_pointings_into_a_queue():
    trls = [f"tango://mid-dish/dish-manager/ska{n:03}/achievedPointing" for n in (1, 36)]
    parameters = {"dtype": "float64", "shape": [3], "pipe": {"type": "DefaultPipe"}}
    exchange = mapped(queue("pointings", "npy"), *trls, parameters=parameters)
    assert (exchange["dtype"], exchange["shape"]) == ("float64", [3])
    assert [each["device_name"] for each in exchange["source"]] == [
        "mid-dish/dish-manager/ska001",
        "mid-dish/dish-manager/ska036",
    ]
    assert all(each["stateless"] for each in exchange["source"])
    assert exchange["sink"][0]["topic"] == "pointings"


def test_an_attribute_that_a_flow_names_into_a_queue_and_into_another_attribute():
    source = attribute("angle", "DevFloat", x=2, device="a/b/c")
    other = {"tango__angle": flow(source)}
    exchange = mapped(queue("angles"), uri("angle", "tango"), **other)
    assert (exchange["dtype"], exchange["shape"]) == ("DevFloat", [2])
    exchange = mapped(attribute("mirror", "DevFloat", x=2), uri("angle", "tango"), **other)
    assert exchange["source"][0]["attribute_name"] == "angle"
    assert exchange["sink"][0]["attribute_name"] == "mirror"


def test_a_queue_into_a_queue_is_bytes_where_both_are_written_alike_else_objects():
    assert mapped(queue("copy"), uri("q"), **QUEUE)["dtype"] == "bytes"
    assert mapped(queue("copy", "msgpack_numpy"), uri("q"), **QUEUE)["dtype"] == "object"


def test_several_topics_are_merged_and_a_host_may_be_written_as_a_url():
    other = {"data-queue__q": flow(queue(["a", "b"], host="kafka://127.0.0.1:9092/"))}
    exchange = mapped(attribute("value"), uri("q"), **other)
    assert exchange["source"] == from_queue("a") + from_queue("b")


def test_what_parameters_say_in_the_words_of_a_configuration_is_taken_over():
    parameters = {"start": "earliest", "group_id": "g", "on_error": "skip", "unknown": 1}
    exchange = mapped(attribute("value"), uri("q"), parameters=parameters, **QUEUE)
    assert exchange["source"] == from_queue(start="earliest", group_id="g")
    assert exchange["on_error"] == "skip"
    assert "unknown" not in exchange


def test_what_parameters_say_of_a_source_holds_for_that_source_alone():
    made = flow(attribute("value"), uri("q"), start="earliest", on_error="skip")
    made["sources"] += flow(attribute("value"), uri("r"), start="latest")["sources"]
    others = {**QUEUE, "data-queue__r": flow(queue("others"))}
    found = entities(tango__x=made, **others)
    exchange = exchange_of(found.flow(FlowKey(PB, "tango", "x")), found, DEVICE)
    assert exchange["source"] == [
        *from_queue(start="earliest"),
        *from_queue("others", start="latest"),
    ]
    assert exchange["on_error"] == "skip"


@pytest.mark.parametrize("kind", ["data_queue", "DataQueue", "data-queue"])
def test_a_kind_may_be_written_another_way(kind):
    exchange = mapped(attribute("value"), uri("q", kind), **QUEUE)
    assert exchange["source"] == from_queue()


def test_of_flows_with_one_name_that_of_the_right_kind_is_read_from():
    others = {**QUEUE, "data-product__q": flow({"kind": "data-product", "data_dir": {}})}
    assert mapped(attribute("value"), uri("q"), **others)["source"] == from_queue()
    told = refused(attribute("value"), uri("q", "data-product"), **others)
    assert "'data-product'" in told


def test_a_flow_that_is_not_there_is_waited_for():
    with pytest.raises(NotThereError, match=f"waits for {uri('q')} to be created"):
        mapped(attribute("value"), uri("q"))


@pytest.mark.parametrize(
    ("sink", "path"),
    [
        (None, "$.sink"),
        ([], "$.sink"),
        ({"kind": "plasma"}, "$.sink"),
        ({"topics": "t"}, "$.sink.host"),
        ({"host": "h"}, "$.sink.topics"),
        ({"host": "h:9092", "topics": [1]}, "$.sink.topics"),
        ({"attribute_trl": 7}, "$.sink.attribute_trl"),
        ({"attribute_trl": "a/b"}, "$.sink.attribute_trl"),
        ({"attribute_trl": "x", "max_dim_x": -1}, "$.sink.max_dim_x"),
        ({"attributes": 5}, "$.sink.attributes"),
        ({"attributes": []}, "$.sink.attributes"),
        ({"attributes": [1]}, "$.sink.attributes[0]"),
        ({"attributes": {"a": 1}}, "$.sink.attributes.a"),
        ({"attributes": [{"attribute_trl": "tango://x/y/z/a"}]}, "$.sink.attributes[0]"),
    ],
)
def test_a_sink_that_cannot_be_understood_is_told_by_its_path(sink, path):
    assert path in refused(sink, uri("q"), **QUEUE)


@pytest.mark.parametrize("bad", [None, 5, "", "http://x", "/flow/a:b", "/pb/x"])
def test_a_source_that_names_nothing_is_told_by_its_path(bad):
    assert "$.sources[0].uri" in refused(attribute("value"), bad, **QUEUE)


def test_a_flow_that_reads_itself_is_refused():
    assert "reads itself" in refused(attribute("x"), uri("x", "tango"))


def test_locators_of_attributes():
    assert parse_trl("tango://a/b/c/d", "$") == ("a/b/c", "d")
    assert parse_trl("a/b/c/d", "$") == ("a/b/c", "d")
    assert parse_trl("d", "$") == ("", "d")
    assert parse_trl("tango://h:1/a/b/c/d#dbase=no", "$") == ("tango://h:1/a/b/c#dbase=no", "d")


@pytest.mark.parametrize(
    ("x", "y", "shape"),
    [(1, 0, ()), (0, 0, ()), (3, 0, (3,)), (3, 2, (2, 3)), (1, 4, (4, 1)), (None, None, ())],
)
def test_lengths_are_those_of_tango(x, y, shape):
    assert shape_of({"max_dim_x": x, "max_dim_y": y}, "$") == shape


def test_flows_of_others_are_not_chosen_and_those_that_might_be_ours_are_told_why():
    found = entities(
        **{
            "tango__ours": flow(attribute("a"), uri("q")),
            "tango__another": flow(attribute("b"), uri("q"), function="vis-receive:write"),
            "tango__nobody": flow(attribute("c")),
            **QUEUE,
        }
    )
    mine = chosen(found, "1", DEVICE)
    assert {pb: [str(one.key) for one in flows] for pb, flows in mine.items()} == {
        PB: [f"{PB}:tango:ours"]
    }
    assert left_out(found, "1", DEVICE) == {}
    assert chosen(found, "02", DEVICE) == {}
    (why,) = left_out(found, "02", DEVICE).values()
    assert why == "eb-test-20260101-a runs on subarray 01, not on 02"
