"""The schema and the parser agree.

The long run: ``QUEUE_CONNECTOR_EXAMPLES=4000 pytest tests/unit/configuration/test_schema.py
--timeout=0 -o faulthandler_timeout=0 --hypothesis-seed=N`` for N from 1 to 25; Hypothesis remembers
what it drew, so that one run of 100,000 takes far longer.
"""

import copy
import functools
import json
import math
import os

import attrs
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from jsonschema import Draft202012Validator

from queue_connector.configuration import document
from queue_connector.configuration.reading import read
from queue_connector.configuration.schema import Row, descriptors, json_schema, rows
from queue_connector.model.convert import structure, unstructure
from queue_connector.model.endpoints import UNIONS, PipeDescriptor, pipes
from queue_connector.model.errors import ConfigError
from queue_connector.model.exchanges import QueueConnectorDescriptor
from queue_connector.model.option import Descriptor, option

SCHEMA = json_schema()
VALIDATOR = Draft202012Validator(SCHEMA)

many = settings(
    max_examples=int(os.environ.get("QUEUE_CONNECTOR_EXAMPLES", "300")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

DTYPES = [
    "str", "bytes", "object", "bool", "uint8", "int64", "float32", "float64", "complex64",
    "datetime64[ns]", "DevDouble", "<f4", "U8", "json", "flot",
]  # fmt: skip

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.sampled_from(["", "nan", "a", "[0]", "host:9092", "a/b/c", "min", "CHANGE_EVENT", *DTYPES])
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)


def matching(schema, required=()):
    """A strategy for the values that a schema allows; knows the keywords that ours uses.

    Objects have the *required* keys on top of those that the schema requires.
    """
    if "$ref" in schema:
        return defined(schema["$ref"].removeprefix("#/$defs/"), tuple(required))
    for keyword in ("anyOf", "oneOf"):
        if keyword in schema:
            needed = schema.get("required", required)
            return st.one_of([matching(part, needed) for part in schema[keyword]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    match schema.get("type"):
        case None:
            return json_values | st.just(math.nan)
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "integer":
            least = schema.get("minimum", schema.get("exclusiveMinimum", -4) + 1)
            whole = st.integers(least, schema.get("maximum"))
            near = st.integers(least, max(least, 9))
            return near | whole | near.map(float)
        case "number":
            low = schema.get("minimum")
            number = st.floats(low, schema.get("maximum")) | st.integers(
                max(math.ceil(low), -9), 99
            )
            above = schema.get("exclusiveMinimum")
            return number if above is None else number.filter(lambda value: value > above)
        case "string" if "pattern" in schema:
            return st.sampled_from(["env:A", "file:/a b", "env:HOME"]) | st.from_regex(
                schema["pattern"]
            )
        case "string":
            return st.text(min_size=schema.get("minLength", 0), max_size=8) | st.sampled_from(
                ["host", "localhost:9092", "a/b/c", "topic", "Az", "json", "carray", "a.b", "nan"]
            )
        case "array" if "prefixItems" in schema:
            parts = [matching(part) for part in schema["prefixItems"]]
            sizes = st.integers(schema["minItems"], schema["maxItems"])
            return sizes.flatmap(lambda size: st.tuples(*parts[:size]).map(list))
        case "array":
            return st.lists(
                matching(schema["items"]), min_size=schema.get("minItems", 0), max_size=3
            )
        case "object" if "properties" in schema:
            return objects(schema, {*schema["required"], *required})
        case "object":
            names = st.text(max_size=4) | st.sampled_from(["a", "b-c"])
            return st.dictionaries(names, matching(schema["additionalProperties"]), max_size=2)
    raise AssertionError(f"the test draws nothing from {schema}")


@functools.cache
def defined(name, required):
    drawn = st.deferred(lambda: matching(SCHEMA["$defs"][name], required))
    return st.sampled_from(DTYPES) | drawn if name == "dtype" else drawn


def objects(schema, required):
    keys = {key: matching(part) for key, part in schema["properties"].items()}
    optional = {key: part for key, part in keys.items() if key not in required}
    return st.fixed_dictionaries({key: keys[key] for key in sorted(required)}, optional=optional)


def places(value, path=()):
    """Every place in a JSON-like value, the root too, as a tuple of keys."""
    yield path
    if isinstance(value, dict | list):
        entries = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in entries:
            yield from places(item, (*path, key))


NAMES = [name for registry in UNIONS.values() for name in registry]
OLDER = [
    older
    for registry in UNIONS.values()
    for name in registry
    for older in registry.aliases_of(name)
]
KEYS = [key for part in SCHEMA["$defs"].values() for key in part.get("properties", ())]
WORDS = sorted({*NAMES, *OLDER, *KEYS, *(name for name, _ in descriptors())})
CHANGES = ["replace", "remove", "add", "wrap", "unwrap", "nudge", "word"]


@st.composite
def mutated(draw, values):
    root = [copy.deepcopy(draw(values))]
    for _ in range(draw(st.integers(1, 3))):
        found = sorted(places(root), key=len, reverse=True)
        depths = sorted({len(place) for place in found} - {0, 1}, reverse=True)
        depth = draw(st.sampled_from(depths * 5 + [1]))  # the root seldom: little is left of it
        place = draw(st.sampled_from([place for place in found if len(place) == depth]))
        holder = root
        for key in place[:-1]:
            holder = holder[key]
        key, value = place[-1], holder[place[-1]]
        match draw(
            st.sampled_from(["replace", "remove", "add", "wrap", "unwrap", "nudge", "word"])
        ):
            case "remove" if holder is not root:
                del holder[key]
            case "add" if isinstance(value, dict):
                value[draw(st.sampled_from(WORDS) | st.text(max_size=4))] = draw(json_values)
            case "add" if isinstance(value, list):
                value.append(draw(json_values))
            case "wrap":
                holder[key] = [value]
            case "unwrap" if isinstance(value, list) and value:
                holder[key] = value[0]
            case "nudge" if isinstance(value, int | float):
                holder[key] = draw(
                    st.sampled_from([-value, value + 0.5, float(value), 0, 1e400, 10**400, True])
                    if abs(value) < 1e300
                    else st.just(0)
                )
            case "word":
                holder[key] = draw(st.sampled_from(WORDS))
            case _:
                holder[key] = draw(json_values)
    return root[0]


CONFIGURATIONS = matching(SCHEMA) | st.fixed_dictionaries(
    {
        "exchanges": st.lists(
            matching({"$ref": "#/$defs/ExchangeDescriptor"}), min_size=1, max_size=2
        )
    }
)


def judge(value):
    """What is read of a value: schema and parser agree, and its text is a ConfigError at most."""
    reading = read(value)
    valid = VALIDATOR.is_valid(value)
    assert valid is not bool(reading.structure), reading.structure or [
        error.message for error in VALIDATOR.iter_errors(value)
    ]
    assert all(fault.path.startswith("$") and fault.message for fault in reading.faults)
    try:
        document.parse(json.dumps(value))
    except ConfigError as error:
        assert all(fault.path.startswith("$") for fault in error.faults)
        if isinstance(value, dict):  # a text may hold a configuration encoded twice
            assert reading.faults or 10**400 in numbers(value)
    return reading


def numbers(value):
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from numbers(item)
    elif isinstance(value, int | float):
        yield value


@many
@given(CONFIGURATIONS)
def test_what_the_schema_allows_the_parser_finds_well_formed_and_writes_back(value):
    assert VALIDATOR.is_valid(value)
    if (descriptor := judge(value).descriptor) is not None:
        written = unstructure(descriptor)
        assert VALIDATOR.is_valid(written)
        again = structure(written, QueueConnectorDescriptor)
        assert again == descriptor or repr(again) == repr(descriptor)  # NaN is not NaN


@many
@given(mutated(CONFIGURATIONS))
def test_of_what_is_damaged_schema_and_parser_judge_alike(value):
    judge(value)


EXCHANGE = {
    "source": {"type": "InMemorySource", "data": ["x"]},
    "sink": {"type": "InMemorySink", "key": "k"},
}


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        ({}, True),
        ([], False),
        ("{}", False),
        ({"exchanges": None}, True),
        ({"exchanges": [EXCHANGE]}, True),
        ({"exchanges": {"a": [EXCHANGE]}}, True),
        ({"exchanges": EXCHANGE}, False),
        ({"exchanges": [{**EXCHANGE, "x": 1}]}, False),
        ({"exchanges": [{**EXCHANGE, "shape": [2.0]}]}, True),
        ({"exchanges": [{**EXCHANGE, "shape": [2.5]}]}, False),
        ({"exchanges": [{**EXCHANGE, "shape": [True]}]}, False),
        ({"exchanges": [{**EXCHANGE, "dtype": "no such dtype"}]}, True),  # meaning, not structure
        ({"exchanges": [{**EXCHANGE, "dtype": [["a"]]}]}, False),
        ({"exchanges": [{**EXCHANGE, "dtype": [["a", "f8", 2.0]]}]}, True),
        ({"exchanges": [{**EXCHANGE, "dtype": [["a", "f8", 0]]}]}, False),
        ({"exchanges": [{**EXCHANGE, "source": []}]}, False),
        ({"exchanges": [{**EXCHANGE, "sink": {"key": "k"}}]}, False),
        ({"exchanges": [{**EXCHANGE, "sink": {"type": "InMemorySource", "data": []}}]}, False),
        ({"exchanges": [{**EXCHANGE, "source": {**EXCHANGE["source"], "delay": -1}}]}, False),
        ({"exchanges": [{**EXCHANGE, "source": {**EXCHANGE["source"], "delay": math.inf}}]}, False),
        ({"exchanges": [{**EXCHANGE, "source": {**EXCHANGE["source"], "delay": 10**400}}]}, False),
    ],
)
def test_schema_and_parser_judge_as_this_table_says(value, valid):
    assert VALIDATOR.is_valid(value) is valid
    assert (not read(value).structure) is valid


def test_is_a_valid_schema_and_plain_json():
    Draft202012Validator.check_schema(SCHEMA)
    assert json.loads(json.dumps(SCHEMA, allow_nan=False)) == SCHEMA


def test_defines_every_descriptor_and_allows_no_other_keys():
    for name, cls in descriptors():
        definition = SCHEMA["$defs"][name]
        assert definition["additionalProperties"] is False
        assert set(definition["properties"]) == {"type", *(row.key for row in rows(cls))}
        assert definition["description"]
        for key, part in definition["properties"].items():
            assert key == "type" or part["description"]


def test_every_registered_name_and_older_spelling_is_allowed_and_these_alone():
    for registry in UNIONS.values():
        members = SCHEMA["$defs"][registry.what]["oneOf"]
        assert members == [{"$ref": f"#/$defs/{name}"} for name in registry]
        for name in registry:
            key = SCHEMA["$defs"][name]["properties"]["type"]
            older = {part["const"] for part in key.get("oneOf", ()) if part.get("deprecated")}
            assert older == set(registry.aliases_of(name))


def test_every_default_in_the_schema_is_valid_itself():
    for definition in SCHEMA["$defs"].values():
        for part in definition.get("properties", {}).values():
            if "default" in part:
                Draft202012Validator({**part, "$defs": SCHEMA["$defs"]}).validate(part["default"])


@attrs.frozen(kw_only=True)
class Documented(Descriptor):
    """First line.

    More of it
    on two lines.
    """

    rate: float = option(default=1.5, gt=0, unit="Hz", doc="How often.")
    names: list[str] = option(min_length=1, doc="Which.")
    coding: str = option(default="npy", choices=lambda: ["json", "npy"], doc="How.")


def test_a_table_of_the_documentation_has_a_row_for_each_key():
    assert rows(Documented) == [
        Row("rate", "number", "1.5", "Hz", "How often."),
        Row("names", "list of text", "", "", "Which."),
        Row("coding", "'json' or 'npy'", '"npy"', "", "How."),
    ]


def test_a_new_descriptor_is_in_the_schema_by_its_register_line_alone(monkeypatch):
    monkeypatch.setattr(pipes, "_entries", dict(pipes._entries))
    monkeypatch.setattr(pipes, "_aliases", dict(pipes._aliases))

    @pipes.register("NewPipe", alias="OldPipe")
    @attrs.frozen(kw_only=True)
    class NewPipeDescriptor(PipeDescriptor):
        """Does something new."""

        rate: float = option(default=1.5, gt=0, unit="Hz", doc="How often.")

        def build(self, spec):
            raise NotImplementedError

    assert json_schema()["$defs"]["NewPipe"] == {
        "description": "Does something new.",
        "type": "object",
        "properties": {
            "type": {
                "oneOf": [
                    {"const": "NewPipe"},
                    {
                        "const": "OldPipe",
                        "deprecated": True,
                        "description": "An older spelling of NewPipe.",
                    },
                ],
                "default": "NewPipe",
            },
            "rate": {
                "description": "How often. Unit: Hz.",
                "type": "number",
                "minimum": -1.7976931348623157e308,
                "maximum": 1.7976931348623157e308,
                "exclusiveMinimum": 0,
                "default": 1.5,
            },
        },
        "required": [],
        "additionalProperties": False,
    }
    value = {"exchanges": [{**EXCHANGE, "pipe": {"type": "OldPipe", "rate": 2}}]}
    assert Draft202012Validator(json_schema()).is_valid(value)
    reading = read(value)
    assert reading.descriptor.exchanges[0].pipe.rate == 2.0
    [note] = reading.warnings
    assert (note.path, note.hint) == ("$.exchanges[0].pipe.type", "write 'NewPipe'")
    written = unstructure(reading.descriptor)
    assert written["exchanges"][0]["pipe"] == {"type": "NewPipe", "rate": 2.0}
