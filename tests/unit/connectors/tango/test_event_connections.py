import contextlib
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

    def client(self):
        """Its ends of the connections for events and heartbeats, and ours of the first."""
        ends = []
        for listening in reversed(self._listening):
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
