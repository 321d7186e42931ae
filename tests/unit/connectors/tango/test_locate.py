import struct
from contextlib import suppress

import pytest
import trio

from queue_connector.connectors.tango.locate import (
    Address,
    DeviceName,
    address_of_ior,
    link,
    locate_request,
    reach,
)
from queue_connector.model.errors import EndpointError


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b/C", DeviceName("a/b/c", None, True)),
        ("tango://h:10/a/b/c", DeviceName("a/b/c", Address("h", 10), True)),
        ("//h:10/a/b/c#dbase=yes", DeviceName("a/b/c", Address("h", 10), True)),
        ("h:10/a/b/c.d#dbase=no", DeviceName("a/b/c.d", Address("h", 10), False)),
        ("tango://127.0.0.1:1/A/b/c#dbase=no", DeviceName("a/b/c", Address("127.0.0.1", 1), False)),
    ],
)
def test_a_name_tells_the_device_and_where_to_ask_for_it(name, expected):
    assert DeviceName.parse(name) == expected


def ior(order, host, port, tag=0):
    code = "<" if order else ">"

    def number(data, value, size=4):
        data += bytes(-len(data) % size)
        data += struct.pack(code + {2: "H", 4: "I"}[size], value)

    def octets(data, value):
        number(data, len(value))
        data += value

    profile = bytearray([order, 1, 2])
    octets(profile, host.encode() + b"\0")
    number(profile, port, 2)
    octets(profile, b"key")
    whole = bytearray([order])
    octets(whole, b"IDL:Tango/Device_5:1.0\0")
    number(whole, 2)
    number(whole, 7)
    octets(whole, b"another")
    number(whole, tag)
    octets(whole, bytes(profile))
    return "IOR:" + whole.hex()


@pytest.mark.parametrize("order", [0, 1])
def test_an_object_reference_tells_host_and_port(order):
    assert address_of_ior(ior(order, "10.0.0.7", 45450)) == Address("10.0.0.7", 45450)


@pytest.mark.parametrize(
    "text", ["", "nada", "IOR:00", "IOR:xyz", "IOR:" + "ff" * 20, ior(1, "h", 1, 3)]
)
def test_an_object_reference_without_an_address_is_an_error(text):
    with pytest.raises(EndpointError, match="no internet address"):
        address_of_ior(text)


REPLY = b"GIOP\x01\x00\x01\x04\x08\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00"


class Peer:
    """A peer on a socket; what it does with a connection is *behave*."""

    def __init__(self, nursery, behave):
        self._nursery, self._behave = nursery, behave

    async def start(self):
        [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self._nursery.start_soon(trio.serve_listeners, self._behave, [listener])
        return Address("127.0.0.1", listener.socket.getsockname()[1])


async def mute(stream):
    await trio.sleep_forever()


async def shuts(stream):
    await stream.aclose()


async def babbles(stream):
    await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n")
    await trio.sleep_forever()


async def answers(stream):
    with suppress(trio.ClosedResourceError):
        while data := await stream.receive_some(1000):
            assert data[7] == 3
            await stream.send_all(REPLY)


@pytest.mark.parametrize(
    ("behave", "reason"),
    [(mute, "no answer within 0.2 s"), (shuts, "closed the connection"), (babbles, "HTTP")],
)
async def test_who_is_no_living_server_is_told_apart(behave, reason):
    async with trio.open_nursery() as nursery:
        address = await Peer(nursery, behave).start()
        with trio.fail_after(2), pytest.raises(EndpointError, match=reason):
            await reach(address, "a/b/c", 0.2)
        nursery.cancel_scope.cancel()


async def test_nobody_listening_is_told_at_once():
    [listener] = await trio.open_tcp_listeners(0, host="127.0.0.1")
    address = Address("127.0.0.1", listener.socket.getsockname()[1])
    await listener.aclose()
    with trio.fail_after(2), pytest.raises(EndpointError, match="refused"):
        await reach(address, "a/b/c", 1.0)


async def test_a_server_that_answers_is_watched_until_it_goes():
    async with trio.open_nursery() as nursery:
        gone = trio.Event()

        async def until_gone(stream):
            nursery.start_soon(answers, stream)
            await gone.wait()
            await stream.aclose()

        address = await Peer(nursery, until_gone).start()
        with trio.fail_after(5):
            async with link(address, "a/b/c") as connection, trio.open_nursery() as watching:

                async def watch():
                    with pytest.raises(EndpointError, match="closed the connection"):
                        await connection.watch()

                watching.start_soon(watch)
                for _ in range(3):
                    await connection.ask()
                gone.set()
        nursery.cancel_scope.cancel()


def test_the_question_is_a_locate_request():
    message = locate_request(7, "a/b/c")
    assert message[:8] == b"GIOP\x01\x00\x01\x03"
    assert struct.unpack("<III", message[8:20]) == (13, 7, 5)
    assert message[20:] == b"a/b/c"


@pytest.mark.parametrize("host", ["nowhere.invalid", "a" * 70 + ".b", ".."])
async def test_a_host_that_is_none_is_told(host):
    with trio.fail_after(10), pytest.raises(EndpointError):
        await reach(Address(host, 1), "a/b/c", 5.0)


async def test_a_port_beyond_all_ports_is_told():
    with trio.fail_after(2), pytest.raises(EndpointError):
        await reach(Address("127.0.0.1", 99_999), "a/b/c", 1.0)
