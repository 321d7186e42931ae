"""Many have one bound together, whoever comes and goes."""

from hypothesis import given, strategies as st

from queue_connector.model.shares import Shares


def test_one_alone_has_all_of_it_and_many_have_less():
    shares, told = Shares(1000), {}
    shares.add("a", lambda share: told.update(a=share))
    assert told == {"a": 1000}
    for name in "bcd":
        shares.add(name, lambda share, name=name: told.update({name: share}))
    assert told == dict.fromkeys("abcd", 250)
    for name in "bcd":
        shares.remove(name)
    assert told["a"] == 500


@given(st.lists(st.integers(0, 20), max_size=200))
def test_together_they_never_have_more_than_there_is_nor_less_than_an_eighth(names):
    shares, told = Shares(1_000_000), {}
    for name in names:
        if name in told:
            shares.remove(name)
            del told[name]
        else:
            shares.add(name, lambda share, name=name: told.update({name: share}))
        assert sum(told.values()) <= 1_000_000
        assert not told or sum(told.values()) >= 1_000_000 // 8
