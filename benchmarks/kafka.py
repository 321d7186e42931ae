"""What the Kafka source and sink do per second, how late, and at what cost while idle.

``python -m benchmarks.kafka [--servers HOST:PORT] [part ...]``, where the parts are ``throughput``,
``latency`` and ``idle``; without servers on the embedded broker, whose idle fetches sleep for the
whole of ``fetch.wait.max.ms`` (a real broker answers at once).
"""

from __future__ import annotations

import argparse
import contextlib
import os
import statistics
import time
import uuid

import numpy as np
import trio

from queue_connector.connectors.kafka import reader
from queue_connector.connectors.kafka.sink import KafkaProducerSink, KafkaProducerSinkDescriptor
from queue_connector.connectors.kafka.source import (
    KafkaConsumerSource,
    KafkaConsumerSourceDescriptor,
)
from queue_connector.demo.embedded_broker import embedded_broker
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.descriptors import Services
from queue_connector.model.stream import Delivery

BATCH = 1000


def pair(
    servers: str, spec: DataSpec, encoding: str
) -> tuple[KafkaConsumerSource, KafkaProducerSink]:
    topic = f"benchmark-{uuid.uuid4().hex[:8]}"
    common = {"servers": servers, "topic": topic, "encoding": encoding}
    source = KafkaConsumerSourceDescriptor(**common).build(spec, Services())
    return source, KafkaProducerSinkDescriptor(**common).build(spec, Services())


async def throughput(servers: str, count: int) -> None:
    values = {
        "bytes": (DataSpec("bytes"), "raw", ("raw", b"x" * 100)),
        "carray float64[12]": (DataSpec("float64", (12,)), "carray", np.zeros(12)),
        "json int64": (DataSpec("int64"), "json", np.int64(123456789)),
    }
    for name, (spec, encoding, value) in values.items():
        source, sink = pair(servers, spec, encoding)
        async with sink, source:
            await sink.awrite(value)
            received = len((await source.receive_batch()).values)
            start = time.perf_counter()
            for _ in range(count // BATCH):
                await sink.awrite_batch(Delivery([value] * BATCH))
            written = time.perf_counter() - start
            start, received, hops = time.perf_counter(), 0, 0
            while received < count // BATCH * BATCH:
                received += len((await source.receive_batch()).values)
                hops += 1
            read = time.perf_counter() - start
        print(
            f"{name:20} sink {count / written:9.0f}/s   source {count / read:9.0f}/s "
            f"({count / hops:.0f} per batch)"
        )


async def latency(servers: str, seconds: float, rate: float = 200.0) -> None:
    source, sink = pair(servers, DataSpec("float64"), "carray")
    delays: list[float] = []

    async def read() -> None:
        while True:
            batch = await source.receive_batch()
            now = time.perf_counter()
            delays.extend(now - float(sent) for sent in batch.values)

    async with sink, source, trio.open_nursery() as nursery:
        await sink.awrite(time.perf_counter())  # the first one waits for the producer's identity
        await source.receive()
        nursery.start_soon(read)
        due = trio.current_time()
        for _ in range(int(seconds * rate)):
            due += 1 / rate
            await trio.sleep_until(due)
            await sink.awrite(time.perf_counter())
        await trio.sleep(0.5)
        nursery.cancel_scope.cancel()
    cuts = statistics.quantiles(delays, n=100)
    print(
        f"latency at {rate:.0f}/s, write to read: p50 {cuts[49] * 1e3:.2f} ms, "
        f"p99 {cuts[98] * 1e3:.2f} ms"
    )


async def idle(servers: str, sources: int, seconds: float) -> None:
    async with contextlib.AsyncExitStack() as stack:
        nursery = await stack.enter_async_context(trio.open_nursery())
        for _ in range(sources):
            source, sink = pair(servers, DataSpec("float64"), "carray")
            await stack.enter_async_context(sink)  # makes the topic
            await stack.enter_async_context(source)
            nursery.start_soon(wait_for_data, source)
        await trio.sleep(2)
        before = os.times()
        await trio.sleep(seconds)
        after = os.times()
        used = after.user + after.system - before.user - before.system
        print(
            f"{sources} sources and sinks idle, fetch wait {reader.FETCH_WAIT} ms: "
            f"{100 * used / seconds:.1f} % of a CPU, {len(os.listdir('/proc/self/task'))} threads"
        )
        nursery.cancel_scope.cancel()


async def wait_for_data(source: KafkaConsumerSource) -> None:
    with contextlib.suppress(trio.EndOfChannel):
        await source.receive_batch()


async def run(servers: str, arguments: argparse.Namespace) -> None:
    parts = arguments.part or ["throughput", "latency", "idle"]
    if "throughput" in parts:
        await throughput(servers, arguments.count)
    if "latency" in parts:
        await latency(servers, arguments.seconds)
    if "idle" in parts:
        await idle(servers, 20, arguments.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--servers", help="a running Kafka; default: the embedded broker")
    parser.add_argument("--count", type=int, default=40_000, help="messages (default %(default)s)")
    parser.add_argument("--seconds", type=float, default=5.0, help="(default %(default)s)")
    parser.add_argument("part", nargs="*", choices=["throughput", "latency", "idle", []])
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        servers = arguments.servers or stack.enter_context(embedded_broker())
        trio.run(run, servers, arguments)


if __name__ == "__main__":
    main()
