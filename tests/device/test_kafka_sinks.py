"""The device with many Kafka sinks, while their broker is hurt."""

import json
import signal
import time

import psutil
import tango

from queue_connector.demo.embedded_broker import embedded_broker
from tests.device.connector import connector
from tests.services.process import freeze
from tests.support.waiting import eventually

SINKS = 20


def writing(servers):
    """Exchanges that write as fast as they can."""
    return {
        f"g{number}": [
            {
                "dtype": "int64",
                "source": {"type": "InMemorySource", "data": [1] * 12_000},
                "sink": {"type": "KafkaProducerSink", "servers": servers, "topic": f"t{number}"},
            }
        ]
        for number in range(SINKS)
    }


def test_an_abort_with_full_windows_at_a_frozen_broker_is_prompt(tmp_path):
    before = set(psutil.Process().children())
    with embedded_broker([f"t{number}" for number in range(SINKS)]) as servers:
        (broker,) = set(psutil.Process().children()) - before
        freeze(broker.pid)
        with connector(tmp_path, {"exchanges": writing(servers)}) as running:
            proxy = running.proxy()
            eventually(
                lambda: all(
                    group["in_flight"] >= 10_000 for group in json.loads(proxy.statistics).values()
                )
            )
            threads, _ = running.resources()
            assert threads < 40
            began = time.monotonic()
            proxy.Abort()
            assert proxy.State() == tango.DevState.OFF
            proxy.Start()
            eventually(lambda: proxy.State() == tango.DevState.ON)
            proxy.Abort()
            assert time.monotonic() - began < 8
            began = time.monotonic()
            running.signal(signal.SIGINT)
            assert running.wait() == 0
            assert time.monotonic() - began < 5
        broker.resume()
