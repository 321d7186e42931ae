import json
import re

import numpy as np
import pytest
import trio
from hypothesis import given, settings, strategies as st

from queue_connector.configuration.document import examine
from queue_connector.connectors.pipes import buffer_with_time as module
from queue_connector.connectors.pipes.buffer_with_time import (
    BufferWithTimePipeDescriptor,
    StackError,
)
from queue_connector.model.datatypes import DataSpec, Kind
from queue_connector.model.ledger import Batch
from queue_connector.testing.checkpoints import cancel_at_every_step
from queue_connector.testing.endpoints import Keeper, Numbers, Recorded, exchange
from tests.support.data import DTYPES, same, values

INT = DataSpec("int64")


def pipe(spec=INT, **keys):
    return BufferWithTimePipeDescriptor(**keys).build(spec)


async def windows_of(arrivals, stepping, limit=10):
    """Feed (time, values) and give (time, array, weight) of each window."""
    found = []
    send, receive = trio.open_memory_channel(limit)
    start = trio.current_time()

    async def feed():
        async with send:
            for time, data in arrivals:
                await trio.sleep_until(start + time)
                await send.send(Batch(data))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed)
        while True:
            try:
                batch = await stepping.transform(receive)
            except trio.EndOfChannel:
                return found
            [array], [weight] = batch.values, batch.weights
            found.append((trio.current_time() - start, array.tolist(), weight))


async def test_a_window_begins_with_its_first_datum_and_closes_after_the_timespan(autojump_clock):
    arrivals = [(3.0, [1]), (3.5, [2, 3]), (4.9, [4]), (5.0, [5]), (9.0, [6]), (10.5, [7])]
    assert await windows_of(arrivals, pipe(timespan=2.0)) == [
        (5.0, [1, 2, 3, 4], 4),
        (7.0, [5], 1),
        (10.5, [6, 7], 2),  # the stream ended before the window did
    ]


async def test_empty_windows_emit_nothing(autojump_clock):
    arrivals = [(0.0, [1]), (1000.0, [2])]
    assert await windows_of(arrivals, pipe(timespan=1.0)) == [(1.0, [1], 1), (1000.0, [2], 1)]


async def test_without_a_timespan_what_is_there_at_once_is_one_window(autojump_clock):
    send, receive = trio.open_memory_channel(2)
    send.send_nowait(Batch([1, 2]))
    send.send_nowait(Batch([3]))
    assert (await pipe().transform(receive)).values[0].tolist() == [1, 2, 3]
    assert await windows_of([(0.0, [1, 2]), (0.5, [3])], pipe()) == [
        (0.0, [1, 2], 2),
        (0.5, [3], 1),
    ]


async def test_a_window_that_is_full_is_emitted_at_once(autojump_clock, monkeypatch):
    monkeypatch.setattr(module, "MAX_BYTES", 10 * (8 + 128))
    arrivals = [(number / 10, [np.int64(number)]) for number in range(25)]
    found = await windows_of(arrivals, pipe(timespan=100.0))
    assert [(round(time, 6), len(array)) for time, array, _ in found] == [
        (0.9, 10),
        (1.9, 10),
        (2.4, 5),
    ]
    assert [item for _, array, _ in found for item in array] == list(range(25))


async def test_the_weight_is_what_the_source_handed_over(autojump_clock):
    send, receive = trio.open_memory_channel(2)
    send.send_nowait(Batch([1, 2], weights=[3, 4]))
    send.send_nowait(Batch([5]))
    send.close()
    batch = await pipe().transform(receive)
    assert (batch.values[0].tolist(), batch.weights) == ([1, 2, 5], [8])


async def test_an_orderly_stop_emits_what_was_collected(autojump_clock):
    record = Recorded()
    source, sink = Numbers(record, period=1.0), Windows(record)
    stream = exchange([source], [sink], pipe(timespan=10.0))
    start = trio.current_time()
    async with trio.open_nursery() as nursery:

        async def run():
            async with stream:
                await stream.run()

        nursery.start_soon(run)
        await trio.sleep(14.5)
        stream.request_stop()
    assert trio.current_time() - start == 14.5
    assert [window.tolist() for window in sink.kept] == [list(range(10)), list(range(10, 15))]
    assert stream.ledger.received == stream.ledger.delivered == 15


class Windows(Keeper):
    async def awrite(self, value):
        await trio.lowlevel.checkpoint()
        self.kept.append(value)


def test_whenever_it_is_cancelled_nothing_is_lost_without_being_counted():
    async def scenario():
        record = Recorded()
        source = Numbers(record, count=12, batch=3, period=0.4)
        stream = exchange([source], [Windows(record)], pipe(timespan=1.0))
        try:
            async with stream:
                await stream.run()
        finally:
            assert stream.ledger.balanced
            assert stream.ledger.in_flight == 0
            assert stream.ledger.received == len(source.handed)

    assert cancel_at_every_step(scenario) > 20


async def test_data_that_do_not_stack_fail_and_the_next_window_does_not(autojump_clock):
    shorter = [np.zeros(3), np.zeros(2)]
    stepping = pipe(DataSpec("float64", (3,)), timespan=1.0)
    send, receive = trio.open_memory_channel(9)
    send.send_nowait(Batch(shorter))
    send.send_nowait(Batch([np.ones(3)]))
    with pytest.raises(StackError, match="a window of 3 data of float64") as caught:
        await stepping.transform(receive)
    assert caught.value.count == 3
    send.send_nowait(Batch([np.ones(3)]))
    assert (await stepping.transform(receive)).values[0].shape == (1, 3)


async def test_texts_that_an_array_would_spoil_or_blow_up_are_refused(autojump_clock):
    for texts in (["a", "b\0"], ["a" * 2**20, *["b"] * 100]):
        send, receive = trio.open_memory_channel(1)
        send.send_nowait(Batch(texts))
        with pytest.raises(StackError):
            await pipe(DataSpec("str")).transform(receive)


@pytest.mark.parametrize(
    "spec",
    [
        DataSpec(dtype, shape)
        for dtype in DTYPES
        for shape in ((), (3,), (2, 1, 3), (0, 3))
        if DataSpec(dtype).kind not in (Kind.BYTES, Kind.OBJECT)
    ],
    ids=str,
)
@settings(max_examples=20)
@given(data=st.data())
def test_every_datum_is_a_row_of_the_array(spec, data):
    items = data.draw(st.lists(values(spec), min_size=1, max_size=4))
    send, receive = trio.open_memory_channel(1)
    send.send_nowait(Batch(items))
    send.close()
    batch = trio.run(pipe(spec).transform, receive)
    [array] = batch.values
    assert array.shape == (len(items), *spec.shape)
    if spec.kind is Kind.STR:
        assert array.tolist() == np.array(items).tolist()
    else:
        assert array.dtype == spec.dtype
        for row, item in zip(array, items, strict=True):
            assert same(np.asarray(row), np.asarray(item))


def test_output_has_a_new_leading_dimension():
    descriptor = BufferWithTimePipeDescriptor(timespan=0.1)
    spec = DataSpec("float32", (2, 3))
    stepping = descriptor.build(spec)
    assert descriptor.output(spec) == DataSpec("float32", (-1, 2, 3))
    assert (stepping.output_dtype, stepping.output_shape) == (np.dtype("f4"), [-1, 2, 3])


@pytest.mark.parametrize(
    ("dtype", "shape", "message"),
    [
        ("object", [], "there are none of object"),
        ("bytes", [], "there are none of bytes"),
        ("int64", [-1], r"int64\[-1\] has one already"),
        ("int64", [2, -1], "has one already"),
        ("int8", [1] * 32, "has 32 already"),
    ],
)
def test_what_does_not_stack_is_a_fault_at_the_pipe_alone(dtype, shape, message):
    exchange = {
        "dtype": dtype,
        "shape": shape,
        "source": {"type": "InMemorySource", "data": []},
        "pipe": {"type": "BufferWithTimePipe"},
        "sink": {"type": "InMemorySink", "key": "x"},
    }
    [fault] = examine_exchange(exchange)
    assert fault.path == "$.exchanges[0].pipe"
    assert re.search(message, fault.message)


def examine_exchange(exchange):
    return examine(json.dumps({"exchanges": [exchange]})).faults


@pytest.mark.parametrize("timespan", [-0.1, "1", None])
def test_a_timespan_is_a_number_from_0_on(timespan):
    exchange = {
        "source": {"type": "InMemorySource", "data": []},
        "pipe": {"type": "BufferWithTimePipe", "timespan": timespan},
        "sink": {"type": "InMemorySink", "key": "x"},
    }
    [fault] = examine_exchange(exchange)
    assert fault.path == "$.exchanges[0].pipe.timespan"
