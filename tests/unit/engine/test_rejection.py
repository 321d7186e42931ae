"""Error policies, breaker and log lines, on a virtual clock."""

import logging

import pytest
import trio

from queue_connector.connectors.errors.skip import SkipPolicy
from queue_connector.engine.rejection import LOG_PERIOD, Rejection, TooManyError
from queue_connector.model.endpoints import Breaker
from queue_connector.model.errors import DataError, EndpointError
from queue_connector.model.ledger import Account, Batch, Refusal
from queue_connector.model.outcome import DEAD_LETTERED
from queue_connector.model.services import ExchangeName
from queue_connector.model.stream import ErrorPolicy


class Shelf(ErrorPolicy):
    """Sets aside; *broken* does not."""

    outcome = DEAD_LETTERED

    def __init__(self, broken=False):
        self.taken = []
        self._broken = broken

    async def start(self):
        await trio.lowlevel.checkpoint()

    async def stop(self):
        await trio.lowlevel.checkpoint()

    async def take(self, refusals):
        await trio.lowlevel.checkpoint()
        if self._broken:
            raise EndpointError("shelf", "setting aside", "it is full")
        self.taken.extend(refusals)


def rejection(policy, limit=None):
    return Rejection(ExchangeName("x[0]"), policy, limit, logging.getLogger("rejection"))


async def take(at_work, rejected):
    """What the exchange has to stop for, once all is dealt with."""
    stop = at_work.meet(rejected)
    return stop if at_work.idle else await at_work.work_off() or stop


def bad(account, count, first=0):
    refusals = [Refusal(DataError(f"bad {n}"), position=f"t[0]@{n}") for n in range(count)]
    batch = Batch([], refusals[first:])
    account.receive(batch)
    return [(batch, refusal) for refusal in batch.refused]


async def test_without_a_policy_the_first_bad_datum_is_what_to_stop_for():
    account = Account()
    position, reason = await take(rejection(ErrorPolicy()), bad(account, 3))
    assert (position, str(reason)) == ("t[0]@0", "bad 0")
    assert (account.failed, account.skipped, account.in_flight) == (3, 0, 0)


async def test_skipped_data_are_counted_as_failed_and_as_skipped():
    account = Account()
    assert await take(rejection(SkipPolicy()), bad(account, 3)) is None
    assert (account.failed, account.skipped, account.dead_lettered) == (3, 3, 0)


async def test_data_that_cannot_be_set_aside_are_what_to_stop_for():
    told = []
    account = Account(on_settled=told.append)
    position, reason = await take(rejection(Shelf(broken=True)), bad(account, 2))
    assert (position, str(reason)) == ("t[0]@0", "shelf: setting aside failed: it is full")
    assert (account.failed, account.dead_lettered) == (2, 0)
    assert told == [], "its source must give it again"


async def test_the_breaker_opens_at_the_nth_error_and_stays_open(autojump_clock):
    account, shelf = Account(), Shelf()
    at_work = rejection(shelf, Breaker(errors=3, seconds=10))
    for _ in range(2):
        assert await take(at_work, bad(account, 1)) is None
    position, reason = await take(at_work, bad(account, 2))
    assert position == "t[0]@0"
    assert isinstance(reason, TooManyError)
    assert "3 bad data within 10 s" in str(reason)
    assert "bad 0" in str(reason)
    await trio.sleep(100)
    assert await take(at_work, bad(account, 1)) is not None
    assert (account.failed, account.dead_lettered, len(shelf.taken)) == (5, 2, 2)


async def test_the_breaker_counts_within_its_time_alone(autojump_clock):
    account = Account()
    at_work = rejection(SkipPolicy(), Breaker(errors=3, seconds=10))
    for _ in range(20):
        assert await take(at_work, bad(account, 1)) is None
        await trio.sleep(5.1)
    assert account.skipped == 20


async def test_of_many_bad_data_together_those_before_the_breaker_are_dealt_with():
    account, shelf = Account(), Shelf()
    stop = await take(rejection(shelf, Breaker(errors=5, seconds=1)), bad(account, 20))
    assert stop is not None
    assert stop[0] == "t[0]@4"
    assert [refusal.position for refusal in shelf.taken] == [f"t[0]@{n}" for n in range(4)]
    assert (account.failed, account.dead_lettered, account.in_flight) == (20, 4, 0)


async def test_the_first_is_logged_at_once_and_then_a_line_in_a_while(autojump_clock, caplog):
    account = Account()
    at_work = rejection(SkipPolicy())
    for _ in range(100):
        await take(at_work, bad(account, 2))
        await trio.sleep(LOG_PERIOD / 49.5)
    at_work.finish()
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "x[0] at t[0]@1: skipped: bad 1 (the last of 2)",
        "x[0] at t[0]@1: skipped: bad 1 (the last of 100)",
        "x[0]: 98 more bad data: skipped",
    ]


@pytest.mark.parametrize("errors", [1, 2])
async def test_a_breaker_of_one_is_no_tolerance_at_all(errors):
    account = Account()
    stop = await take(rejection(SkipPolicy(), Breaker(errors=errors, seconds=1)), bad(account, 1))
    assert (stop is None) is (errors == 2)
