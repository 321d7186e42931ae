from hypothesis import given, strategies as st

from queue_connector.model import texts
from queue_connector.model.errors import ConfigError, Fault


@given(st.text(max_size=50))
def test_what_is_printable_stays_and_nothing_else_comes_through(text):
    told = texts.printable(text)
    assert told.isprintable()
    assert (told == text) is text.isprintable()


def test_line_breaks_escapes_and_what_turns_the_writing_round_are_escaped():
    assert texts.printable("a\nb\x1b[2Jc\u202ed\xa0Ω") == "a\\nb\\x1b[2Jc\\u202ed\\xa0Ω"


def test_a_text_of_many_lines_stands_on_one():
    assert texts.one_line("first\nsecond\x1b[31m\r\nthird\u2028") == "first; second\\x1b[31m; third"


def test_a_long_text_tells_how_much_of_it_is_missing():
    assert texts.shortened("x" * 12, 10) == "xxxxxxxxxx… (2 more characters)"
    assert texts.shortened("x" * 10, 10) == "x" * 10


def test_many_lines_tell_how_many_are_missing():
    assert texts.within(["aaaa", "bbbb", "cccc"], 10, "more") == "aaaa\nbbbb\nand 1 more"
    assert texts.within(["aaaa", "bbbb"], 10, "more") == "aaaa\nbbbb"


def test_of_ten_thousand_faults_the_error_tells_the_first_and_how_many_there_are():
    error = ConfigError(Fault(f"$.exchanges[{n}]", "x" * 5000) for n in range(10_000))
    assert len(error.faults) == 10_000
    assert len(str(error)) < 25_000
    first, *_, last = str(error).splitlines()
    assert first.startswith("$.exchanges[0]: xxx")
    assert last == "and 9980 more faults"
