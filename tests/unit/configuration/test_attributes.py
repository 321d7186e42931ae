"""The device property ``attributes``: what it may say, and every fault at once with its path."""

import json
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from jsonschema import Draft202012Validator

from queue_connector.cli import main
from queue_connector.configuration.attributes import faults_of, parse
from queue_connector.configuration.schema import attributes_schema
from queue_connector.connectors.tango.static_attributes import Access, unkept
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import ConfigError
from queue_connector.model.exchanges import MAX_ATTRIBUTES

FIELD = {
    "name": "TestReadOnly",
    "data_format": "SCALAR",
    "data_type": "DevDouble",
    "writeable": "READ",
}
VALIDATOR = Draft202012Validator(attributes_schema())


def entry(**keys):
    return {"name": "a", "data_type": "DevDouble", **keys}


def one(**keys):
    (made,) = parse(json.dumps([entry(**keys)]))
    return made


def paths(*entries):
    return [fault.path for fault in faults_of(json.dumps(entries))]


def test_what_is_in_the_field_is_read():
    (made,) = parse(json.dumps([FIELD]))
    assert (made.name, made.access, made.spec) == ("TestReadOnly", "READ", DataSpec("float64"))
    assert made.published.default == 0.0


@pytest.mark.parametrize("text", ["", " \n", "[]", json.dumps("[]"), b"\xef\xbb\xbf[]"])
def test_nothing_is_none(text):
    assert parse(text) == ()


@pytest.mark.parametrize(
    ("keys", "spec", "default"),
    [
        ({"data_format": "SPECTRUM", "max_dim_x": 3}, DataSpec("float64", (3,)), [0.0, 0.0, 0.0]),
        (
            {"data_format": "IMAGE", "max_dim_x": 3, "max_dim_y": 2, "data_type": "DevShort"},
            DataSpec("int16", (2, 3)),
            [[0, 0, 0], [0, 0, 0]],
        ),
        (
            {"data_format": "SPECTRUM", "max_dim_x": 3, "default_value": [1.5, "nan"]},
            DataSpec("float64", (3,)),
            [1.5, np.nan],
        ),
        ({"data_type": "DevString", "default_value": "idle"}, DataSpec("str"), "idle"),
        ({"data_type": "DevBoolean", "default_value": True}, DataSpec("bool"), True),
        ({"data_type": "DevEncoded"}, DataSpec("bytes"), ("", b"")),
        (
            {"data_type": "DevEnum", "enum_labels": ["OFF", "ON"], "default_value": "ON"},
            DataSpec("int16", (), ("OFF", "ON")),
            1,
        ),
    ],
)
def test_types_shapes_and_defaults(keys, spec, default):
    made = one(**keys)
    assert made.spec == spec
    found = made.published.default
    if isinstance(found, np.ndarray):
        np.testing.assert_array_equal(found, default)
    else:
        assert found == default


@pytest.mark.parametrize(
    ("written", "access"),
    [(name, name.replace("WITH_WRITE", "WRITE")) for name in get_args(Access)],
)
@pytest.mark.parametrize("key", ["writable", "writeable"])
def test_access_in_either_spelling(key, written, access):
    assert one(**{key: written}).access == access


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"name": "State"}, ["$[0].name"]),
        ({"name": "9 a"}, ["$[0].name"]),
        ({"data_type": "DevDuble"}, ["$[0].data_type"]),
        ({"data_format": "VECTOR"}, ["$[0].data_format"]),
        ({"max_dim_x": 3}, ["$[0].max_dim_x"]),
        ({"data_format": "SPECTRUM", "max_dim_x": 0}, ["$[0].max_dim_x"]),
        ({"data_format": "SPECTRUM", "max_dim_x": -1}, ["$[0].max_dim_x"]),
        ({"data_format": "SPECTRUM", "max_dim_x": 10**12}, ["$[0].max_dim_x"]),
        ({"data_format": "SPECTRUM", "max_dim_x": 3, "max_dim_y": 2}, ["$[0].max_dim_y"]),
        ({"data_format": "IMAGE", "max_dim_x": 3}, ["$[0].max_dim_y"]),
        (
            {"data_type": "DevEncoded", "data_format": "SPECTRUM", "max_dim_x": 2},
            ["$[0].data_format"],
        ),
        ({"data_type": "DevEnum"}, ["$[0].enum_labels"]),
        ({"enum_labels": ["x"]}, ["$[0].enum_labels"]),
        ({"data_type": "DevEnum", "enum_labels": ["x", "x"]}, ["$[0].enum_labels[1]"]),
        ({"writable": "READ", "writeable": "READ"}, ["$[0].writeable"]),
        ({"writable": "RW"}, ["$[0].writable"]),
        ({"memorized": True}, ["$[0].memorized"]),
        (
            {"memorized": True, "writable": "WRITE", "data_format": "SPECTRUM", "max_dim_x": 2},
            ["$[0].memorized"],
        ),
        ({"default_value": "abc"}, ["$[0].default_value"]),
        ({"data_type": "DevUChar", "default_value": 300}, ["$[0].default_value"]),
        ({"data_format": "SPECTRUM", "default_value": [1, 2]}, ["$[0].default_value"]),
        ({"data_type": "DevString", "default_value": "\u2192"}, ["$[0].default_value"]),
        ({"unit": "\u03a9", "label": "a\0", "description": 3}, ["$[0].description"]),
        ({"unit": "\u03a9", "label": "a\0"}, ["$[0].unit", "$[0].label"]),
        ({"colour": "red"}, ["$[0].colour"]),
    ],
)
def test_every_fault_has_its_path(keys, expected):
    assert paths(entry(**keys)) == expected


def test_all_faults_are_told_at_once():
    assert paths(
        {"name": "State", "data_type": "float"},
        entry(name="good"),
        "text",
        entry(name="GOOD", memorized=True, default_value="x"),
        {"data_type": "DevLong"},
    ) == [
        "$[0].data_type",
        "$[0].name",
        "$[2]",
        "$[3].memorized",
        "$[3].default_value",
        "$[3].name",
        "$[4].name",
    ]


def test_a_name_that_is_taken_is_told_with_the_first_place():
    (fault,) = faults_of(json.dumps([entry(name="x"), entry(name="X")]))
    assert (fault.path, fault.message) == ("$[1].name", "the attribute 'X' is defined at $[0] too")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "expected a list, found an empty object"),
        ('"x"', "expected a list, found text 'x'"),
        ("[", "not JSON"),
        ('[{"name": "a", "name": "b"}]', "the key is written twice"),
        (b"\xff", "not UTF-8"),
        ("[" * 100_000, "levels deep"),
        (json.dumps([entry(name=f"a{n}") for n in range(MAX_ATTRIBUTES + 1)]), "at most 5000"),
    ],
)
def test_what_is_no_list_of_attributes(text, message):
    (fault,) = faults_of(text)
    assert message in fault.message


def test_a_report_stays_readable():
    found = faults_of(json.dumps([{}] * 4000))
    assert len(found) == 100
    assert found[-1].message == "has 7901 more faults"


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)
PROPERTIES = attributes_schema()["$defs"]["StaticAttribute"]["properties"]
keys = {
    name: st.sampled_from(
        [v for part in (p, *p.get("anyOf", ())) for v in part.get("enum", [])] or ["a", 1, 2, True]
    )
    | json_values
    for name, p in PROPERTIES.items()
}


@settings(max_examples=300)
@given(st.lists(st.fixed_dictionaries({}, optional=keys), max_size=3))
def test_any_list_is_read_or_refused_and_the_schema_refuses_nothing_that_is_read(value):
    try:
        parse(json.dumps(value))
    except ConfigError:
        return
    assert VALIDATOR.is_valid(value)


def test_only_what_is_memorized_is_told_as_not_kept():
    def made(count):
        entries = [entry(name=f"a{n}", writable="WRITE", memorized=True) for n in range(count)]
        return parse(json.dumps([*entries, entry(name="z")]))

    assert unkept(made(0)) == []
    assert unkept(made(2)) == [
        "there is no Tango database: what is written to a0, a1 is not kept for the next start"
    ]
    assert "a4 and 2 more is not kept" in unkept(made(7))[0]


def test_validate_checks_such_a_list(tmp_path, capsys):
    file = tmp_path / "attributes.json"
    file.write_text(json.dumps([FIELD, entry(memorized=True)]))
    assert main(["validate", "--attributes", str(file)]) == 1
    out = capsys.readouterr().out
    assert "1 fault" in out
    assert "$[1].memorized: what no client writes is not memorized" in out
    file.write_text(json.dumps([FIELD]))
    assert main(["validate", "--attributes", str(file)]) == 0
    assert main(["schema", "--attributes"]) == 0
    schema = json.loads(capsys.readouterr().out.split("\n", 1)[1])
    Draft202012Validator(schema).validate([FIELD])
