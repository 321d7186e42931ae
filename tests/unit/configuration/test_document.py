import json
import logging
import math

import pytest
from hypothesis import given, strategies as st

from queue_connector.configuration.document import MAX_DEPTH, MAX_SIZE, examine, load, parse, take
from queue_connector.model.endpoints import sinks
from queue_connector.model.errors import ConfigError
from queue_connector.model.exchanges import QueueConnectorDescriptor

EXCHANGE = {
    "dtype": "float64",
    "source": {"type": "InMemorySource", "data": [1.5]},
    "sink": {"type": "InMemorySink", "key": "k"},
}
CONFIG = json.dumps({"exchanges": [EXCHANGE]})


def fault(text):
    with pytest.raises(ConfigError) as caught:
        parse(text)
    [found] = caught.value.faults
    return found


class TestAccepted:
    @pytest.mark.parametrize(
        "text",
        [
            CONFIG,
            CONFIG.encode(),
            b"\xef\xbb\xbf" + CONFIG.encode(),
            "\ufeff" + CONFIG,
            f"\n\t {CONFIG} \n",
            json.dumps(CONFIG),  # a client library encodes twice
            json.dumps(" " + CONFIG),
        ],
        ids=["text", "bytes", "mark in bytes", "mark in text", "blanks", "twice", "twice, blanks"],
    )
    def test_one_configuration_in_any_dress(self, text):
        [exchange] = parse(text).exchanges
        assert exchange.source.data == [1.5]

    def test_the_empty_configuration(self):
        assert parse("{}") == QueueConnectorDescriptor()
        assert parse(b"{}").groups == {}

    def test_numbers_that_json_has_not_in_data(self):
        text = CONFIG.replace("1.5", "NaN, Infinity, -Infinity")
        [exchange] = parse(text).exchanges
        data = exchange.source.data
        assert math.isnan(data[0])
        assert data[1:] == [math.inf, -math.inf]

    def test_text_beyond_ascii_written_either_way(self):
        for key in ("Ω🔭", "\\u03a9\\ud83d\\udd2d"):
            [exchange] = parse(CONFIG.replace('"k"', f'"{key}"')).exchanges
            assert exchange.sink.key == "Ω🔭"


class TestRefused:
    @pytest.mark.parametrize(
        ("text", "message", "hint"),
        [
            ("", "the text is empty", "{}"),
            (" \n\t", "the text is empty", "{}"),
            (b"", "the text is empty", "{}"),
            ("[]", "expected an object, found a list of 0", "{}"),
            ("null", "expected an object, found null", "{}"),
            ("3", "expected an object, found number 3", "{}"),
            ('"abc"', "expected an object, found text 'abc'", "{}"),
            ('""', "expected an object, found text ''", "{}"),
            (json.dumps(json.dumps("{}")), "expected an object, found text", "{}"),
            ('{"a": 1,}', "line 1, column 9, near '{\"a\": 1,}'", "remove the comma"),
            ("{'a': 1}", "line 1, column 2, near", "double quotes"),
            ('{\n "a": True}', "line 2, column 7, near", "write true"),
            ('{"a": [1, 2}', "line 1, column 12", "remove the comma before it"),
            ('{"a": // no\n 1}', "line 1, column 7", "JSON has no comments"),
            ('{"exchanges": [', "line 1, column 16", "ends too early"),
            ("{} {}", "extra data at line 1, column 4", "one object"),
            ('{"a": "x\ny"}', "invalid control character", "\\n"),
            ('"{\\"a\\": }"', "not JSON: expecting value at line 1, column 7", ""),
            (b'{"a": "\xff"}', "not UTF-8: byte 0xff at offset 7", "UTF-8"),
            (b"\xff\xfe{\x00}\x00", "not UTF-8: byte 0xff at offset 0", "UTF-8"),
            ("9" * 5000, "too many digits", "exponent"),
            ("[" * 100_000, "nested more than", "bracket"),
            ('{"exchanges":' + "[" * 90 + "]" * 90 + "}", "nested more than", "bracket"),
            ("{" + " " * MAX_SIZE + "}", f"expected at most {MAX_SIZE} bytes", "file"),
        ],
    )
    def test_a_text_that_is_no_configuration_object(self, text, message, hint):
        found = fault(text)
        assert found.path.startswith("$")
        assert message in found.message
        assert hint in found.hint

    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ('{"exchanges": [], "exchanges": []}', "$.exchanges"),
            ('{"a": {"b c": 1, "x": 2, "b c": 3}}', "$.a['b c']"),
            ('{"a": [0, {"b": 1, "b": 2, "b": 3}]}', "$.a[1].b"),
            (json.dumps('{"a": 1, "a": 2}'), "$.a"),
        ],
    )
    def test_a_key_that_is_written_twice_since_one_would_be_lost(self, text, path):
        found = fault(text)
        assert (found.path, found.message) == (path, "the key is written twice")

    @pytest.mark.parametrize(
        ("text", "path"),
        [
            ('{"a": "\\ud800"}', "$.a"),
            ('{"a": ["x\\udc00y"]}', "$.a[0]"),
            ('{"\\ud800": 1}', "$"),
            ('{"a": "\ud800"}', "$.a"),
            (json.dumps('{"a": "\\ud800"}'), "$.a"),
        ],
    )
    def test_half_a_surrogate_pair_which_no_other_system_takes(self, text, path):
        found = fault(text)
        assert found.path == path
        assert "half a surrogate pair" in found.message
        found.message.encode()

    def test_all_faults_of_a_text_together(self):
        with pytest.raises(ConfigError) as caught:
            parse(
                '{"exchanges": [{"dtype": "flot", "sorce": 1, "sink": {"type": "InMemorySink"}}]}'
            )
        assert {found.path for found in caught.value.faults} == {
            "$.exchanges[0].dtype",
            "$.exchanges[0].sorce",
            "$.exchanges[0].source",
            "$.exchanges[0].sink.key",
        }
        lines = str(caught.value).splitlines()
        assert len(lines) == 4
        assert any(
            line == "$.exchanges[0].dtype: no dtype is called 'flot' (did you mean 'float'?)"
            for line in lines
        )


def test_the_deepest_level_that_is_allowed_is_read():
    deepest = MAX_DEPTH - 4  # configuration, exchanges, exchange, source
    data = "[" * deepest + "]" * deepest
    text = CONFIG.replace("[1.5]", data).replace("float64", "object")
    assert load(text)
    assert "nested" in fault(text.replace(data, f"[{data}]")).message


def test_examining_tells_what_parsing_raises():
    assert examine(CONFIG).descriptor == parse(CONFIG)
    assert examine("{").descriptor is None
    assert [found.path for found in examine("{").faults] == ["$"]


def test_an_older_spelling_is_logged_with_its_path(caplog):
    known = [(alias, cls) for name, cls in sinks.items() for alias in sinks.aliases_of(name)]
    for alias, _ in known:
        config = {"exchanges": [{**EXCHANGE, "sink": {"type": alias}}]}
        assert [note.path for note in examine(json.dumps(config)).warnings] == [
            "$.exchanges[0].sink.type"
        ]
    with caplog.at_level(logging.WARNING):
        take(CONFIG)
    assert caplog.records == []


def test_what_a_device_takes_is_logged_with_its_warnings(caplog):
    circle = [
        {"source": {"type": "KafkaConsumerSource", "servers": "a", "topic": one},
         "sink": {"type": "KafkaProducerSink", "servers": "a", "topic": other}}
        for one, other in ("xy", "yx")
    ]  # fmt: skip
    text = json.dumps({"exchanges": circle})
    assert parse(text)
    assert caplog.records == []
    assert take(text)
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "$.exchanges[0]: what it writes comes round" in record.getMessage()


def judged(text):
    """A text parses, or it is a `ConfigError` whose faults have paths; nothing else happens."""
    try:
        parse(text)
    except ConfigError as error:
        assert error.faults
        assert all(found.path.startswith("$") for found in error.faults)
        str(error).encode()


@given(st.text() | st.binary())
def test_any_text_is_a_configuration_or_a_config_error(text):
    judged(text)


@given(st.data())
def test_any_damage_to_a_configuration_is_a_config_error_at_most(data):
    text = bytearray(data.draw(st.sampled_from([CONFIG, json.dumps(CONFIG)])).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(start, min(start + 8, len(text))))
        text[start:end] = data.draw(st.binary(max_size=4) | st.sampled_from(TOKENS))
    judged(bytes(text))


TOKENS = [b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"NaN", b"1e999", b"null", b"\\ud800"]


def test_more_attributes_than_a_device_may_have_are_one_fault():
    def exchange(names):
        sink = {"type": "TangoArrayScatterAttributeSink", "attribute_names": names}
        source = {"type": "InMemorySource", "data": []}
        return {"dtype": "float64", "shape": [len(names)], "source": source, "sink": sink}

    def faults(count):
        names = [f"a{number}" for number in range(count)]
        exchanges = {"one": [exchange(names[:3000])], "two": [exchange(names[3000:])]}
        return [str(fault) for fault in examine(json.dumps({"exchanges": exchanges})).faults]

    assert faults(5000) == []
    (fault,) = faults(5001)
    assert fault.startswith("$.exchanges: expected at most 5000 attributes of all exchanges")


@pytest.mark.parametrize(
    ("different", "needed"),
    [({"topic": "t{}"}, 2), ({"group_id": "g{}"}, 302), ({}, 302), ({"servers": "s{}"}, 602)],
    ids=["topics", "groups", "one topic", "clusters"],
)
def test_more_clients_than_one_process_can_have_are_one_fault(different, needed):
    """Of 301 exchanges between topics, by what differs in them."""

    def exchange(number):
        end = {"servers": "s", "topic": "t"}
        end |= {key: value.format(number) for key, value in different.items()}
        sink = {key: value for key, value in end.items() if key != "group_id"}
        return {
            "source": {"type": "KafkaConsumerSource", **end},
            "sink": {"type": "KafkaProducerSink", **sink, "topic": f"out{number}"},
        }

    found = examine(json.dumps({"exchanges": [exchange(number) for number in range(301)]})).faults
    told = [fault.message for fault in found]
    if needed <= 300:
        assert told == []
    else:
        assert told == [f"expected at most 300 clients of all exchanges, found {needed}"]
