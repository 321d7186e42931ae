"""Deliveries under way: each sink at its own pace, settled as the sinks tell."""

import pytest
import trio
import trio.testing
from hypothesis import given, strategies as st

from queue_connector.connectors.errors.skip import SkipPolicy
from queue_connector.engine.outlets import MOST, Outlets
from queue_connector.engine.window import ALL_BYTES, MOST_BYTES, UNDER_WAY, Window, size_of
from queue_connector.model.condition import Condition
from queue_connector.model.delivery import Delivery
from queue_connector.model.errors import DataError, EndpointError, ExchangeError
from queue_connector.model.ledger import Account, Batch, Ledger, joined
from queue_connector.model.outcome import SKIPPED
from queue_connector.model.shared import Shared
from queue_connector.model.stream import DataSink
from queue_connector.testing.checkpoints import cancel_at_every_step
from queue_connector.testing.endpoints import Keeper, Numbers, Pipelined, Recorded, exchange
from tests.unit.engine.test_exchange import run


async def test_batches_are_begun_while_earlier_ones_are_under_way(autojump_clock):
    record = Recorded()
    sink = Pipelined(record, period=10)
    stream = exchange([Numbers(record, period=0.1, count=50)], [sink])
    began = trio.current_time()
    await run(stream)
    assert sink.kept == list(range(50))
    assert len(sink.begun) == 50, "what came alone was held back"
    assert trio.current_time() - began == pytest.approx(15, abs=0.2)
    assert stream.ledger.delivered == stream.ledger.sinks[0].delivered == 50


async def test_a_slow_sink_does_not_hide_what_the_others_have(autojump_clock):
    record = Recorded()
    slow, quick = Keeper(record, period=1), Keeper(record)
    stream = exchange([Numbers(record, period=0.1)], [slow, quick])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, stream)
        await trio.sleep(30.05)
        stream.collect()
        ledger = stream.ledger
        remote, local = ledger.sinks
        assert (local.delivered, local.in_flight) == (len(quick.kept), 0) == (300, 0)
        assert (remote.delivered, remote.in_flight) == (len(slow.kept), 300 - len(slow.kept))
        assert ledger.delivered == len(slow.kept) in (29, 30)
        nursery.cancel_scope.cancel()


async def test_what_waits_for_a_sink_is_told_by_its_condition(autojump_clock):
    record, conditions = Recorded(), [Condition()]
    sink = Keeper(record, period=100)
    stream = exchange([Numbers(record, period=1, count=20)], [sink], conditions=conditions)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run, stream)
        await trio.sleep(10.5)
        assert conditions[0].as_dict()["queued"] == 9
        nursery.cancel_scope.cancel()


async def test_small_batches_that_wait_go_on_together_whatever_their_source(autojump_clock):
    record = Recorded()
    sources = [Numbers(record, first=1000 * n, count=100, period=0.01) for n in range(20)]
    sink = Pipelined(record, most=1, period=10)
    await run(exchange(sources, [sink]))
    assert sorted(sink.kept) == [1000 * n + m for n in range(20) for m in range(100)]
    assert len(sink.begun) <= 4
    assert max(map(len, sink.begun)) <= MOST
    for source in sources:
        assert [value for value in sink.kept if value in source.handed] == source.handed


class Quick(Pipelined):
    """Takes on without waiting what it has room for; ``waited`` is what it had none for."""

    def __init__(self, record, **options):
        super().__init__(record, **options)
        self.waited = 0

    async def begin(self, delivery):
        self.waited += len(delivery.values)
        await super().begin(delivery)

    def begin_nowait(self, delivery):
        if sum(other.untold for other in self._under_way) >= self._most:
            return False
        self.take_on(delivery)
        return True


async def test_an_idle_sink_is_given_data_without_a_wake_up_of_its_task(autojump_clock):
    record = Recorded()
    sinks = [Quick(record, period=10), Quick(record, period=1)]
    await run(exchange([Numbers(record, period=0.1, count=50)], sinks))
    for sink in sinks:
        assert sink.kept == list(range(50))
        assert (len(sink.begun), sink.waited) == (50, 0)


async def test_what_an_idle_sink_has_no_room_for_keeps_its_order(autojump_clock):
    record = Recorded()
    sinks = [Quick(record, most=3, period=0.35), Quick(record, most=2, period=0.19)]
    stream = exchange([Numbers(record, period=0.1, batch=2, count=200)], sinks)
    await run(stream)
    for sink in sinks:
        assert [value for begun in sink.begun for value in begun] == list(range(200))
        assert 0 < sink.waited < 200
    assert stream.ledger.delivered == 200


async def test_several_sources_have_their_data_go_on_together(autojump_clock):
    record = Recorded()
    sources = [Numbers(record, first=1000 * n, count=10, period=1) for n in range(20)]
    sink = Quick(record, period=1)
    await run(exchange(sources, [sink]))
    assert len(sink.kept) == 200
    assert len(sink.begun) <= 20


@pytest.mark.parametrize("window", [Window(count=10), Window(size=10 * (UNDER_WAY + size_of([1])))])
async def test_what_is_under_way_is_bounded_by_number_and_by_bytes(window, autojump_clock):
    record = Recorded()
    source, sink = Numbers(record), Pipelined(record, period=1)
    stream = exchange([source], [sink, Keeper(record)], window=window)
    with trio.move_on_after(20.5):
        await run(stream)
    assert len(sink.kept) == 200
    assert 0 <= len(source.handed) - 210 <= 1


async def test_exchanges_of_one_device_share_the_room_for_what_is_under_way(autojump_clock):
    record, shared = Recorded(), Shared()
    streams = [
        exchange([Numbers(record, period=0.01)], [Pipelined(record, period=1e6)], shared=shared)
        for _ in range(60)
    ]

    def under_way():
        return sum(stream.ledger.in_flight for stream in streams)

    async with trio.open_nursery() as nursery:
        for stream in streams:
            await nursery.start(opened, stream)
        await trio.sleep(60)
        most = ALL_BYTES // (UNDER_WAY + size_of([1]))
        assert most // 2 - 60 <= under_way() <= most + 60  # and one of each that waits to come in
        for stream in streams[1:]:
            stream.closing.set()
        await trio.sleep(60)
        assert streams[0].ledger.in_flight == pytest.approx(
            MOST_BYTES // (UNDER_WAY + size_of([1])), abs=1
        )
        nursery.cancel_scope.cancel()


async def opened(stream, task_status):
    """Let it stream until it is closed."""
    stream.closing = trio.Event()
    async with stream, trio.open_nursery() as nursery:
        nursery.start_soon(stream.run)
        task_status.started()
        await stream.closing.wait()
        nursery.cancel_scope.cancel()


async def test_one_datum_may_be_larger_than_what_may_be_under_way(autojump_clock):
    record = Recorded()
    sink = Keeper(record)
    await run(exchange([Numbers(record, count=20, batch=5)], [sink], window=Window(2, 2)))
    assert sink.kept == list(range(20))


async def test_many_that_wait_for_room_are_not_woken_for_one_place():
    window, entered = Window(count=1), []

    async def bring(number):
        await window.enter(1, 1)
        entered.append(number)

    await window.enter(1, 1)
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(bring, number)
        await trio.testing.wait_all_tasks_blocked()
        assert window._waiting.statistics().tasks_waiting == 100
        window.leave(1, 1)
        assert window._waiting.statistics().tasks_waiting == 99
        for _ in range(100):
            await trio.testing.wait_all_tasks_blocked()
            window.leave(1, 1)
    assert sorted(entered) == list(range(100))


async def test_a_refusal_that_is_told_later_goes_to_the_policy(autojump_clock):
    record = Recorded()
    source = Numbers(record, count=12, period=0.1)
    first, other = Pipelined(record, period=1, bad=[3, 4]), Pipelined(record, period=5, bad=[4, 8])
    stream = exchange([source], [first, other], policy=SkipPolicy())
    await run(stream)
    ledger = stream.ledger
    assert (ledger.delivered, ledger.skipped) == (9, 3)
    assert [account.failed for account in ledger.sinks] == [2, 2]
    assert source.acknowledged == source.handed


async def test_a_sink_that_fails_later_cuts_off_and_everything_is_counted(autojump_clock):
    record = Recorded()
    sink = Pipelined(record, period=3, broken=6)
    stream = exchange([Numbers(record, period=1)], [sink, Keeper(record)])
    with pytest.raises(ExchangeError) as caught:
        await run(stream)
    assert isinstance(caught.value.cause, EndpointError)
    assert sink.kept == [0, 1, 2, 3, 4, 5]
    ledger = stream.ledger
    assert (ledger.delivered, ledger.in_flight, ledger.balanced) == (6, 0, True)
    assert record.open == 0


async def test_a_sink_that_fails_while_the_next_delivery_waits_to_begin_ends_it(autojump_clock):
    record = Recorded()
    sink = Pipelined(record, period=3, most=1, broken=0)
    stream = exchange([Numbers(record, period=1)], [sink])
    with trio.fail_after(100), pytest.raises(ExchangeError, match="broken"):
        await run(stream)
    assert stream.ledger.in_flight == record.open == 0


async def test_what_a_sink_tells_after_the_end_counts_no_more(autojump_clock):
    record = Recorded()
    sink = Pipelined(record, period=10)
    stream = exchange([Numbers(record, count=3, period=1)], [sink])
    with trio.move_on_after(5):
        await run(stream)
    await trio.sleep(20)
    assert sink.kept == [0, 1, 2]
    assert dict(stream.ledger.dropped) == {"aborted": 3}
    assert (stream.ledger.delivered, stream.ledger.balanced) == (0, True)


@pytest.mark.parametrize("kind", [Pipelined, Quick])
@pytest.mark.parametrize("sinks", [1, 2])
def test_cancelled_anywhere_deliveries_under_way_are_all_accounted_for(sinks, kind):
    async def scenario():
        record = Recorded()
        source = Numbers(record, batch=2, period=1)
        keepers = [kind(record, period=2.5 + n, bad=[3]) for n in range(sinks)]
        stream = exchange([source], keepers, policy=SkipPolicy())
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(run, stream)
                await trio.sleep(5.5)
                stream.request_stop()
        finally:
            ledger = stream.ledger
            assert record.open == ledger.in_flight == 0
            assert ledger.balanced
            assert ledger.received == len(source.handed)
            kept = set.intersection(*(set(keeper.kept) for keeper in keepers))
            assert ledger.delivered <= len(kept)
            assert ledger.delivered + ledger.failed + ledger.dropped.total() == ledger.received

    assert cancel_at_every_step(scenario) > 20


class Silent(DataSink):
    """Takes everything on, and says what it is told to say."""

    def __init__(self):
        self.deliveries = []

    async def start(self):
        await trio.lowlevel.checkpoint()

    async def stop(self):
        await trio.lowlevel.checkpoint()

    async def awrite(self, value):
        raise NotImplementedError

    async def begin(self, delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        self.deliveries.append(delivery)

    def begin_nowait(self, delivery):
        self.deliveries.append(delivery)
        return True


tellings = st.tuples(
    st.integers(0, 2), st.integers(0, 30), st.integers(1, 12), st.sampled_from(["yes", "no", "all"])
)


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), min_size=1, max_size=5),
    st.integers(1, 3),
    st.lists(tellings, max_size=40),
    st.booleans(),
)
def test_accounts_say_what_was_told_whatever_is_told_when(batches, sink_count, told, direct):
    """A datum is delivered when every sink accepted it, failed when all told and one refused."""

    async def scenario():
        ledger = Ledger(["a", "b"], ["sink"] * sink_count)
        sinks = [Silent() for _ in range(sink_count)]
        rejected = []

        def reject(batch, refused):
            for index in refused:
                for part, first, count in batch.runs(index, 1):
                    rejected.extend(part.values[first : first + count])
                    part.account.settle(part, count, SKIPPED)

        conditions = [Condition() for _ in sinks]
        outlets = Outlets(
            *(sinks, ledger.sinks, conditions, reject, Window(), Window()), direct=direct
        )
        fates = [{} for _ in sinks]
        values = []
        async with trio.open_nursery() as nursery:
            for place in range(sink_count):
                nursery.start_soon(outlets.write, place)
            await trio.testing.wait_all_tasks_blocked()
            for sizes in batches:
                parts = []
                for number, size in enumerate(sizes):
                    if size:
                        part = Batch(list(range(len(values), len(values) + size)))
                        ledger.sources[number % 2].receive(part)
                        values += part.values
                        parts.append(part)
                if parts:
                    await outlets.put(joined(parts))
            assert not direct or sum(len(d.values) for d in sinks[0].deliveries) == len(values)
            await trio.testing.wait_all_tasks_blocked()
            for which, index, count, how in told:
                place = which % sink_count
                for delivery in sinks[place].deliveries:
                    fate = fates[place]
                    there = delivery.values[index : index + count]
                    if how == "all":
                        delivery.accept_all()
                        there = delivery.values
                    elif how == "yes" and there:
                        delivery.accept(index, len(there))
                    elif how == "no" and there:
                        delivery.refuse(index, DataError("no"))
                        there = there[:1]
                    for value in there:
                        fate.setdefault(value, how != "no")
                check(ledger, fates, values, rejected)
            for sink in sinks:
                for delivery in sink.deliveries:
                    delivery.accept_all()
            for fate in fates:
                for value in values:
                    fate.setdefault(value, True)
            outlets.complete()
        check(ledger, fates, values, rejected)
        assert ledger.in_flight == 0
        assert ledger.delivered + ledger.skipped == len(values)

    trio.run(scenario)


def check(ledger: Ledger, fates, values, rejected):
    assert ledger.balanced
    for account, fate in zip(ledger.sinks, fates, strict=True):
        assert isinstance(account, Account)
        assert account.delivered == sum(fate.values())
        assert account.failed == len(fate) - account.delivered
    over = [value for value in values if all(value in fate for fate in fates)]
    bad = [value for value in over if not all(fate[value] for fate in fates)]
    assert sorted(rejected) == bad
    assert (ledger.delivered, ledger.skipped) == (len(over) - len(bad), len(bad))


def test_a_sink_that_writes_nothing_is_no_sink():
    with pytest.raises(TypeError, match="Nothing has neither awrite nor awrite_batch"):

        class Nothing(DataSink):
            async def start(self):
                pass

            async def stop(self):
                pass
