"""Lists of sources that several connectors divide among them."""

import json

import pytest
from hypothesis import given, strategies as st

from queue_connector.configuration import document
from queue_connector.model.division import Share
from queue_connector.model.errors import ConfigError


def configuration(share, many=5, **source):
    sources = [
        {"type": "TangoSubscriptionSource", "device_name": f"a/b/{n}", "attribute_name": "x"}
        | source
        for n in range(many)
    ]
    sink = {"type": "InMemorySink", "key": "division"}
    exchange = {"dtype": "float64", "source": sources, "sink": sink, "share": share}
    return json.dumps({"exchanges": [exchange]})


def exchange(*arguments, **source):
    (found,) = document.parse(configuration(*arguments, **source)).groups["default"]
    return found


def faults(*arguments, **source):
    with pytest.raises(ConfigError) as refused:
        exchange(*arguments, **source)
    return [(fault.path, fault.message) for fault in refused.value.faults]


@given(st.lists(st.integers(), unique=True), st.integers(1, 50))
def test_each_item_is_in_one_part_and_the_parts_are_of_one_size(items, count):
    parts = [Share(number, count).of(items) for number in range(1, count + 1)]
    assert sorted(item for part in parts for item in part) == sorted(items)
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@given(st.lists(st.integers()), st.lists(st.integers()), st.integers(1, 50))
def test_what_is_added_at_the_end_moves_nothing(items, more, count):
    for number in range(1, count + 1):
        before, after = Share(number, count).of(items), Share(number, count).of(items + more)
        assert after[: len(before)] == before


def test_an_exchange_reads_its_part_and_is_written_whole():
    found = exchange("2/2")
    assert [source.device_name for source in found.sources] == ["a/b/1", "a/b/3"]
    assert len(found.listed) == 5
    assert len(exchange("").sources) == 5
    assert found != exchange("1/2")


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "1/0", "-1/2", "1/2/3", " 1/2", "\u0661/2"])
def test_what_is_no_part_is_refused(text):
    assert faults(text) == [("$.exchanges[0].share", f"{text!r} is no part of a list")]


def test_more_parts_than_sources_are_refused():
    assert faults("1/6") == [("$.exchanges[0].share", "there are 6 parts of 5 sources")]


def test_sources_whose_data_go_to_one_reader_are_not_divided():
    kafka = {"type": "InMemorySource", "data": [1.0]}
    text = json.loads(configuration("1/2", 2))
    text["exchanges"][0]["source"] = [kafka, text["exchanges"][0]["source"][0]]
    with pytest.raises(ConfigError) as refused:
        document.parse(json.dumps(text))
    assert [fault.path for fault in refused.value.faults] == ["$.exchanges[0].source[0]"]
