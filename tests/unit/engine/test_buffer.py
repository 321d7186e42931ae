"""The buffer between sources and pipe: each policy against what it says, and against a model."""

import numpy as np
import pytest
import trio
from hypothesis import given, strategies as st

from queue_connector.engine.buffer import StreamBuffer
from queue_connector.engine.outlets import MOST
from queue_connector.engine.window import OVERHEAD, WAITING
from queue_connector.model.ledger import Account, Batch, settle
from queue_connector.model.outcome import DELIVERED

POLICIES = ["block", "drop_oldest", "drop_newest", "latest"]


class Source:
    """An account with a way into a buffer."""

    def __init__(self, buffer):
        self.account = Account()
        self._buffer = buffer

    async def put(self, *values):
        batch = Batch(list(values), raw=[f"raw {value}" for value in values])
        self.account.receive(batch)
        await self._buffer.put(batch)

    @property
    def counts(self):
        return {**self.account.dropped, "in flight": self.account.in_flight}


def waiting(buffer):
    """All that waits, oldest first; taken out and settled."""
    taken = []
    while True:
        try:
            batch = buffer.receive_nowait()
        except (trio.WouldBlock, trio.EndOfChannel):
            return taken
        taken.extend(batch.values)
        for part, _, _ in batch.spans:
            assert part.raw == [f"raw {value}" for value in part.values]
        settle(batch, DELIVERED)


async def test_drop_oldest_makes_room_for_what_comes(autojump_clock):
    buffer = StreamBuffer("drop_oldest", 4, 1)
    source = Source(buffer)
    await source.put(1, 2, 3)
    await source.put(4, 5, 6)
    assert source.counts == {"buffer full": 2, "in flight": 4}
    assert waiting(buffer) == [3, 4, 5, 6]
    await source.put(*range(10))
    assert waiting(buffer) == [6, 7, 8, 9]
    assert source.account.balanced


async def test_drop_newest_keeps_what_waits(autojump_clock):
    buffer = StreamBuffer("drop_newest", 4, 1)
    source = Source(buffer)
    await source.put(1, 2, 3)
    await source.put(4, 5, 6)
    await source.put(7)
    assert source.counts == {"buffer full": 3, "in flight": 4}
    assert waiting(buffer) == [1, 2, 3, 4]


async def test_latest_has_the_newest_datum_of_each_source(autojump_clock):
    buffer = StreamBuffer("latest", 1, 2)
    dish, other = Source(buffer), Source(buffer)
    await dish.put(1, 2, 3)
    await other.put(100)
    await dish.put(4)
    await dish.put(5, 6)
    assert dish.counts == {"superseded": 5, "in flight": 1}
    assert other.counts == {"in flight": 1}
    assert waiting(buffer) == [6, 100]


async def test_block_lets_a_source_wait_until_there_is_room(autojump_clock):
    buffer = StreamBuffer("block", 4, 1)
    source = Source(buffer)
    await source.put(1, 2, 3)
    with trio.move_on_after(1) as scope:
        await source.put(4, 5)
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(source.put, 6, 7)
        await trio.sleep(1)
        assert (await buffer.receive()).values == [1, 2, 3]
    assert waiting(buffer) == [6, 7]
    assert source.account.dropped == {}


async def test_block_lets_in_a_batch_that_is_larger_than_the_buffer_once_it_is_empty(
    autojump_clock,
):
    buffer = StreamBuffer("block", 4, 1)
    with trio.fail_after(1):
        await Source(buffer).put(*range(100))
    assert waiting(buffer) == list(range(100))


async def test_what_has_waited_is_handed_on_together(autojump_clock):
    buffer = StreamBuffer("block", 10_000, 1)
    source = Source(buffer)
    for number in range(MOST + 10):
        await source.put(number)
    assert (await buffer.receive()).values == list(range(MOST))
    assert (await buffer.receive()).values == list(range(MOST, MOST + 10))


LARGE = np.zeros(1000)
"""8 kB, beside what an object and a batch take up."""


@pytest.mark.parametrize("policy", POLICIES)
async def test_what_waits_is_bounded_in_memory_too(policy, autojump_clock):
    buffer = StreamBuffer(policy, 10_000, 1, most_bytes=100_000)
    source = Source(buffer)
    with trio.move_on_after(1):
        for _ in range(100):
            await source.put(LARGE)
    found = 1 if policy == "latest" else 100_000 // (LARGE.nbytes + OVERHEAD + WAITING)
    assert buffer.count == found
    dropped = 0 if policy == "block" else 100 - found
    assert source.account.dropped.total() == dropped
    assert source.account.balanced


@pytest.mark.parametrize("policy", POLICIES)
async def test_one_datum_has_room_however_large_it_is(policy, autojump_clock):
    buffer = StreamBuffer(policy, 10, 1, most_bytes=100)
    source = Source(buffer)
    for _ in range(3):
        await source.put(LARGE)
        assert len((await buffer.receive()).values) == 1
    await source.put(*[LARGE] * 5)
    assert buffer.count == (5 if policy == "block" else 1)
    assert source.account.balanced


@pytest.mark.parametrize("policy", POLICIES)
async def test_the_end_comes_once_every_source_has_left_and_all_was_received(
    policy, autojump_clock
):
    buffer = StreamBuffer(policy, 10, 2)
    await Source(buffer).put(1)
    buffer.writer_left()
    assert waiting(buffer) == [1]
    with pytest.raises(trio.WouldBlock):
        buffer.receive_nowait()
    async with trio.open_nursery() as nursery:

        async def ends():
            with pytest.raises(trio.EndOfChannel):
                await buffer.receive()

        nursery.start_soon(ends)
        await trio.sleep(1)
        buffer.writer_left()
    with pytest.raises(trio.EndOfChannel):
        buffer.receive_nowait()


async def test_a_cancelled_receive_takes_nothing(autojump_clock):
    buffer = StreamBuffer("block", 10, 1)
    with trio.move_on_after(1):
        await buffer.receive()
    await Source(buffer).put(1)
    with trio.CancelScope() as scope:
        scope.cancel()
        await buffer.receive()
    assert waiting(buffer) == [1]


def model(policy, size, waits, source, values):
    """What waits after *values* of *source* have come, as (source, value), oldest first."""
    new = [(source, value) for value in values]
    match policy:
        case "drop_oldest":
            return (waits + new)[-size:]
        case "drop_newest":
            return (waits + new)[:size]
        case "latest" if new:
            for index, (other, _) in enumerate(waits):
                if other == source:
                    return [*waits[:index], new[-1], *waits[index + 1 :]]
            return [*waits, new[-1]]
    return waits + new


puts = st.tuples(st.integers(0, 2), st.integers(1, 7))


@given(
    st.sampled_from(["drop_oldest", "drop_newest", "latest"]),
    st.integers(1, 9),
    st.lists(st.one_of(puts, st.none()), max_size=30),
)
def test_the_dropping_policies_do_what_the_model_says(policy, size, steps):
    async def scenario():
        buffer = StreamBuffer(policy, size, 3)
        all_sources = [Source(buffer) for _ in range(3)]
        waits, came, out, number = [], 0, 0, 0
        for step in steps:
            if step is None:
                taken = waiting(buffer)
                assert taken == [value for _, value in waits]
                out, waits = out + len(taken), []
                continue
            which, count = step
            values = range(number, number + count)
            number += count
            came += count
            with trio.fail_after(1):
                await all_sources[which].put(*values)
            waits = model(policy, size, waits, which, values)
            assert sum(source.account.in_flight for source in all_sources) == len(waits)
            assert all(source.account.balanced for source in all_sources)
        assert waiting(buffer) == [value for _, value in waits]
        dropped = sum(source.account.dropped.total() for source in all_sources)
        assert came == out + len(waits) + dropped

    trio.run(scenario)
