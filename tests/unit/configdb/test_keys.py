from hypothesis import given, strategies as st

from queue_connector.configdb import Level
from queue_connector.configdb.database import at_one_of
from queue_connector.configdb.keys import key_of, path_of, range_of

NAMES = st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1, max_size=8)
PATHS = st.lists(NAMES, min_size=1, max_size=5).map(lambda names: "/" + "/".join(names))


def test_the_number_of_slashes_goes_in_front():
    path = "/component/lmc-queueconnector-01/owner/my_id"
    assert key_of(path) == b"4" + path.encode()
    assert range_of(Level("/a")) == (b"2/a/", b"2/a0")
    assert range_of(Level("/flow", 2)) == (b"3/flow/", b"3/flow0")
    assert range_of(Level("/a", 0)) == (b"1/a", b"")


@given(PATHS, PATHS, st.integers(1, 3))
def test_a_range_holds_one_level_below_a_path_and_nothing_else(path, other, depth):
    first, end = range_of(Level(path, depth))
    key = key_of(other)
    is_below = other.startswith(path + "/") and other.count("/") == path.count("/") + depth
    assert (first <= key < end) is is_below
    assert at_one_of(other, [Level(path, depth)]) is is_below


@given(PATHS)
def test_a_key_stands_for_the_path_that_it_was_made_of(path):
    assert path_of(key_of(path)) == path


def test_keys_that_no_tool_of_ours_writes_stand_for_no_path():
    for key in (b"2/a/", b"2/a/b/c", b"2/a/\xff", b"1/a/b", b"/a/b", b"3/a//b", b""):
        assert path_of(key) is None
