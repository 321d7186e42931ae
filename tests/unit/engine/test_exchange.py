import logging
import math

import attrs
import pytest
import trio

from queue_connector.connectors.errors.skip import SkipPolicy, SkipPolicyDescriptor
from queue_connector.connectors.pipes.default import DefaultPipe
from queue_connector.engine.configured import ConfiguredExchange
from queue_connector.engine.exchange import Exchange
from queue_connector.engine.window import Window
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.endpoints import Breaker, SourceDescriptor
from queue_connector.model.errors import DataError, EndpointError, ExchangeError
from queue_connector.model.exchanges import Buffer, ExchangeDescriptor
from queue_connector.model.ledger import Batch, Refusal
from queue_connector.model.stream import DataPipe, MergedSource
from queue_connector.testing.checkpoints import cancel_at_every_step
from queue_connector.testing.endpoints import (
    Given,
    Hasty,
    Keeper,
    Numbers,
    Recorded,
    Taken,
    exchange,
)

SPEC = DataSpec("int64")


class PairsPipe(DataPipe):
    """Two batches make one; a pair whose sum is 13 does not go together."""

    async def transform(self, upstream):
        first = await upstream.receive()
        try:
            second = await upstream.receive()
        except trio.EndOfChannel:
            return first
        values = [*first.values, *second.values]
        if sum(values) == 13:
            raise DataError("13")
        return Batch([tuple(values)], weights=[len(values)])


class Quick(Keeper):
    """Keeps what it is given together at once."""

    async def awrite_batch(self, delivery):
        await trio.lowlevel.checkpoint_if_cancelled()
        delivery.accept_all()


async def run(stream):
    async with stream:
        await stream.run()


async def test_it_ends_by_itself_when_every_source_has_ended(autojump_clock):
    record = Recorded()
    sink = Keeper(record)
    stream = exchange([Numbers(record, count=3), Numbers(record, first=100, count=2)], [sink])
    await run(stream)
    assert sorted(sink.kept) == [0, 1, 2, 100, 101]
    assert [value for value in sink.kept if value < 100] == [0, 1, 2]
    assert stream.ledger.delivered == stream.ledger.received == 5
    assert record.open == 0


async def test_an_orderly_stop_delivers_what_the_sources_still_hold(autojump_clock):
    record = Recorded()
    source, sink = Numbers(record, batch=10, period=1), Keeper(record, period=0.3)
    stream = exchange([source], [sink])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, stream)
        await trio.sleep(7.5)
        stream.request_stop()
    assert sink.kept == source.handed
    assert len(sink.kept) > 20
    assert stream.ledger.delivered == stream.ledger.received == len(sink.kept)


async def test_a_bad_datum_of_a_source_stops_it_after_the_good_ones(autojump_clock):
    record, faults = Recorded(), []
    source, sink = Numbers(record, batch=4, bad=[5], period=1), Keeper(record)
    stream = exchange([source], [sink], on_fault=faults.append)
    with pytest.raises(ExchangeError, match="x: 5 is bad"):
        await run(stream)
    assert sink.kept == [n for n in source.handed if n != 5]
    assert {4, 6, 7} < set(sink.kept)
    assert stream.ledger.failed == 1
    assert stream.ledger.delivered == len(sink.kept)
    assert [str(fault) for fault in faults] == ["x: 5 is bad"]
    assert record.open == 0


async def test_a_value_that_the_sink_refuses_costs_only_itself(autojump_clock):
    record = Recorded()
    source, sink = Numbers(record, batch=4, bad=[], period=1), Keeper(record, bad=[5])
    stream = exchange([source], [sink])
    with pytest.raises(ExchangeError, match="x: 5 is bad"):
        await run(stream)
    assert sink.kept == [n for n in source.handed if n != 5]
    assert (stream.ledger.failed, stream.ledger.delivered) == (1, len(sink.kept))


async def test_a_broken_endpoint_cuts_off_and_everything_is_counted(autojump_clock):
    record = Recorded()
    source, sink = Numbers(record, batch=4), Keeper(record, broken=6)
    stream = exchange([source], [sink])
    with pytest.raises(ExchangeError) as caught:
        await run(stream)
    assert isinstance(caught.value.cause, EndpointError)
    assert sink.kept == [0, 1, 2, 3, 4, 5]
    assert stream.ledger.delivered == 6
    assert stream.ledger.balanced
    assert stream.ledger.in_flight == 0
    assert stream.ledger.received == len(source.handed)
    assert record.open == 0


async def test_a_datum_is_delivered_when_every_sink_has_accepted_it(autojump_clock):
    record = Recorded()
    good, picky = Keeper(record, period=1), Keeper(record, bad=[1])
    stream = exchange([Numbers(record, count=3, batch=3)], [good, picky])
    with pytest.raises(ExchangeError, match="1 is bad"):
        await run(stream)
    assert good.kept == [0, 1, 2]
    assert picky.kept == [0, 2]
    assert (stream.ledger.delivered, stream.ledger.failed) == (2, 1)


async def test_a_sink_that_does_not_say_what_became_of_a_batch_is_not_believed(autojump_clock):
    record = Recorded()
    stream = exchange([Numbers(record, count=3)], [Hasty(record)])
    with pytest.raises(ExchangeError, match="told nothing of"):
        await run(stream)
    assert stream.ledger.delivered == 0
    assert stream.ledger.balanced


@pytest.mark.parametrize("sink", [Hasty, Keeper])
async def test_what_the_sinks_failed_of_is_told_and_not_what_broke_after_it(sink, autojump_clock):
    for _ in range(50):  # which task comes first is Trio's choice
        record = Recorded()
        stream = exchange([Numbers(record)], [sink(record, broken=3)])
        with pytest.raises(ExchangeError) as caught:
            await run(stream)
        assert isinstance(caught.value.cause, RuntimeError if sink is Hasty else EndpointError)
        assert stream.ledger.balanced


async def test_a_pipe_that_joins_data_keeps_the_count_of_what_went_in(autojump_clock):
    record = Recorded()
    sink = Keeper(record)
    stream = exchange([Numbers(record, count=5, period=1)], [sink], PairsPipe(SPEC))
    await run(stream)
    assert sink.kept == [(0, 1), (2, 3), 4]
    assert stream.ledger.delivered == stream.ledger.received == 5


async def test_data_that_a_pipe_cannot_join_fail_together(autojump_clock):
    record = Recorded()
    sink = Keeper(record)
    stream = exchange([Numbers(record, first=0, count=8, period=1)], [sink], PairsPipe(SPEC))
    with pytest.raises(ExchangeError, match="x: 13"):
        await run(stream)
    assert sink.kept == [(0, 1), (2, 3), (4, 5)]
    assert (stream.ledger.delivered, stream.ledger.failed) == (6, 2)


async def test_a_slow_sink_holds_its_source_back(autojump_clock):
    record = Recorded()
    source, sink = Numbers(record), Keeper(record, period=1)
    stream = exchange([source], [sink], window=Window(count=8))
    with trio.move_on_after(100.5):
        await run(stream)
    assert len(sink.kept) == 100
    assert len(source.handed) - len(sink.kept) < 10
    assert stream.ledger.dropped["aborted"] == len(source.handed) - 100
    assert stream.ledger.balanced


async def test_an_end_that_cannot_start_releases_those_that_had_started(autojump_clock):
    async def fail():
        raise EndpointError("numbers", "start", "no")

    record = Recorded()
    stream = exchange([Numbers(record), Numbers(record, start=fail)], [Keeper(record)])
    with pytest.raises(ExchangeError, match="x: numbers: start failed: no"):
        await run(stream)
    assert (record.started, record.open) == (2, 0)


@pytest.mark.parametrize("pipe", [DefaultPipe, PairsPipe])
@pytest.mark.parametrize("sinks", [1, 2])
def test_cancelled_anywhere_it_leaves_nothing_open_and_the_ledger_balances(pipe, sinks):
    async def scenario():
        record = Recorded()
        sources = [Numbers(record, batch=2, period=1), Numbers(record, first=100, period=0.7)]
        keepers = [Keeper(record, period=0.2) for _ in range(sinks)]
        stream = exchange(sources, keepers, pipe(SPEC))
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run, stream)
                await trio.sleep(3)
                stream.request_stop()
        finally:
            ledger = stream.ledger
            assert record.open == 0
            assert ledger.balanced
            assert ledger.in_flight == 0
            assert ledger.received == sum(len(source.handed) for source in sources)
            if pipe is DefaultPipe:
                everywhere = set(keepers[0].kept).intersection(*(k.kept for k in keepers))
                assert ledger.delivered == len(everywhere)
                for source in sources:
                    kept = [value for value in keepers[0].kept if value in source.handed]
                    assert kept == source.handed[: len(kept)], "lost or reordered"

    assert cancel_at_every_step(scenario) > 30


async def test_skip_leaves_bad_data_out_wherever_they_are_found(autojump_clock):
    record = Recorded()
    source = Numbers(record, batch=4, count=40, bad=[5, 17])
    sink = Keeper(record, bad=[6, 30])
    stream = exchange([source], [sink], policy=SkipPolicy())
    await run(stream)
    assert sink.kept == [n for n in range(40) if n not in (5, 6, 17, 30)]
    ledger = stream.ledger
    assert (ledger.failed, ledger.skipped, ledger.delivered) == (4, 4, 36)
    assert (ledger.sinks[0].failed, ledger.sinks[0].delivered) == (2, 36)
    assert ledger.balanced


async def test_skip_leaves_out_what_a_pipe_cannot_join(autojump_clock):
    record = Recorded()
    sink = Keeper(record)
    source = Numbers(record, count=10, period=1)
    stream = exchange([source], [sink], PairsPipe(SPEC), SkipPolicy())
    await run(stream)
    assert sink.kept == [(0, 1), (2, 3), (4, 5), (8, 9)]
    assert (stream.ledger.delivered, stream.ledger.skipped) == (8, 2)


async def test_a_breaker_ends_it_in_order(autojump_clock):
    record = Recorded()
    source, sink = Numbers(record, batch=4, bad=range(0, 1000, 3), period=1), Keeper(record)
    limit = Breaker(errors=5, seconds=60)
    stream = exchange([source], [sink], policy=SkipPolicy(), limit=limit)
    with pytest.raises(ExchangeError, match="x: 5 bad data within 60 s"):
        await run(stream)
    assert sink.kept == [n for n in source.handed if n % 3]
    assert stream.ledger.skipped == 4
    assert stream.ledger.failed == sum(n % 3 == 0 for n in source.handed)


async def test_a_datum_that_one_sink_refuses_is_rejected_once(autojump_clock):
    record = Recorded()
    picky = [Keeper(record, bad=[1, 2]), Keeper(record, bad=[1])]
    stream = exchange([Numbers(record, count=4, batch=4)], picky, policy=SkipPolicy())
    await run(stream)
    assert [sink.kept for sink in picky] == [[0, 3], [0, 2, 3]]
    assert (stream.ledger.delivered, stream.ledger.skipped) == (2, 2)
    assert [account.failed for account in stream.ledger.sinks] == [2, 1]


async def test_a_source_is_told_of_what_need_not_come_again(autojump_clock):
    record = Recorded()
    source, sink = Numbers(record, batch=4, count=24, bad=[5], period=1), Keeper(record, bad=[10])
    stream = exchange([source], [sink], PairsPipe(SPEC), policy=SkipPolicy())
    await run(stream)
    assert source.acknowledged == source.handed

    source, sink = Numbers(record, batch=4, count=24, bad=[9], period=1), Keeper(record)
    stream = exchange([source], [sink])
    with pytest.raises(ExchangeError, match="9 is bad"):
        await run(stream)
    assert source.acknowledged == [n for n in source.handed if n not in (8, 9, 10, 11)]


@pytest.mark.parametrize("policy", ["drop_oldest", "drop_newest", "latest"])
async def test_a_buffer_that_drops_never_holds_its_source_back(policy, autojump_clock):
    record = Recorded()
    source, sink = Numbers(record, period=0.1), Keeper(record, period=1)
    stream = exchange([source], [sink], buffer=Buffer(policy=policy, size=5))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, stream)
        await trio.sleep(100.05)
        stream.request_stop()
    assert len(source.handed) == 1001
    ledger = stream.ledger
    dropped = ledger.dropped["superseded" if policy == "latest" else "buffer full"]
    assert dropped + len(sink.kept) == ledger.received == 1001
    assert sink.kept == sorted(set(sink.kept)), "out of order"
    ages = [number * 0.1 for number in sink.kept]
    if policy == "latest":  # what is in the hands of pipe and sink is not superseded
        assert all(sent - age <= 2.3 for sent, age in enumerate(ages))
    assert (sink.kept[-1] == source.handed[-1]) is (policy != "drop_newest")
    assert sorted(source.acknowledged) == source.handed


@pytest.mark.parametrize("policy", ["block", "drop_oldest", "drop_newest", "latest"])
async def test_a_sink_that_stands_still_bounds_what_is_not_settled(policy, autojump_clock):
    record = Recorded()
    source, sink = Numbers(record, batch=10, period=0.01), Keeper(record, period=math.inf)
    buffer = Buffer(policy=policy, size=50)
    stream = exchange([source], [sink], buffer=buffer, window=Window(count=100))
    most = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, stream)
        for _ in range(100):
            await trio.sleep(1)
            most = max(most, stream.ledger.in_flight)
        nursery.cancel_scope.cancel()
    assert most <= {"latest": 2}.get(policy, 50 + 100 + 2 * 10)
    assert len(source.handed) > 90_000 or policy == "block"
    assert len(source.handed) - len(source.acknowledged) <= most + 20
    assert stream.ledger.balanced


class Finishing(Numbers):
    """Remembers when it was told to take in nothing more."""

    finished_at = math.inf

    async def finish(self):
        self.finished_at = trio.current_time()
        await super().finish()


async def test_sources_take_in_nothing_more_once_it_is_to_stop_though_sinks_are_slow(
    autojump_clock,
):
    record = Recorded()
    source, sink = Finishing(record, period=0.01), Keeper(record, period=1)
    stream = exchange([source], [sink], window=Window(count=5))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, stream)
        await trio.sleep(2.5)
        asked = trio.current_time()
        stream.request_stop()
    assert source.finished_at == asked
    assert sink.kept == source.handed
    assert trio.current_time() > asked + 2


class Steps(trio.abc.Instrument):
    """Counts how often a task has gone on, and how many tasks there were."""

    def __init__(self):
        self.steps = self.tasks = 0

    def before_task_step(self, task):
        self.steps += 1

    def task_spawned(self, task):
        self.tasks += 1


@pytest.mark.parametrize(
    ("buffer", "sources", "most"), [(None, 1, 2.2), (None, 200, 1.2), (Buffer(), 1, 3.2)]
)
async def test_a_datum_is_worth_few_steps_however_many_sources_there_are(
    buffer, sources, most, autojump_clock
):
    """A step of its source and one of its sink, which may take what comes of many at once."""
    record, steps = Recorded(), Steps()
    ends = [Numbers(record, first=1000 * n, count=50, period=1) for n in range(sources)]
    stream = exchange(ends, [Quick(record)], buffer=buffer)
    trio.lowlevel.add_instrument(steps)
    try:
        await run(stream)
    finally:
        trio.lowlevel.remove_instrument(steps)
    assert stream.ledger.delivered == 50 * sources
    assert steps.steps <= most * 50 * sources + 20 * (sources + 3)
    assert steps.tasks == sources + 1 + (buffer is not None)


async def test_the_accounts_of_sources_add_up(autojump_clock):
    record = Recorded()
    sources = [
        Numbers(record, count=30, batch=3, bad=[4]),
        Numbers(record, first=100, count=7, bad=[103, 104]),
    ]
    sink = Keeper(record, bad=[(2, 3, 5, 6, 7, 8)])
    stream = exchange(sources, [sink], policy=SkipPolicy())
    await run(stream)
    accounts = [(a.received, a.delivered, a.skipped) for a in stream.ledger.sources]
    assert accounts == [(30, 29, 1), (7, 5, 2)]
    assert stream.ledger.received == 37
    assert stream.ledger.sinks[0].delivered == 34


class Pairs(MergedSource):
    """Two sources in one task: numbers go to the one that they are even or odd as."""

    def __init__(self, services):
        self.acknowledged, self.open = [], False
        self._services = services
        self._next = 0

    async def start(self):
        await trio.lowlevel.checkpoint()
        self.open = True

    async def stop(self):
        await trio.lowlevel.checkpoint()
        self.open = False

    async def receive_batches(self):
        await trio.sleep(1)
        if not self.open:
            raise trio.EndOfChannel
        first = self._next
        self._next += 4
        bad = [Refusal(DataError(f"{first + 3} is bad"))] if first == 8 else []
        odd = [first + 1] if bad else [first + 1, first + 3]
        return [(1, Batch(odd, bad, token=1)), (0, Batch([first, first + 2], token=0))]

    def acknowledge(self, batch):
        self.acknowledged.append((batch.token, len(batch.values)))


@attrs.frozen(kw_only=True)
class PairDescriptor(SourceDescriptor):
    built: list = attrs.field(eq=False)

    @property
    def merge_key(self):
        return "pair"

    def build(self, spec, services):
        raise NotImplementedError

    @classmethod
    def build_many(cls, descriptors, spec, services):
        descriptors[0].built.append(Pairs(services))
        return descriptors[0].built[-1]


@pytest.mark.parametrize("buffer", [None, Buffer()])
async def test_sources_with_the_same_merge_key_share_a_task_and_keep_their_accounts(
    buffer, autojump_clock
):
    record, built = Recorded(), []
    alone = Numbers(record, first=1000, count=3)
    sink = Keeper(record)
    descriptor = ExchangeDescriptor(
        dtype="int64",
        source=[
            PairDescriptor(built=built),
            Given(make=lambda: alone),
            PairDescriptor(built=built),
        ],
        sink=Taken(make=lambda: sink),
        on_error=SkipPolicyDescriptor(),
        buffer=buffer,
    )
    ledger = ConfiguredExchange(descriptor).ledger
    stream = Exchange.build("x", descriptor, ledger, None, logging.getLogger("x"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, stream)
        await trio.sleep(5.5)
        stream.request_stop()
    [pairs] = built
    assert sorted(sink.kept) == [*(n for n in range(20) if n != 11), 1000, 1001, 1002]
    assert [n for n in sink.kept if n < 1000 and not n % 2] == list(range(0, 20, 2))
    assert [account.received for account in ledger.sources] == [10, 3, 10]
    assert [account.skipped for account in ledger.sources] == [0, 0, 1]
    assert ledger.delivered == 22
    assert sorted(pairs.acknowledged) == [(0, 2)] * 5 + [(1, 1)] + [(1, 2)] * 4
