from hypothesis import given, strategies as st

from queue_connector.configdb.keys import child_of, key_of, range_of_children

NAMES = st.text(st.characters(exclude_characters="/", codec="utf-8"), min_size=1, max_size=8)
PATHS = st.lists(NAMES, min_size=1, max_size=5).map(lambda names: "/" + "/".join(names))


def test_the_number_of_slashes_goes_in_front():
    path = "/component/lmc-queueconnector-01/owner/my_id"
    assert key_of(path) == b"4" + path.encode()
    assert range_of_children("/a") == (b"2/a/", b"2/a0")


@given(PATHS, PATHS)
def test_the_range_holds_the_direct_children_and_nothing_else(path, other):
    first, end = range_of_children(path)
    key = key_of(other)
    is_child = other.startswith(path + "/") and other.count("/") == path.count("/") + 1
    assert (first <= key < end) is is_child
    assert child_of(path, key) == (other.rpartition("/")[2] if is_child else None)


def test_keys_that_no_tool_of_ours_writes_are_no_children():
    for key in (b"2/a/", b"2/a/b/c", b"2/a/\xff", b"1/a", b"/a/b", b""):
        assert child_of("/a", key) is None
