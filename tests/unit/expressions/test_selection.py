import math

import jmespath
import numpy as np
import pytest
from hypothesis import given, strategies as st

from queue_connector.expressions.opened import as_json
from queue_connector.expressions.selection import (
    MAX_LENGTH,
    EvaluationError,
    ExpressionError,
    Selector,
    compile_expression,
    names_in_place_of_text,
)
from tests.support.data import json_like


def select(text, datum):
    return Selector(datum).select(compile_expression(text))


class TestCompiling:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "cannot be empty"),
            ("a b", 'column 2, token "b"'),
            ("[?a=='x]", "Unclosed ' delimiter"),
            ("foo(", "Incomplete expression"),
            ("max(", "Incomplete expression"),
            ("a[", "Incomplete expression"),
            ("🔭", "Unknown token"),
            ("maks(@)", "no function is called 'maks'"),
            ("a[?lenth(b) > `1`] | [0]", "no function is called 'lenth'"),
            ("length(a, b)", "length() takes 1 arguments, found 2"),
            ("not_null()", "not_null() takes at least 1 arguments, found 0"),
            ("(" * 3000, "nested too deep"),
        ],
    )
    def test_what_is_no_expression_is_refused_in_one_line(self, text, message):
        with pytest.raises(ExpressionError) as caught:
            compile_expression(text)
        assert message in caught.value.message
        assert "\n" not in caught.value.message

    def test_a_misspelt_function_gets_a_hint(self):
        with pytest.raises(ExpressionError) as caught:
            compile_expression("lenght(@)")
        assert caught.value.hint == "did you mean 'length'?"

    @given(st.text(max_size=30) | st.text("[]?=='a.b|@&(),`1:*!<>{}\"", max_size=15))
    def test_any_text_is_an_expression_or_an_expression_error(self, text):
        try:
            compile_expression(text)
        except ExpressionError as error:
            assert error.message


class TestSelecting:
    ROWS = [  # noqa: RUF012
        {"name": "a", "x": 1},
        {"name": "b", "x": None},
        {"name": "a", "x": 2},
        {"name": None},
        {"x": 3},
        ["name", "a"],
        "a",
        None,
    ]

    @pytest.mark.parametrize(
        "text",
        [
            "[?name=='a']",
            "[?name=='a'].x",
            "[?name=='b'].x",
            "[?name=='a'] | [0].x",
            "[?name=='a'] | [1].[name, x, y]",
            "[?name=='nobody'] | [0].[x]",
            '[?name==`"a"`]',
            "[?name==`1`]",
            "[?name!='a']",
            "[?name=='a' && x==`2`]",
            "@[?name=='a'][?x==`2`]",
            "[?'a'==name]",
            "[?@=='a']",
            "[?x.y=='a']",
            "x[?name=='a']",
        ],
    )
    def test_rows_that_are_looked_up_are_those_that_jmespath_finds(self, text):
        for datum in (self.ROWS, {"x": self.ROWS}, [], {}, None, 3):
            assert select(text, datum) == jmespath.search(text, datum)

    @given(json_like(keys=st.sampled_from(["a", "b"])), st.sampled_from("abx"))
    def test_and_so_in_any_datum(self, datum, wanted):
        rows = as_json([datum, {"a": wanted}, {"a": datum}])
        for text in (
            f"[?a=='{wanted}']",
            f"[].a[?b=='{wanted}']",
            f"[*].b[?a=='{wanted}'] | [0].a",
        ):
            np.testing.assert_equal(select(text, rows), jmespath.search(text, rows))

    def test_one_selector_keeps_lists_apart(self):
        datum = Selector({"p": [{"n": "a", "v": 1}], "q": [{"n": "a", "v": 2}]})
        for _ in range(3):
            for path, value in (("p", 1), ("q", 2), ("[p, q][] | ", 1)):
                text = f"{path}[?n=='a'] | [0].v"
                assert datum.select(compile_expression(text)) == value

    @pytest.mark.parametrize(
        ("value", "true"),
        [
            (None, False), (False, False), ("", False), ([], False), ({}, False),
            (0, True), (0.0, True), (math.nan, True), ("x", True), ([0], True), (True, True),
        ],
    )  # fmt: skip
    def test_what_holds_is_what_jmespath_calls_true(self, value, true):
        assert Selector(value).holds(compile_expression("@")) is true

    @pytest.mark.parametrize("text", ["sum(@)", "length(@)", "sort_by(@, &a)", "max_by(@, &a)"])
    def test_a_datum_that_makes_a_function_fail_is_a_data_error(self, text):
        with pytest.raises(EvaluationError, match=r"fails: \S"):
            select(text, 3)


class TestAsJson:
    @pytest.mark.parametrize(
        ("value", "seen"),
        [
            (np.float64(1.5), 1.5),
            (np.bool_(True), True),
            (np.str_("x"), "x"),
            (np.arange(4).reshape(2, 2), [[0, 1], [2, 3]]),
            ((1, (2,), {"a": (3,)}), [1, [2], {"a": [3]}]),
            ({"a": np.arange(2), "b": [np.int16(1)]}, {"a": [0, 1], "b": [1]}),
            (np.array("2026-01-31T12:00:00", "M8[s]"), "2026-01-31T12:00:00"),
            (np.zeros((), [("t", "M8[ms]")]), {"t": "1970-01-01T00:00:00.000"}),
            (
                np.array(
                    [("a", [1, 2], (True,))], [("n", "U3"), ("x", ">f4", 2), ("s", [("b", "?")])]
                ),
                [{"n": "a", "x": [1.0, 2.0], "s": {"b": True}}],
            ),
            (np.zeros((1, 2), [("x", "i2")]), [[{"x": 0}, {"x": 0}]]),
            (np.zeros(1, [("s", [("x", "i2")], 2)]), [{"s": [{"x": 0}, {"x": 0}]}]),
            (np.zeros(0, [("x", "i2")]), []),
            (np.zeros((2, 0), [("x", "i2")]), [[], []]),
        ],
    )  # fmt: skip
    def test_numpys_values_become_plain_ones(self, value, seen):
        found = as_json(value)
        assert found == seen
        assert repr(found) == repr(seen)

    def test_nan_stays(self):
        [row] = as_json(np.array([(np.nan,)], [("x", "f4")]))
        assert math.isnan(row["x"])


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ('type=="x"', "x"),
        ('type == "x" && other', "x"),
        ('"x" == type', "x"),
        ('[?type!="x"].a', "x"),
        ('[?a.type=="x y"] | [0]', "x y"),
        ('starts_with(name, "SKA")', "SKA"),
        ('[?contains(name, "SKA")]', "SKA"),
        ('ends_with(name, "1") && a', "1"),
        ('join(",", names)', ","),
        ('!(type=="x")', "x"),
        ('{a: type=="x"}', "x"),
        ('"a"=="x"', "x"),
    ],
)
def test_a_name_in_double_quotes_where_text_is_meant_is_found(text, name):
    compile_expression(text)
    assert list(names_in_place_of_text(text)) == [name]


@pytest.mark.parametrize(
    "text",
    [
        "type=='x'", "type==`\"x\"`", '"my-key"==\'x\'', '"my-key"', '"a b"."c d"',
        'a."b c"==\'x\'',
        'a=="b c".d', 'a=="b c"[0]', 'contains("a b", \'x\')', 'keys("a b")', '{"a b": c}',
        '["a b", c]', 'sort_by(@, &"a b")', "a==b", 'max_by("a b", &c)', "@",
    ],
)  # fmt: skip
def test_names_that_stand_where_names_are_meant_are_not(text):
    compile_expression(text)
    assert list(names_in_place_of_text(text)) == []


def test_an_expression_has_a_largest_length():
    assert compile_expression("a" * MAX_LENGTH)
    with pytest.raises(ExpressionError, match="expected at most 10000 characters, found 10001"):
        compile_expression("a" * (MAX_LENGTH + 1))
