"""What streams cost the process, counted and not timed: the same for any number of them.

Threads, connections to the broker and wake-ups of threads are counted by the kernel, so that
whatever is made anew for each stream or each datum, in whatever library, shows here.
"""

import time
from contextlib import suppress
from pathlib import Path

import attrs
import psutil
import pytest
from confluent_kafka import Producer

from queue_connector.demo.embedded_broker import embedded_broker
from tests.device.connector import connector
from tests.support.waiting import eventually

DATA = 1000
"""Messages, over all topics."""


@attrs.frozen
class Work:
    """What the process has, and how often a thread of it has been woken."""

    threads: int
    connections: int
    woken: int

    @classmethod
    def of(cls, pid):
        process = psutil.Process(pid)
        woken = 0
        for task in Path(f"/proc/{pid}/task").iterdir():
            with suppress(FileNotFoundError, ProcessLookupError):  # it has ended since
                for line in (task / "status").read_text().splitlines():
                    if line.startswith("voluntary_ctxt_switches"):
                        woken += int(line.split()[1])
        connections = [each for each in process.net_connections("tcp") if each.raddr]
        return cls(process.num_threads(), len(connections), woken)


def exchanges(servers, count):
    for number in range(count):
        yield {
            "dtype": "int64",
            "source": {
                "type": "KafkaConsumerSource",
                "servers": servers,
                "topic": f"in-{number}",
                "encoding": "json",
                "start": "earliest",
            },
            "sink": {
                "type": "TangoLocalAttributeSink",
                "attribute_name": f"value_{number}",
                "default_value": 0,
            },
        }
        yield {
            "dtype": "int64",
            "source": {"type": "InMemorySource", "data": [number]},
            "sink": {"type": "KafkaProducerSink", "servers": servers, "topic": f"out-{number}"},
        }


def delivered(running):
    return sum(each["delivered"] for each in running.statistics().values())


def woken_at_rest(pid, *, windows=3, seconds=2.0):
    """Wake-ups in a second of each window, the quietest first.

    A start brings about work of its own for a while, and for how long nobody can ask; what a
    stream at rest costs is there in every window.
    """
    found = []
    for _ in range(windows):
        before = Work.of(pid).woken
        time.sleep(seconds)
        found.append((Work.of(pid).woken - before) / seconds)
    return sorted(found)


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Streams each way → the work at rest; what a second of rest wakes, and what all data wake."""
    found = {}
    for count in (1, 20, 100):
        topics = [f"{way}-{number}" for number in range(count) for way in ("in", "out")]
        directory = tmp_path_factory.mktemp(f"of-{count}")
        with (
            embedded_broker(topics) as servers,
            connector(directory, {"exchanges": list(exchanges(servers, count))}) as running,
        ):
            eventually(lambda: delivered(running) == count, 30)  # noqa: B023
            calm = woken_at_rest(running.pid)[0]
            rest = Work.of(running.pid)
            producer = Producer({"bootstrap.servers": servers, "linger.ms": 5})
            for number in range(DATA):
                producer.produce(f"in-{number % count}", b"1")
            producer.flush(10)
            del producer
            while delivered(running) < count + DATA:
                time.sleep(0.1)  # asking wakes threads too
            after = Work.of(running.pid)
            found[count] = (rest, calm, after.woken - rest.woken)
    return found


@pytest.mark.parametrize("count", [20, 100])
def test_threads_and_connections_are_those_of_one_stream(measured, count):
    (one, _, _), (many, _, _) = measured[1], measured[count]
    assert many.threads <= one.threads + 2
    assert many.threads <= 40
    assert many.connections <= one.connections + 2


@pytest.mark.parametrize("count", [20, 100])
def test_streams_at_rest_wake_nobody(measured, count):
    (_, one, _), (_, many, _) = measured[1], measured[count]
    assert many <= 1.5 * one + 60


def test_a_look_at_the_topics_wakes_hardly_anybody(tmp_path):
    with (
        embedded_broker(["in-0", "out-0"]) as servers,
        connector(tmp_path, {"exchanges": list(exchanges(servers, 1))}) as running,
    ):
        eventually(lambda: delivered(running) == 1, 30)
        woken_at_rest(running.pid)
        windows = woken_at_rest(running.pid, windows=8, seconds=0.5)  # two of them with a look
        assert windows[-2] <= 2 * windows[0] + 60


@pytest.mark.parametrize("count", [20, 100])
def test_data_wake_no_more_threads_however_many_streams_they_go_by(measured, count):
    (_, _, woken) = measured[count]
    assert woken < DATA / 2
