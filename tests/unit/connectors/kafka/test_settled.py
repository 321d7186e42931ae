"""Runs of settled offsets: the position is where all before it is settled, and little is kept."""

from __future__ import annotations

from hypothesis import given, strategies as st

from queue_connector.connectors.kafka.settled import SettledOffsets


@given(st.lists(st.integers(1, 5), min_size=1, max_size=40), st.randoms())
def test_the_position_is_where_everything_before_it_is_settled(lengths, random):
    ends = [10 + sum(lengths[: index + 1]) for index in range(len(lengths))]
    runs = list(zip([10, *ends], ends, strict=False))
    order = random.sample(runs, len(runs))
    settled, done = SettledOffsets({0: 10}), set()
    for begin, end in order:
        moved = settled.settle({0: (begin, end)})
        done |= set(range(begin, end))
        expected = next(n for n in range(10, ends[-1] + 1) if n not in done)
        assert settled.positions[0] == expected
        assert moved == ({0: expected} if begin < expected else {})
    assert settled.positions[0] == ends[-1]
    assert settled.runs == 0


def test_what_waits_behind_one_run_is_one_run():
    settled = SettledOffsets({0: 0, 1: 0})
    for begin in range(10, 100_000, 10):
        assert settled.settle({0: (begin, begin + 10)}) == {}
    assert settled.runs == 1
    assert settled.settle({0: (0, 10), 1: (0, 3)}) == {0: 100_000, 1: 3}


def test_runs_that_overlap_are_settled_once():
    settled = SettledOffsets({0: 5})
    assert settled.settle({0: (5, 8)}) == {0: 8}  # what a partition has no message for
    assert settled.settle({0: (5, 9)}) == {0: 9}
    assert settled.settle({0: (2, 9)}) == {}


def test_moving_a_partition_forgets_what_was_settled_ahead():
    settled = SettledOffsets({0: 0})
    settled.settle({0: (10, 20)})
    settled.move({0: 10})
    assert settled.positions == {0: 10}
    assert settled.runs == 0
    settled.forget([0])
    assert settled.settle({0: (10, 20)}) == {}
