import contextlib
import itertools
import os
import socket
import sys
import time

import pytest

from queue_connector.connectors.tango.event_connections import APART, EventConnections, Ports

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what the kernel tells")


class Publisher:
    """A server's two sockets, and clients that have connected to both."""

    def __init__(self, stack):
        self._stack = stack
        servers = [socket.create_server(("127.0.0.1", 0)) for _ in ("events", "heartbeats")]
        self._listening = [stack.enter_context(server) for server in servers]
        self.ports = Ports(*(listening.getsockname()[1] for listening in self._listening))
        self.connections = EventConnections(lambda: self.ports)

    def client(self, after_a_look=True, on=()):
        """Its ends of the connections for events and heartbeats, and ours of the first.

        The processors to connect *on* are those of the heartbeats and of the events.
        """
        if after_a_look:
            self.look()
        ends = []
        for listening, processor in itertools.zip_longest(reversed(self._listening), on):
            if processor is not None:
                os.sched_setaffinity(0, {processor})
            theirs = self._stack.enter_context(socket.create_connection(listening.getsockname()))
            ours = self._stack.enter_context(listening.accept()[0])
            ours.setblocking(False)
            ends = [theirs, *ends]
        return *ends, ours

    def look(self):
        time.sleep(APART)  # that looks are apart is what the time is for
        self.connections.look()


@pytest.fixture
def publisher():
    with contextlib.ExitStack() as stack:
        yield Publisher(stack)


def fill(connection):
    with contextlib.suppress(BlockingIOError):
        while True:
            connection.send(bytes(1 << 16))


def drain(client):
    client.settimeout(0.1)
    with contextlib.suppress(TimeoutError):
        while client.recv(1 << 20):
            pass


def gone(connection):
    connection.settimeout(0.1)
    try:
        while connection.recv(1 << 20):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True


def test_who_takes_nothing_is_slow_and_who_takes_it_again_is_not(publisher):
    client, _, ours = publisher.client()
    _, _, other = publisher.client()
    other.send(b"little")
    fill(ours)
    publisher.look()
    assert publisher.connections.slow() == []  # seen once only
    publisher.look()
    (slow,) = publisher.connections.slow()
    assert slow.peer == "{}:{}".format(*client.getsockname())
    drain(client)
    publisher.look()
    assert publisher.connections.slow() == []


def test_who_takes_a_great_deal_is_not_slow_though_its_queue_is_always_full(publisher):
    client, _, ours = publisher.client()
    for _ in range(3):
        fill(ours)
        publisher.look()
        drain(client)
        fill(ours)
    assert publisher.connections.slow() == []


def test_the_slowest_is_cut_off_with_its_heartbeats_and_nobody_else(publisher):
    clients = [publisher.client() for _ in range(3)]
    fill(clients[1][2])
    publisher.look()
    time.sleep(APART)
    cut = publisher.connections.cut_slowest()
    assert cut == "{}:{}".format(*clients[1][0].getsockname())
    assert [(gone(events), gone(heartbeats)) for events, heartbeats, _ in clients] == [
        (False, False),
        (True, True),
        (False, False),
    ]
    assert publisher.connections.cut == 1
    time.sleep(APART)
    assert publisher.connections.cut_slowest() is None


def test_the_heartbeats_are_found_wherever_the_kernel_has_made_their_socket(publisher):
    """Linux numbers sockets by CPU: a stranger's may be nearer to the one for events."""
    processors = os.sched_getaffinity(0)
    try:
        ends = []
        for _ in range(2):
            ends.append(publisher.client(on=[min(processors), max(processors)]))
            ends.append(publisher.client(on=[max(processors), min(processors)]))
    finally:
        os.sched_setaffinity(0, processors)
    for doomed in ends:
        fill(doomed[2])
        publisher.look()
        time.sleep(APART)
        assert publisher.connections.cut_slowest() is not None
        assert gone(doomed[0])
        assert gone(doomed[1])
    assert publisher.connections.cut == len(ends)


def test_who_came_at_the_same_time_loses_its_heartbeats_too_and_no_events(publisher):
    early = publisher.client()
    first, second = publisher.client(), publisher.client(after_a_look=False)
    late = publisher.client()
    fill(first[2])
    publisher.look()
    time.sleep(APART)
    assert publisher.connections.cut_slowest() is not None
    assert [gone(connection) for connection in (*first[:2], *second[:2])] == [
        True,
        True,
        False,
        True,
    ]
    assert not any(gone(connection) for connection in (*early[:2], *late[:2]))


def test_nobody_is_judged_by_two_looks_at_once(publisher):
    fill(publisher.client()[2])
    publisher.look()
    assert publisher.connections.cut_slowest() is None


def test_a_connection_that_was_closed_is_forgotten(publisher):
    client, _, ours = publisher.client()
    fill(ours)
    publisher.look()
    publisher.look()
    ours.close()
    publisher.look()
    assert publisher.connections.slow() == []
    assert gone(client)


def test_nothing_is_looked_at_before_there_are_ports(publisher):
    _, _, ours = publisher.client()
    fill(ours)
    connections = EventConnections(lambda: None)
    connections.look()
    connections.look()
    assert connections.slow() == []
