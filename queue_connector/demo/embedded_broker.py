"""A Kafka broker for demonstrations and tests: librdkafka's mock cluster, in a process of its own.

* run       ``python -m queue_connector.demo.embedded_broker [--topics a,b] [--brokers N]``; from
  Python `embedded_broker`, a context manager that yields the bootstrap servers
* output    one JSON line, ``{"bootstrap_servers": "127.0.0.1:PORT"}``, once clients can connect
* life      until stdin ends, SIGTERM or SIGINT; exit status 0. A parent that dies, by whatever
  means, closes the pipe and so takes the broker with it
* network   listens on loopback, on ports that the system chooses
* topics    made by the first producer that asks for one, always with 4 partitions; a consumer that
  asks first is told that the topic is unknown until a producer has come
* limits    a partition keeps its latest 5 MiB in memory. A message of more than half of that, sent
  to a partition that is not empty, is acknowledged and lost together with all that was kept.
  No admin requests, no look-up by time. An idle fetch sleeps for the whole of the consumer's
  ``fetch.wait.max.ms``: 10 gives a latency of 7 ms, the default of 500 gives 490 ms
* source    librdkafka, CONFIGURATION.md, ``test.mock.num.brokers``; the limits were measured
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import IO

from confluent_kafka import Producer

_METADATA_TIMEOUT = 10.0  # s; all within one process, so milliseconds are usual


class EmbeddedBrokerError(RuntimeError):
    """The broker's process did not come up."""


@contextlib.contextmanager
def embedded_broker(
    topics: Iterable[str] = (),
    *,
    brokers: int = 1,
    start_timeout: float = 20.0,
    stop_timeout: float = 5.0,
) -> Iterator[str]:
    """Run the broker as a child process and yield its bootstrap servers.

    *topics* exist before the first client comes. Times are in seconds; a child that has not gone
    *stop_timeout* after its stdin was closed is killed.
    """
    command = [sys.executable, "-m", "queue_connector.demo.embedded_broker", f"--brokers={brokers}"]
    if names := ",".join(topics):
        command.append(f"--topics={names}")
    # A session of its own: Ctrl-C in a terminal goes to the parent, who ends the broker last.
    process = subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield _read_address(process.stdout, start_timeout)
    finally:
        process.stdin.close()
        try:
            process.wait(stop_timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        finally:
            process.stdout.close()


def _read_address(stdout: IO[bytes], timeout: float) -> str:
    readable, _, _ = select.select([stdout], [], [], timeout)
    if not readable:
        raise EmbeddedBrokerError(f"the embedded broker gave no address within {timeout:g} s")
    line = stdout.readline()
    if not line:
        raise EmbeddedBrokerError("the embedded broker ended at once; its stderr says why")
    return str(json.loads(line)["bootstrap_servers"])


def main(argv: Sequence[str] | None = None) -> int:
    """Serve until stdin ends or a signal asks to stop; return the exit status."""
    arguments = _parse(argv)
    with _stop_signals() as stop_socket:
        host = Producer(
            {
                "bootstrap.servers": "127.0.0.1",  # replaced by the mock cluster's own addresses
                "test.mock.num.brokers": arguments.brokers,
                "log_level": 4,  # warnings
            }
        )
        print(json.dumps({"bootstrap_servers": _prepare(host, arguments.topics)}), flush=True)
        _wait(stop_socket)
        del host  # closes the listeners and every connection
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m queue_connector.demo.embedded_broker",
        description="A Kafka broker in memory, for demonstrations and tests. "
        "Prints its address as JSON; ends with its stdin, SIGTERM or SIGINT.",
    )
    parser.add_argument(
        "--topics",
        default=(),
        type=lambda text: tuple(name.strip() for name in text.split(",") if name.strip()),
        metavar="A,B",
        help="topics to make at once (others are made when a producer first asks)",
    )
    parser.add_argument(
        "--brokers",
        default=1,
        type=int,
        choices=range(1, 10),
        metavar="N",
        help="number of brokers, 1 to 9 (default %(default)s)",
    )
    return parser.parse_args(argv)


def _prepare(host: Producer, topics: Iterable[str]) -> str:
    """Make *topics* and return the addresses of all brokers."""
    for topic in topics:
        host.list_topics(topic, timeout=_METADATA_TIMEOUT)  # asking as a producer makes it
    brokers = host.list_topics(timeout=_METADATA_TIMEOUT).brokers
    return ",".join(f"{brokers[key].host}:{brokers[key].port}" for key in sorted(brokers))


@contextlib.contextmanager
def _stop_signals() -> Iterator[socket.socket]:
    """Yield a socket that turns readable when SIGTERM or SIGINT arrives, even before a wait."""
    receiver, sender = socket.socketpair()
    with receiver, sender:
        sender.setblocking(False)
        previous_fd = signal.set_wakeup_fd(sender.fileno())
        previous = {
            number: signal.signal(number, lambda *_: None)
            for number in (signal.SIGTERM, signal.SIGINT)
        }
        try:
            yield receiver
        finally:
            for number, handler in previous.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(previous_fd)


def _wait(stop_socket: socket.socket) -> None:
    """Return when stdin has ended or *stop_socket* is readable; input is read and ignored."""
    stdin, stop = 0, stop_socket.fileno()
    while True:
        readable, _, _ = select.select([stdin, stop], [], [])
        if stop in readable or not os.read(stdin, 4096):
            return


if __name__ == "__main__":
    sys.exit(main())
