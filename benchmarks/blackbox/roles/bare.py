"""The least that the client libraries can be made to do the work with: ``python -m … CONFIG PORT``.

CONFIG is what the connector is given, of which this understands topics of a carray, subscriptions
and local attributes. What it sends of a subscription is the event's value as it is, with the
device's name as the key; it keeps no account, looks at nothing and survives nothing.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import tango
from confluent_kafka import Consumer, Producer, TopicPartition
from tango.server import Device, attribute, run

from benchmarks.blackbox.roles.talk import listen, server_arguments


def producer(servers: str) -> Producer:
    return Producer(
        {
            "bootstrap.servers": servers,
            "acks": "all",
            "enable.idempotence": True,
            "linger.ms": 0,
            "message.max.bytes": 100_000_000,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 500_000,
        }
    )


def consumer(servers: str, topics: list[str]) -> Consumer:
    made = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": "bare",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 20,
            "fetch.queue.backoff.ms": 2,
        }
    )
    places = []
    for topic in topics:
        for number in made.list_topics(topic, 10).topics[topic].partitions:
            _, end = made.get_watermark_offsets(TopicPartition(topic, number), 10)
            places.append(TopicPartition(topic, number, end))
    made.assign(places)
    return made


def put(made: Producer, topic: str, payload: Any, key: str | None = None) -> None:
    while True:
        try:
            made.produce(topic, payload, key)
            return
        except BufferError:
            made.poll(0.01)


def sources(exchange: dict[str, Any]) -> list[dict[str, Any]]:
    source = exchange["source"]
    return source if isinstance(source, list) else [source]


_proxies: dict[str, Any] = {}  # a subscription ends with its proxy


def from_tango(exchanges: list[dict[str, Any]]) -> dict[str, Any]:
    """Subscribe to everything; each event becomes a message, or is only counted."""
    began, proxies, counted = time.monotonic(), _proxies, [0]
    sink = exchanges[0]["sink"]
    made = producer(sink["servers"]) if sink["type"] == "KafkaProducerSink" else None
    for exchange in exchanges:
        for source in sources(exchange):
            name = source["device_name"]
            if name not in proxies:
                proxies[name] = tango.DeviceProxy(name)
            receive = (
                count(counted) if made is None else send(made, exchange["sink"]["topic"], name)
            )
            proxies[name].subscribe_event(
                source["attribute_name"], tango.EventType.CHANGE_EVENT, receive
            )
    if made is not None:
        threading.Thread(target=poll, args=(made,), daemon=True).start()
    return {"seconds": time.monotonic() - began, "proxies": len(proxies)}


def count(counted: list[int]) -> Callable[[Any], None]:
    def receive(event: Any) -> None:
        if not event.err:
            counted[0] += 1

    return receive


def send(made: Producer, topic: str, device: str) -> Callable[[Any], None]:
    key = device.split("/")[-1].split("#")[0]

    def receive(event: Any) -> None:
        if not event.err:
            put(made, topic, event.attr_value.value.tobytes(), key)

    return receive


def poll(made: Producer) -> None:
    while True:
        made.poll(0.1)


def between_topics(exchange: dict[str, Any]) -> None:
    source, sink = exchange["source"], exchange["sink"]
    reading, writing = consumer(source["servers"], [source["topic"]]), producer(sink["servers"])
    while True:
        first = reading.poll(0.1)
        if first is None:
            writing.poll(0)
            continue
        for message in (first, *reading.consume(999, 0)):
            if message.error() is None:
                put(writing, sink["topic"], message.value())
        writing.poll(0)


def to_attributes(exchanges: list[dict[str, Any]], device: Any) -> None:
    by_topic = {exchange["source"]["topic"]: exchange for exchange in exchanges}
    reading = consumer(exchanges[0]["source"]["servers"], list(by_topic))
    with tango.EnsureOmniThread():
        while True:
            first = reading.poll(0.1)
            if first is None:
                continue
            for message in (first, *reading.consume(999, 0)):
                if message.error() is not None:
                    continue
                exchange = by_topic[message.topic()]
                name, shape = exchange["sink"]["attribute_name"], exchange["shape"]
                value = np.frombuffer(message.value(), exchange["dtype"], int(np.prod(shape)))
                device.push_change_event(name, value.reshape(shape))


def serve_attributes(exchanges: list[dict[str, Any]], port: str) -> None:
    """A server of the same device, with the same attributes."""

    class Bare(Device):
        def init_device(self) -> None:
            super().init_device()
            for exchange in exchanges:
                name, shape = exchange["sink"]["attribute_name"], exchange["shape"]
                lengths = dict(zip(("max_dim_x", "max_dim_y"), reversed(shape), strict=False))
                dtype: Any = exchange["dtype"]
                for _ in shape:
                    dtype = (dtype,)
                self.add_attribute(attribute(name=name, dtype=dtype, fget=zeros(shape), **lengths))
                self.set_change_event(name, True, False)
            threading.Thread(target=to_attributes, args=(exchanges, self), daemon=True).start()

    ready = threading.Thread(target=listen, args=({},), daemon=True)
    run(
        {"SDPQueueConnector": Bare},
        args=server_arguments("SDPQueueConnector", port, "test-sdp/queueconnector/01"),
        post_init_callback=ready.start,
    )


def zeros(shape: list[int]) -> Callable[[Any, Any], None]:
    def read(_device: Any, attr: Any) -> None:
        attr.set_value(np.zeros(shape))

    return read


def main() -> None:
    configuration = json.loads(Path(sys.argv[1]).read_text())["exchanges"]
    groups = configuration.values() if isinstance(configuration, dict) else [configuration]
    exchanges = [exchange for group in groups for exchange in group]
    kinds = {sources(exchanges[0])[0]["type"], exchanges[0]["sink"]["type"]}
    if "KafkaConsumerSource" not in kinds:
        listen({}, from_tango(exchanges))
    elif "KafkaProducerSink" in kinds:
        threading.Thread(target=between_topics, args=(exchanges[0],), daemon=True).start()
        listen({})
    else:
        serve_attributes(exchanges, sys.argv[2])


if __name__ == "__main__":
    main()
