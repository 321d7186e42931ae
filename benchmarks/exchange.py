"""What the engine costs by itself: an exchange whose ends do nothing.

``python -m benchmarks.exchange``: processor time of the Trio thread, medians of five runs.
"""

from __future__ import annotations

import statistics
import time

import trio

from queue_connector.model.delivery import Delivery
from queue_connector.model.exchanges import Buffer
from queue_connector.model.ledger import Batch
from queue_connector.model.stream import DataSink, DataSource
from tests.endpoints import exchange


class Numbers(DataSource):
    """The same numbers again and again, *count* batches."""

    def __init__(self, count: int, size: int) -> None:
        self._left = count
        self._values = list(range(size))

    async def start(self) -> None:
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        await trio.lowlevel.checkpoint()

    async def receive(self) -> int:
        raise NotImplementedError

    async def receive_batch(self) -> Batch:
        await trio.lowlevel.checkpoint()
        if not self._left:
            raise trio.EndOfChannel
        self._left -= 1
        return Batch(self._values)


class Nowhere(DataSink):
    """Accepts everything."""

    async def start(self) -> None:
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        await trio.lowlevel.checkpoint()

    async def awrite(self, value: object) -> None:
        await trio.lowlevel.checkpoint()

    async def awrite_batch(self, delivery: Delivery) -> None:
        await trio.lowlevel.checkpoint()
        delivery.accept_all()


async def measure(size: int, count: int, buffer: Buffer | None) -> float:
    """Seconds of processor time for each batch of *size* values."""
    stream = exchange([Numbers(count, size)], [Nowhere()], buffer=buffer)
    began = time.thread_time()
    async with stream:
        await stream.run()
    return (time.thread_time() - began) / count


async def measure_many(sources: int, count: int) -> float:
    """Seconds of processor time for each datum of many sources that bring one at a time."""
    stream = exchange([Numbers(count, 1) for _ in range(sources)], [Nowhere()])
    began = time.thread_time()
    async with stream:
        await stream.run()
    return (time.thread_time() - began) / (sources * count)


def main() -> None:
    for buffer in (None, Buffer(size=10_000)):
        for size, count in ((1, 20_000), (1000, 2_000)):
            took = statistics.median(trio.run(measure, size, count, buffer) for _ in range(5))
            kind = "without buffer" if buffer is None else "buffer of 10 000"
            print(f"{kind:17} batches of {size:4}: {1e6 * took:5.1f} µs a batch")
    for sources in (10, 197):
        took = statistics.median(trio.run(measure_many, sources, 100) for _ in range(5))
        print(f"{sources} sources of one datum at a time: {1e6 * took:5.1f} µs a datum")


if __name__ == "__main__":
    main()
