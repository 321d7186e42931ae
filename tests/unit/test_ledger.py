import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_connector.errors import DataError
from queue_connector.ledger import Batch, Ledger, Refusal


def test_what_a_source_refused_has_failed_when_it_is_received():
    ledger = Ledger()
    ledger.receive(Batch([1, 2], [Refusal(DataError("bad"))]))
    assert (ledger.received, ledger.failed, ledger.in_flight) == (3, 1, 2)
    assert ledger.balanced


def test_a_batch_settled_with_other_counts_than_it_holds_is_an_error():
    ledger = Ledger()
    batch = Batch([1, 2])
    ledger.receive(batch)
    with pytest.raises(RuntimeError, match="a batch of 2 was settled as 3 delivered"):
        ledger.settle(batch, delivered=3)


def test_a_batch_settled_twice_is_an_error():
    ledger = Ledger()
    batch = Batch([1])
    ledger.receive(batch)
    ledger.settle(batch, delivered=1)
    with pytest.raises(RuntimeError, match="not in flight"):
        ledger.settle(batch, delivered=1)


def test_a_batch_that_is_forgotten_shows_as_in_flight():
    ledger = Ledger()
    ledger.receive(Batch([1, 2, 3]))
    assert ledger.in_flight == 3
    ledger.abandon("aborted")
    assert ledger.as_dict() == {
        "received": 3,
        "delivered": 0,
        "dropped": {"aborted": 3},
        "failed": 0,
        "in_flight": 0,
        "upstream": {},
    }


def test_a_window_stands_for_all_that_went_into_it():
    ledger = Ledger()
    parts = [Batch([1, 2]), Batch([3])]
    for part in parts:
        ledger.receive(part)
    window = Batch([[1, 2, 3]], weights=[3])
    ledger.replace(parts, window)
    assert ledger.in_flight == 3
    ledger.settle(window, delivered=3)
    assert ledger.delivered == 3
    assert ledger.balanced


@given(st.lists(st.tuples(*[st.integers(0, 5)] * 4, st.booleans()), max_size=20))
def test_it_balances_at_every_instant(steps):
    ledger = Ledger()
    expected = 0
    for delivered, failed, dropped, refused, settle in steps:
        count = delivered + failed + dropped
        batch = Batch([0] * count, [Refusal(DataError("bad"))] * refused)
        ledger.receive(batch)
        expected += count + refused
        assert ledger.balanced
        if count and settle:
            ledger.settle(batch, delivered=delivered, failed=failed, dropped=dropped, reason="some")
            assert ledger.balanced
    ledger.abandon("end")
    assert ledger.balanced
    assert ledger.in_flight == 0
    assert ledger.received == expected
