"""The same work by asyncio: PyTango's asyncio green mode and aiokafka: ``python -m … CONFIG PORT``.

It understands what `bare` does.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import tango
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from tango.asyncio import DeviceProxy
from tango.server import Device, attribute, run

from benchmarks.blackbox.roles.bare import sources, zeros
from benchmarks.blackbox.roles.talk import answer, server_arguments


async def producer(servers: str) -> AIOKafkaProducer:
    made = AIOKafkaProducer(
        bootstrap_servers=servers,
        acks="all",
        enable_idempotence=True,
        max_request_size=100_000_000,
    )
    await made.start()
    return made


async def consumer(servers: str, topics: list[str]) -> AIOKafkaConsumer:
    made = AIOKafkaConsumer(
        *topics,
        bootstrap_servers=servers,
        group_id=None,
        auto_offset_reset="latest",
        max_partition_fetch_bytes=100_000_000,
    )
    await made.start()
    await made.seek_to_end()
    for place in made.assignment():
        await made.position(place)
    return made


async def from_tango(exchanges: list[dict[str, Any]]) -> None:
    began, proxies = time.monotonic(), {}
    made = await producer(exchanges[0]["sink"]["servers"])
    for exchange in exchanges:
        for source in sources(exchange):
            name = source["device_name"]
            if name not in proxies:
                proxies[name] = await DeviceProxy(name)
            key = name.split("/")[-1].split("#")[0].encode()
            await proxies[name].subscribe_event(
                source["attribute_name"],
                tango.EventType.CHANGE_EVENT,
                sender(made, exchange["sink"]["topic"], key),
            )
    answer({"seconds": time.monotonic() - began, "proxies": len(proxies)})
    await asyncio.Event().wait()


def sender(made: AIOKafkaProducer, topic: str, key: bytes) -> Any:
    async def receive(event: Any) -> None:
        if not event.err:
            await made.send(topic, event.attr_value.value.tobytes(), key)

    return receive


async def between_topics(exchange: dict[str, Any]) -> None:
    source, sink = exchange["source"], exchange["sink"]
    reading = await consumer(source["servers"], [source["topic"]])
    writing = await producer(sink["servers"])
    answer(None)
    while True:
        for messages in (await reading.getmany(timeout_ms=100, max_records=1000)).values():
            for message in messages:
                await writing.send(sink["topic"], message.value)


async def to_attributes(exchanges: list[dict[str, Any]], device: Any) -> None:
    by_topic = {exchange["source"]["topic"]: exchange for exchange in exchanges}
    reading = await consumer(exchanges[0]["source"]["servers"], list(by_topic))
    answer(None)
    async for message in reading:
        exchange = by_topic[message.topic]
        shape = exchange["shape"]
        value = np.frombuffer(message.value, exchange["dtype"], int(np.prod(shape)))
        device.push_change_event(exchange["sink"]["attribute_name"], value.reshape(shape))


def serve_attributes(exchanges: list[dict[str, Any]], port: str) -> None:
    class Asynchronous(Device):
        green_mode = tango.GreenMode.Asyncio

        async def init_device(self) -> None:
            await super().init_device()
            for exchange in exchanges:
                name, shape = exchange["sink"]["attribute_name"], exchange["shape"]
                lengths = dict(zip(("max_dim_x", "max_dim_y"), reversed(shape), strict=False))
                dtype: Any = exchange["dtype"]
                for _ in shape:
                    dtype = (dtype,)
                self.add_attribute(
                    attribute(
                        name=name,
                        dtype=dtype,
                        fget=zeros(shape),
                        green_mode=tango.GreenMode.Synchronous,
                        **lengths,
                    )
                )
                self.set_change_event(name, True, False)
            self.task = asyncio.create_task(to_attributes(exchanges, self))

    run(
        {"SDPQueueConnector": Asynchronous},
        args=server_arguments("SDPQueueConnector", port, "test-sdp/queueconnector/01"),
        green_mode=tango.GreenMode.Asyncio,
    )


def main() -> None:
    configuration = json.loads(Path(sys.argv[1]).read_text())["exchanges"]
    groups = configuration.values() if isinstance(configuration, dict) else [configuration]
    exchanges = [exchange for group in groups for exchange in group]
    kinds = {sources(exchanges[0])[0]["type"], exchanges[0]["sink"]["type"]}
    if "KafkaConsumerSource" not in kinds:
        asyncio.run(from_tango(exchanges))
    elif "KafkaProducerSink" in kinds:
        asyncio.run(between_topics(exchanges[0]))
    else:
        serve_attributes(exchanges, sys.argv[2])


if __name__ == "__main__":
    main()
