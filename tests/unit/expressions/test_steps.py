"""What goes without JMESPath's interpreter gives what JMESPath gives."""

import jmespath
import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st

from queue_connector.connectors.tango.object_scatter_sink import (
    SelectionError,
    TangoAttributeDescriptor,
    _Target,
)
from queue_connector.expressions.opened import as_json
from queue_connector.expressions.selection import Selector, compile_expression

KEYS = st.sampled_from(["a", "b", "c"])
TEXTS = st.sampled_from(["x", "y", ""])
LITERALS = st.sampled_from(["'x'", "''", "`1`", "`0`", "`1.5`", "`true`", "`null`", "`[]`", "'a'"])
ORDINARY = ("{0}.{1}", "{0} | {1}", "[{0}, {1}]", "{{p: {0}, q: {1}}}", "{0} && {1}", "{0} || {1}")
SPECIAL = (
    "{0}[?a=={2}]", "{0}[?a=={2}].{1}", "{0}[?a=={2}] | [0].{1}", "{0}[?{1}=={2}]", "{0}=={2}",
)  # fmt: skip
OTHER = ("{0}!={2}", "!{0}", "{0}[*].{1}", "{0}[]", "{0}[0:2]", "length({0})", "{0} < {1}", "({0})")


@st.composite
def expressions(draw, depth=3):
    if not depth or draw(st.integers(0, 3)) == 0:
        return draw(KEYS | st.sampled_from(["@", "[0]", "[-1]", "[1]", "a[0]"]) | LITERALS)
    form = draw(st.sampled_from(ORDINARY + SPECIAL + OTHER))
    parts = draw(expressions(depth=depth - 1)), draw(expressions(depth=depth - 1))
    return form.format(*parts, draw(LITERALS))


STRUCTS = np.array(
    [("x", 1, [0.5, 1.5], True), ("y", 0, [2.5, np.inf], False), ("x", 2, [0, 0], True)],
    [("a", "U3"), ("b", "i4"), ("c", "f4", 2), ("d", "?")],
)
NUMPYS = st.sampled_from(
    [np.float64(1.5), np.int8(1), np.bool_(True), np.str_("x"), np.arange(3), STRUCTS, STRUCTS[0],
     np.zeros(0), np.array("2026-01-31", "M8[D]"), STRUCTS[:0]],
)  # fmt: skip
DATA = st.recursive(
    st.none() | st.booleans() | st.sampled_from([0, 1, 2, 0.0, 1.0, 1.5]) | TEXTS | NUMPYS,
    lambda items: (
        st.lists(items, max_size=4)
        | st.lists(items, max_size=3).map(tuple)
        | st.dictionaries(KEYS, items, max_size=3)
    ),
    max_leaves=15,
)


def outcome(function):
    """What it gives, or that it fails."""
    try:
        return repr(function())
    except Exception:
        return "fails"


@settings(max_examples=500)
@given(expressions(), DATA)
@example("[?a==`1`]", [{"a": True}, {"a": 1}, {"a": 1.0}, {"a": np.int8(1)}, {"a": np.True_}])
@example("[?a==`0`]", [{"a": False}, {"a": 0}, {"a": -0.0}, {"a": ""}])
@example("[?a=='x'].b", [{"a": "x"}, {"a": np.str_("x"), "b": 1}, {"a": ("x",), "b": 2}])
@example("a[?b=='x'] | [0].c", {"a": ({"b": "x", "c": (1, np.arange(2))},)})
@example("[?a=='x'].c", STRUCTS)
@example("a[?a=='x'].c", {"a": STRUCTS})
@example("a && b", {"a": np.zeros(0), "b": 1})
@example("a || b", {"a": (), "b": 1})
def test_any_expression_gives_what_jmespath_gives(text, datum):
    try:
        compiled = compile_expression(text)
    except ValueError:
        return
    plain = as_json(datum)
    selector = Selector(datum)
    wanted = outcome(lambda: jmespath.search(text, plain))
    assert outcome(lambda: selector.select(compiled)) == wanted
    assert outcome(lambda: selector.select(compiled)) == wanted, "a second time"
    if wanted != "fails":
        assert selector.holds(compiled) is bool(jmespath.search(f"!!({text})", plain))


@pytest.mark.parametrize(
    "text",
    ["a", "a.b.c", "a[0].b", "[?a=='x'] | [0].[b, c]", "a.{p: b, q: c[1]}", "a=='x' && b", "@",
     "[3].[a, b]", "[?b==`1`].a | [0]"],
)  # fmt: skip
def test_common_expressions_go_without_the_interpreter(text):
    assert compile_expression(text).step is not None


DTYPES = ("f8", "f4", "i8", "i2", "u1", ">f8", "u8", "?", "U2")


@st.composite
def tables(draw):
    fields = [("n", draw(st.sampled_from(["U3", "i4", "f8", "?", "M8[s]"])))]
    kinds = st.sampled_from(DTYPES)
    both = draw(kinds)
    fields += [("a", both), ("b", draw(st.just(both) | kinds))]
    table = np.zeros(draw(st.integers(0, 4)), fields)
    for row in table:
        row["n"] = (
            draw(st.sampled_from(["x", "y"])) if fields[0][1] == "U3" else draw(st.integers(0, 2))
        )
        for name, dtype in fields[1:]:
            numbers = [0, 1, 200] + ([0.1, np.nan, np.inf, 3e38] if "f" in dtype else [])
            row[name] = draw(st.sampled_from(numbers))
    return table


PATHS = st.sampled_from(
    ["[?n=='x'] | [0].[a, b]", "[?n=='x'] | [0].[a]", "[?n==`1`] | [0].[b, a, b]", "[0].[a, b]",
     "[-1].[a, b]", "[2].[b]", "[?n=='x'] | [0].[a, missing]", "[?m=='x'] | [0].[a, b]", "[0].a",
     "[?n=='x'] | [1].[a, b]", "[?n=='x'].[a, b] | [0]", "[?n=='x'] | [0].[a, n]"],
)  # fmt: skip


BOOLEANS = np.array([(False, 1, 2), (True, 3, 4)], [("n", "?"), ("a", "f8"), ("b", "f8")])
TWICE = np.array([("y", 1, 2), ("x", 3, 4), ("x", 5, 6)], [("n", "U1"), ("a", "f8"), ("b", "f8")])


@settings(max_examples=300)
@example(BOOLEANS, "[?n==`1`] | [0].[a, b]", "float64", [2], None)
@example(TWICE, "[?n=='x'] | [0].[a, b]", "float64", [2], None)
@example(TWICE, "[?n=='x'] | [1].[a, b]", "float64", [2], None)
@example(TWICE, "[-2].[a, b]", "float32", [3], None)
@example(TWICE, "[-4].[a, b]", "float32", [3], None)
@given(
    tables(),
    PATHS,
    st.sampled_from(["float64", "float32", "int64", "int16", "uint8", "bool", "str"]),
    st.sampled_from([[2], [3], [2, 2], [1], []]),
    st.sampled_from([None, "[0].n=='x'"]),
)
def test_what_is_taken_of_a_table_is_what_is_taken_of_its_rows(table, path, dtype, shape, test):
    described = TangoAttributeDescriptor(
        attribute_name="a", dtype=dtype, shape=shape, path=path, filter=test
    )
    target = _Target.of(described)

    def taken(datum):
        try:
            value = target.take(Selector(datum))
        except SelectionError as error:
            return str(error)
        return repr(value), getattr(value, "dtype", None)

    assert taken(table) == taken(as_json(table))


def test_a_table_of_all_dishes_is_read_once():
    """The work for one more attribute does not grow with the number of rows."""
    table = np.zeros(500, [("n", "U8"), ("a", "f8"), ("b", "f8")])
    table["n"] = [f"SKA{i}" for i in range(500)]
    table["a"] = range(500)
    selector = Selector(table)
    for i in range(500):
        described = TangoAttributeDescriptor(
            attribute_name="a", dtype="f8", shape=[2], path=f"[?n=='SKA{i}'] | [0].[a, b]"
        )
        assert _Target.of(described).take(selector).tolist() == [i, 0]
    assert "json" not in vars(selector)
    assert len(selector._numbers) == len(selector._columns) == 1
