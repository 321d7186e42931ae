"""Pipes at work: what is left out, what is refused, chains, and cancellation."""

import time

import numpy as np
import pytest
import trio
from hypothesis import given, strategies as st

from queue_connector.connectors.errors.skip import SkipPolicy
from queue_connector.connectors.pipes.buffer_with_time import BufferWithTimePipeDescriptor
from queue_connector.connectors.pipes.default import DefaultPipe
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import DataError, ExchangeError
from queue_connector.model.stream import DataPipe
from queue_connector.testing.checkpoints import cancel_at_every_step
from queue_connector.testing.endpoints import Keeper, Numbers, Recorded, exchange

SPEC = DataSpec("int64")


class Thirds(DataPipe):
    """Of three numbers leaves one out, refuses one, and makes ten of the other."""

    def apply(self, value):
        if value % 3 == 0:
            return None
        if value % 3 == 1:
            raise DataError(f"{value} is bad")
        return 10 * value


class Odd(DataPipe):
    """Leaves out what is even."""

    def apply(self, value):
        return value if value % 2 else None


class OfMany(DataPipe):
    """Leaves out arrays that begin with what three divides."""

    def apply(self, value):
        return value if value[0] % 3 else None


class Told(SkipPolicy):
    """Skips, and remembers what refused the data."""

    def __init__(self):
        super().__init__()
        self.paths = []

    async def take(self, refusals):
        self.paths += [refusal.path for refusal in refusals]
        await super().take(refusals)


def window(timespan=0.0):
    return BufferWithTimePipeDescriptor(timespan=timespan).build(SPEC)


async def run(stream):
    async with stream:
        await stream.run()


def check(source, stream):
    ledger = stream.ledger
    assert ledger.balanced
    assert ledger.in_flight == 0
    assert sorted(source.acknowledged) == source.handed


async def test_each_datum_is_made_another_left_out_or_refused_by_itself(autojump_clock):
    record = Recorded()
    source, sink = Numbers(record, batch=7, count=30), Keeper(record)
    stream = exchange([source], [sink], Thirds(SPEC), SkipPolicy())
    await run(stream)
    assert sink.kept == [10 * n for n in range(30) if n % 3 == 2]
    ledger = stream.ledger
    assert (ledger.delivered, ledger.filtered, ledger.skipped) == (10, 10, 10)
    assert (ledger.sinks[0].received, ledger.sinks[0].filtered) == (10, 0)
    check(source, stream)


async def test_a_datum_that_is_refused_ends_the_exchange_and_those_before_it_are_delivered(
    autojump_clock,
):
    record = Recorded()
    source, sink = Numbers(record, first=2, batch=1, period=1), Keeper(record)
    stream = exchange([source], [sink], Thirds(SPEC))
    with pytest.raises(ExchangeError, match="4 is bad"):
        await run(stream)
    assert sink.kept[0] == 20
    assert stream.ledger.failed
    assert stream.ledger.balanced
    assert 4 not in source.acknowledged


async def test_a_chain_goes_through_each_pipe_in_turn(autojump_clock):
    record = Recorded()
    source, sink = Numbers(record, count=20, period=1), Keeper(record)
    stream = exchange([source], [sink], [Odd(SPEC), window(4.5), OfMany(SPEC)])
    await run(stream)
    assert [value.tolist() for value in sink.kept] == [[1, 3, 5], [7, 9, 11], [13, 15, 17], [19]]
    check(source, stream)


async def test_data_of_a_window_that_is_left_out_count_each(autojump_clock):
    record = Recorded()
    source, sink = Numbers(record, count=20, period=1), Keeper(record)
    stream = exchange([source], [sink], [window(3.5), OfMany(SPEC)])
    await run(stream)
    assert [value.tolist() for value in sink.kept] == [
        [4, 5, 6, 7], [8, 9, 10, 11], [16, 17, 18, 19],
    ]  # fmt: skip
    assert (stream.ledger.filtered, stream.ledger.delivered) == (8, 12)
    check(source, stream)


async def test_what_a_window_had_read_when_one_behind_it_closed_is_read_again(autojump_clock):
    record = Recorded()
    source, sink = Numbers(record, count=12, period=1), Keeper(record)

    class Flat(DataPipe):
        def apply(self, value):
            return np.sum(value)

    stream = exchange([source], [sink], [window(3.5), Flat(SPEC), window(2.0)])
    await run(stream)
    assert sum(int(value.sum()) for value in sink.kept) == sum(range(12))
    check(source, stream)


async def test_a_pipe_is_named_by_its_place_in_the_configuration(autojump_clock):
    record = Recorded()
    policy = Told()
    chain = [DefaultPipe(SPEC), Thirds(SPEC)]
    stream = exchange([Numbers(record, count=5)], [Keeper(record)], chain, policy)
    await run(stream)
    assert policy.paths == ["$.pipe[1]", "$.pipe[1]"]


class Slow(DataPipe):
    """Takes 10 ms for each datum."""

    def apply(self, value):
        time.sleep(0.01)
        return value


async def test_others_have_their_turn_while_a_pipe_is_slow():
    record, longest = Recorded(), 0.0
    source, sink = Numbers(record, batch=60, count=60), Keeper(record)
    stream = exchange([source], [sink], Slow(SPEC))

    async def watch():
        nonlocal longest
        last = time.monotonic()
        while True:
            await trio.sleep(0.001)
            longest, last = max(longest, time.monotonic() - last), time.monotonic()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch)
        await run(stream)
        nursery.cancel_scope.cancel()
    assert longest < 0.3  # of 0.6
    assert sink.kept == list(range(60))
    check(source, stream)


async def test_what_a_slow_pipe_had_made_when_a_window_behind_it_closed_is_kept():
    record = Recorded()
    source, sink = Numbers(record, batch=5, count=20), Keeper(record)
    stream = exchange([source], [sink], [Slow(SPEC), window(0.03)])
    await run(stream)
    assert [int(n) for value in sink.kept for n in value] == list(range(20))
    check(source, stream)


LEFT_OUT, REFUSED = "left out", "refused"


class AsDrawn(DataPipe):
    def __init__(self, fates):
        super().__init__(SPEC)
        self._fates = fates

    def apply(self, value):
        fate = self._fates[int(value) % len(self._fates)]
        if fate == REFUSED:
            raise DataError(f"{value} is bad")
        return None if fate == LEFT_OUT else value


fates = st.lists(st.sampled_from(["kept", LEFT_OUT, REFUSED]), min_size=1, max_size=5)


@given(
    chain=st.lists(fates, min_size=1, max_size=3),
    batch=st.integers(1, 9),
    sink_bad=st.sets(st.integers(0, 39), max_size=5),
    sinks=st.integers(1, 2),
)
def test_whatever_pipes_do_each_datum_is_accounted_for_once(chain, batch, sink_bad, sinks):
    def fate(number):
        for part in chain:
            if (found := part[number % len(part)]) != "kept":
                return found
        return REFUSED if number in sink_bad else "kept"

    async def scenario():
        record = Recorded()
        source = Numbers(record, batch=batch, count=40)
        keepers = [Keeper(record, bad=list(sink_bad)) for _ in range(sinks)]
        stream = exchange([source], keepers, [AsDrawn(part) for part in chain], SkipPolicy())
        await run(stream)
        for keeper in keepers:
            assert keeper.kept == [number for number in range(40) if fate(number) == "kept"]
        ends = [fate(number) for number in range(40)]
        ledger = stream.ledger
        found = (ledger.delivered, ledger.filtered, ledger.skipped)
        assert found == (ends.count("kept"), ends.count(LEFT_OUT), ends.count(REFUSED))
        check(source, stream)

    trio.run(scenario, clock=trio.testing.MockClock(autojump_threshold=0))


def test_cancelled_anywhere_a_chain_loses_nothing_unaccounted():
    async def scenario():
        record = Recorded()
        source, sink = Numbers(record, batch=2, count=8, period=1), Keeper(record, period=0.1)
        stream = exchange([source], [sink], [Odd(SPEC), window(2.5), OfMany(SPEC)], SkipPolicy())
        try:
            await run(stream)
        finally:
            ledger = stream.ledger
            assert ledger.balanced
            assert ledger.in_flight == 0
            assert record.open == 0

    assert cancel_at_every_step(scenario) > 20


def test_a_pipe_that_does_nothing_is_no_pipe():
    with pytest.raises(TypeError, match="Nothing has neither apply nor transform"):

        class Nothing(DataPipe):
            pass
