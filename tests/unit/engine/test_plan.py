import json

import pytest

from queue_connector.cli.plan import of_device, of_view
from queue_connector.configdb import Children, Versioned
from queue_connector.configuration import document
from queue_connector.engine.plan import compare, match, same
from queue_connector.model.errors import ConfigError
from queue_connector.model.exchanges import QueueConnectorDescriptor


def exchange(name="a", *, dtype="int64", topic=None, **sink):
    source = (
        {"type": "KafkaConsumerSource", "servers": "k", "topic": topic}
        if topic
        else {"type": "InMemorySource", "data": [1]}
    )
    sink = {"type": "TangoLocalAttributeSink", "attribute_name": name, **sink}
    return {"dtype": dtype, "source": source, "sink": sink}


def text(*exchanges, **groups):
    return json.dumps({"exchanges": groups or list(exchanges)}).encode()


def parsed(*exchanges, **groups):
    return document.parse(text(*exchanges, **groups)).groups


def lines(present, wanted):
    return list(compare(present, wanted).lines())


def test_the_same_written_again_changes_nothing():
    plan = compare(parsed(exchange("a"), exchange("b")), parsed(exchange("a"), exchange("b")))
    assert plan.empty
    assert list(plan.lines())[-1] == "nothing changes"


def test_nan_is_the_same_as_nan_and_not_as_its_name():
    def group(default):
        return parsed(exchange(dtype="float64", default_value=default))["default"]

    assert same(group(float("nan")), group(float("nan")))
    assert match(group(float("nan")), group(float("nan")), lambda each: each) != [None]
    assert not same(group(float("nan")), group("nan"))
    assert not same(group(float("nan")), group(0.0))


def test_what_is_added_kept_changed_and_removed_is_named():
    present = parsed(
        g=[exchange("a"), exchange("b", topic="t"), exchange("c")], gone=[exchange("d")]
    )
    wanted = parsed(
        g=[exchange("b", topic="u", dtype="str"), exchange("a"), exchange("e", topic="v")],
        new=[exchange("f")],
    )
    assert lines(present, wanted) == [
        "~ group g",
        "  ~ exchange g[0]: str, KafkaConsumerSource(u) -> TangoLocalAttributeSink(b)"
        " (was int64, KafkaConsumerSource(t) -> TangoLocalAttributeSink(b))",
        "  = exchange g[1]: int64, InMemorySource -> TangoLocalAttributeSink(a)",
        "  + exchange g[2]: int64, KafkaConsumerSource(v) -> TangoLocalAttributeSink(e)",
        "  - exchange g[2]: int64, InMemorySource -> TangoLocalAttributeSink(c)",
        "  ~ attribute b: str (was int64)",
        "  = attribute a: int64",
        "  + attribute e: int64",
        "  - attribute c: int64",
        "- group gone",
        "  - exchange gone[0]: int64, InMemorySource -> TangoLocalAttributeSink(d)",
        "  - attribute d: int64",
        "+ group new",
        "  + exchange new[0]: int64, InMemorySource -> TangoLocalAttributeSink(f)",
        "  + attribute f: int64",
        "",
        "groups: 1 added, 1 changed, 1 removed",
        "exchanges: 2 added, 1 kept, 1 changed, 2 removed",
        "attributes: 2 added, 1 kept, 1 changed, 2 removed",
    ]


def test_exchanges_that_only_trade_places_are_kept():
    one, two = exchange("a"), exchange("b")
    (group,) = compare(parsed(one, two), parsed(two, one)).groups
    assert [item.change.name for item in group.exchanges] == ["KEPT", "KEPT"]
    assert group.change.name == "CHANGED"


def test_equal_exchanges_are_matched_one_to_one():
    first = document.parse(text(exchange("a"))).groups["default"][0]
    other = document.parse(text(exchange("b"))).groups["default"][0]
    assert match([first], [first, other, first], lambda each: each) == [first, None, None]


def view(**values):
    return Children(9, {name: Versioned(value, 5) for name, value in values.items()})


def test_a_view_is_planned_with_the_other_children_beside_it():
    plan = of_view(view(a=text(exchange("x")), b=text(exchange("y"))), text(exchange("z")), "b")
    assert [(group.change.name, group.name) for group in plan.groups] == [
        ("KEPT", "a"),
        ("CHANGED", "b"),
    ]


@pytest.mark.parametrize(
    ("new", "group", "path"),
    [
        (text(exchange("X")), "b", "$.exchanges[0].sink.attribute_name"),
        (b"{", "b", "$"),
        (b'{"exchanges": 1}', None, "$.exchanges"),
        (b"{}", None, "$"),
    ],
)
def test_what_the_device_would_refuse_is_refused(new, group, path):
    with pytest.raises(ConfigError) as caught:
        of_view(view(a=text(exchange("x"))), new, group)
    assert caught.value.faults[0].path == path


def test_a_broken_child_of_others_does_not_matter():
    plan = of_view(view(a=b"{"), text(one=[exchange("x")]), "b")
    assert [(group.change.name, group.name) for group in plan.groups] == [
        ("KEPT", "a"),
        ("ADDED", "b.one"),
    ]


def test_a_device_is_planned_whole_or_by_child():
    present = QueueConnectorDescriptor(
        exchanges=parsed(**{"a": [exchange("x")], "b.one": [exchange("y")]})
    )
    whole = of_device(present, text(exchange("x")), None)
    assert [(group.change.name, group.name) for group in whole.groups] == [
        ("REMOVED", "a"),
        ("REMOVED", "b.one"),
        ("ADDED", "default"),
    ]
    child = of_device(present, text(two=[exchange("y")]), "b")
    assert [(group.change.name, group.name) for group in child.groups] == [
        ("KEPT", "a"),
        ("REMOVED", "b.one"),
        ("ADDED", "b.two"),
    ]
    with pytest.raises(ConfigError, match="claimed"):
        of_device(present, text(exchange("x")), "b")


def test_a_plan_is_told_to_programs_too():
    plan = compare({}, parsed(exchange("a")))
    assert plan.as_dict()["default"]["attributes"] == [
        {"change": "added", "name": "a", "what": "int64", "before": ""}
    ]
