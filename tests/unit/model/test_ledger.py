import pytest
from hypothesis import given, strategies as st

from queue_connector.model.errors import DataError
from queue_connector.model.latency import BOUNDS
from queue_connector.model.ledger import Account, Batch, Ledger, Refusal, joined, settle, settle_run
from queue_connector.model.outcome import (
    ABORTED,
    BUFFER_FULL,
    DEAD_LETTERED,
    DELIVERED,
    FAULTED,
    SKIPPED,
)

OUTCOMES = [DELIVERED, FAULTED, SKIPPED, DEAD_LETTERED, ABORTED, BUFFER_FULL]


def received(account, *values, refused=0):
    batch = Batch(list(values), [Refusal(DataError("bad"))] * refused)
    account.receive(batch)
    return batch


def test_what_a_source_refused_is_in_flight_until_a_policy_has_dealt_with_it():
    account = Account()
    batch = received(account, 1, 2, refused=1)
    assert (account.received, account.failed, account.in_flight) == (3, 0, 3)
    account.settle(batch, 1, SKIPPED)
    assert (account.received, account.failed, account.skipped, account.in_flight) == (3, 1, 1, 2)
    assert account.balanced


def test_more_than_a_batch_holds_cannot_be_settled():
    account = Account()
    batch = received(account, 1, 2)
    with pytest.raises(RuntimeError, match="3 data were settled of a batch that has 2 in flight"):
        account.settle(batch, 3, DELIVERED)


def test_a_batch_settled_twice_is_an_error():
    batch = received(Account(), 1)
    settle(batch, DELIVERED)
    with pytest.raises(RuntimeError, match="has 0 in flight"):
        settle(batch, DELIVERED)


def test_a_batch_of_nobody_cannot_be_settled():
    with pytest.raises(RuntimeError, match="no source has handed over"):
        settle(Batch([1]), DELIVERED)


def test_a_batch_that_is_forgotten_shows_as_in_flight():
    ledger = Ledger(["in"], ["out"])
    received(ledger.sources[0], 1, 2, 3)
    assert ledger.in_flight == 3
    ledger.abandon()
    counts = {
        "received": 3,
        "delivered": 0,
        "filtered": 0,
        "dropped": {"aborted": 3},
        "failed": 0,
        "skipped": 0,
        "dead_lettered": 0,
        "in_flight": 0,
        "upstream": {},
    }
    nothing = {**counts, "received": 0, "dropped": {}}
    assert ledger.as_dict() == {
        **counts,
        "sources": [{"name": "in", **counts}],
        "sinks": [{"name": "out", **nothing}],
    }


def test_a_window_stands_for_all_that_went_into_it_each_in_the_account_of_its_source():
    ledger = Ledger(["a", "b"])
    first, second = received(ledger.sources[0], 1, 2), received(ledger.sources[1], 3)
    window = Batch([[1, 2, 3]], weights=[3], parts=[(first, 0, 2), (second, 0, 1)])
    assert ledger.in_flight == 3
    settle(window, DELIVERED)
    assert [account.delivered for account in ledger.sources] == [2, 1]
    assert ledger.balanced


def test_values_stand_for_data_in_the_order_in_which_they_came():
    ledger = Ledger(["a", "b"])
    first, second = received(ledger.sources[0], 1, 2, 3), received(ledger.sources[1], 4, 5)
    made = Batch(["12", "34", "5"], weights=[2, 2, 1], parts=[(first, 0, 3), (second, 0, 2)])
    assert [list(made.runs(index, 1)) for index in range(3)] == [
        [(first, 0, 2)],
        [(first, 2, 1), (second, 0, 1)],
        [(second, 1, 1)],
    ]
    settle_run(made, 0, 1, DELIVERED)
    settle_run(made, 2, 1, SKIPPED)
    assert [(a.delivered, a.skipped, a.in_flight) for a in ledger.sources] == [(2, 0, 1), (0, 1, 1)]


def test_joined_batches_are_settled_each_in_its_own_account():
    ledger = Ledger(["a", "b"])
    batches = [received(account, *"xy") for account in ledger.sources]
    whole = joined(batches)
    assert whole.values == ["x", "y", "x", "y"]
    settle_run(whole, 0, 3, DELIVERED)
    settle_run(whole, 3, 1, ABORTED)
    assert [(a.delivered, dict(a.dropped)) for a in ledger.sources] == [
        (2, {}),
        (1, {"aborted": 1}),
    ]


@pytest.mark.parametrize("last", OUTCOMES)
def test_a_source_is_told_of_a_batch_once_it_is_settled_and_need_not_come_again(last):
    told = []
    account = Account(on_settled=told.append)
    batch = received(account, 1, 2, refused=1)
    account.settle(batch, 2, last)
    assert told == []
    account.settle(batch, 1, SKIPPED)
    assert told == ([batch] if last.final else [])


def test_a_batch_of_nothing_is_settled_at_once():
    told = []
    account = Account(on_settled=told.append)
    batch = received(account)
    assert told == [batch]
    assert account.balanced


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.lists(st.integers(0, 5)))))
def test_it_balances_at_every_instant(steps):
    told = []
    account = Account(on_settled=told.append)
    expected = 0
    for count, refused, outcomes in steps:
        batch = received(account, *range(count), refused=refused)
        expected += count + refused
        assert account.balanced
        for outcome in outcomes[: count + refused]:
            account.settle(batch, 1, OUTCOMES[outcome])
            assert account.balanced
    account.abandon()
    assert account.balanced
    assert account.in_flight == 0
    assert account.received == expected
    assert account.failed >= account.skipped + account.dead_lettered
    assert len(told) <= len(steps)


def test_what_is_delivered_is_observed_once_for_all_data_that_end_together(monkeypatch):
    now = [100.0]
    monkeypatch.setattr("queue_connector.model.ledger.time.monotonic", lambda: now[0])
    ledger = Ledger()
    batch = Batch([1, 2, 3, 4])
    ledger.sources[0].receive(batch)
    now[0] += 0.02
    settle_run(batch, 0, 2, DELIVERED)
    now[0] += 2
    settle_run(batch, 2, 1, SKIPPED)
    settle_run(batch, 3, 1, DELIVERED)
    told = ledger.latency.as_dict()
    assert told["sum"] == pytest.approx(2.06)
    assert [told["counts"][BOUNDS.index(bound)] for bound in (0.025, 2.5)] == [2, 1]
    assert sum(told["counts"]) == ledger.delivered == 3


def test_a_ledger_that_is_reset_counts_from_what_is_in_flight():
    ledger = Ledger()
    first, second = Batch([1, 2]), Batch([3])
    for batch in (first, second):
        ledger.sources[0].receive(batch)
    settle(first, DELIVERED)
    ledger.sources[0].drop("inbox full")
    ledger.reset()
    assert (ledger.received, ledger.delivered, ledger.dropped, ledger.in_flight) == (1, 0, {}, 1)
    assert ledger.balanced
    settle(second, DELIVERED)
    assert (ledger.received, ledger.delivered) == (1, 1)
    assert ledger.balanced
