"""The cells of the matrix with a Tango device in them, each in a process of its own.

What is refused among them is tested in ``tests/contract/test_matrix.py``.
"""

import json
import logging
import math
import threading
import time
from collections import defaultdict

import attrs
import numpy as np
import tango
import trio
from confluent_kafka import Producer

from queue_connector.codecs import codec_for
from queue_connector.configuration import document
from queue_connector.connectors.memory.sink import InMemorySink
from queue_connector.demo.embedded_broker import embedded_broker
from queue_connector.engine.exchange import Exchange
from queue_connector.model.ledger import Ledger
from tests.device.connector import connector
from tests.device.dish_device import DISHES
from tests.device.servers import server
from tests.support import matrix
from tests.support.matrix import as_json, identical, values
from tests.support.waiting import eventually

CELLS = [cell for cell in matrix.cells() if not cell.refused]
AT_ONCE = 8
"""Attributes of the other device that are used at a time."""

log = logging.getLogger(__name__)


def of(route):
    return [cell for cell in CELLS if cell.route == route]


def same(found, expected):
    """Whether a client of Tango got the value, exactly; Tango tells no lengths of what is empty."""
    if not isinstance(expected, np.ndarray):
        if isinstance(expected, np.generic):
            kind = {"b": bool, "f": float}.get(expected.dtype.kind, int)
            return type(found) is kind and identical(expected.dtype.type(found), expected)
        return type(found) is type(expected) and found == expected
    if not expected.size:
        return found is None or np.size(found) == 0
    if expected.dtype.kind == "U":
        return np.array(found, "U").tolist() == expected.tolist()
    return identical(found, expected)


def exchange_of(cell, data=(), **where):
    """The exchange of a cell, not started; bytes are put in, since JSON cannot write them."""
    in_json = [as_json(value) for value in data if cell.row.in_json]
    [descriptor] = document.parse(
        matrix.text(matrix.configuration(cell, in_json, **where))
    ).exchanges
    if data and not cell.row.in_json:
        source = attrs.evolve(descriptor.source, data=list(data))
        descriptor = attrs.evolve(descriptor, source=source)
    return Exchange.build(str(cell), descriptor, Ledger(), None, log)


def attribute_of(cell):
    form = ("SCALAR", "SPECTRUM", "IMAGE")[len(cell.lengths)]
    return f"{cell.row.tango}_{form}"


async def ask(device, *message):
    return await trio.to_thread.run_sync(device.ask, *message)


async def each(cells, carry):
    """Carry cells, those of one attribute after another; gives what is wrong."""
    wrong, limit = [], trio.CapacityLimiter(AT_ONCE)
    by_attribute = defaultdict(list)
    for cell in cells:
        by_attribute[attribute_of(cell)].append(cell)

    async def line(those):
        async with limit:
            for cell in those:
                if found := await carry(cell):
                    wrong.append(f"{cell}: {found}"[:1000])

    async with trio.open_nursery() as nursery:
        for those in by_attribute.values():
            nursery.start_soon(line, those)
    return wrong


# -- from and to attributes of another device ------------------------------------------------------


async def test_subscriptions_carry_events_and_the_current_value():
    async def carry(cell):
        name, sent = attribute_of(cell), values(cell)
        arrived = InMemorySink.data(cell.key)
        arrived.clear()

        async def send(value):
            plain = value.tolist() if cell.row.column == "str" and cell.lengths else value
            plain = plain.item() if isinstance(plain, np.generic) else plain
            await ask(device, name, plain)

        async def arrival(count):
            with trio.move_on_after(15):
                while not (  # noqa: ASYNC110
                    exchange.ledger.delivered >= count and identical(arrived[-1], sent[count - 1])
                ):
                    await trio.sleep(0.005)

        await send(sent[0])
        exchange = exchange_of(cell, device=device.device_name, attribute=name)
        async with exchange, trio.open_nursery() as nursery:
            nursery.start_soon(exchange.run)
            await arrival(1)
            for value in sent[1:]:
                await send(value)
            await arrival(len(sent))
            exchange.request_stop()
        # The event of what was sent first may come, too, beside what is read at the subscription.
        twice = len(arrived) == len(sent) + 1 and identical(*arrived[:2])
        found = arrived[twice:]
        if len(found) == len(sent) and all(map(identical, found, sent)):
            return ""
        return f"found {arrived!r}, expected {sent!r}"

    with server("tests.device.source_device") as device, trio.fail_after(100):
        wrong = await each(of(matrix.SUBSCRIPTION), carry)
    assert not wrong, "\n".join(wrong)


async def test_attributes_of_another_device_are_written():
    async def carry(cell):
        name, sent = attribute_of(cell), values(cell)
        exchange = exchange_of(cell, sent, device=device.device_name, attribute=name)
        async with exchange:
            await exchange.run()
        written = await ask(device, "written", name)
        if len(written) == len(sent) and all(map(same, written, sent)):
            return ""
        return f"found {written!r}, expected {sent!r}"

    with server("tests.device.target_device") as device, trio.fail_after(100):
        wrong = await each(of(matrix.REMOTE), carry)
    assert not wrong, "\n".join(wrong)


# -- to attributes of the connector ----------------------------------------------------------------


class Client:
    """Subscriptions of a Tango client, and what came of each."""

    def __init__(self, proxy):
        self.arrived = defaultdict(list)
        self._proxy = proxy
        self._lock = threading.Condition()
        self._ids = []

    def subscribe(self, name):
        def push(event):
            with self._lock:
                if not event.err:
                    value = event.attr_value.value
                    value = value.copy() if isinstance(value, np.ndarray) else value
                    self.arrived[name].append(value)
                    self._lock.notify_all()

        kind = tango.EventType.CHANGE_EVENT
        self._ids.append(self._proxy.subscribe_event(name, kind, push))

    def wait(self, counts, timeout):
        with self._lock:
            self._lock.wait_for(
                lambda: all(len(self.arrived[name]) >= n for name, n in counts.items()), timeout
            )

    def close(self):
        for number in self._ids:
            self._proxy.unsubscribe_event(number)


def test_attributes_are_published_as_events_and_read(tmp_path):
    cells = of(matrix.LOCAL)
    sent = {cell.key: values(cell) for cell in cells}
    with embedded_broker([cell.key for cell in cells]) as servers:
        exchanges = [matrix.configuration(cell, [], servers=servers)[0] for cell in cells]
        with connector(tmp_path, {"exchanges": exchanges}) as running:
            proxy = running.proxy()
            eventually(lambda: str(proxy.State()) == "ON", 60)
            client = Client(proxy)
            try:
                for cell in cells:
                    client.subscribe(cell.key)
                time.sleep(0.5)  # Tango loses what is pushed before the connection is made
                producer = Producer({"bootstrap.servers": servers, "log_level": 0})
                for cell in cells:
                    spec = document.parse(matrix.text([exchanges[cells.index(cell)]]))
                    codec = codec_for(cell.encoding, spec.exchanges[0].spec)
                    for value in sent[cell.key]:
                        payload = codec.encode(value, spec.exchanges[0].spec)
                        producer.produce(cell.key, payload, partition=0)
                assert producer.flush(20) == 0
                client.wait({key: len(data) + 1 for key, data in sent.items()}, 30)
            finally:
                client.close()
            readings = dict(zip(sent, proxy.read_attributes(list(sent)), strict=True))
    wrong = []
    for cell in cells:
        wanted, (_default, *found) = sent[cell.key], client.arrived[cell.key]
        if len(found) != len(wanted) or not all(map(same, found, wanted)):
            wrong.append(f"{cell}: events {found!r}, expected {wanted!r}"[:1000])
        if not same(readings[cell.key].value, wanted[-1]):
            wrong.append(f"{cell}: read {readings[cell.key].value!r}, expected {wanted[-1]!r}")
        if str(readings[cell.key].type) != cell.row.tango:
            wrong.append(f"{cell}: is of type {readings[cell.key].type}")
    assert not wrong, "\n".join(wrong)


def array_parts(cell, value, name):
    """The exchange that scatters one array, and what each attribute must show."""
    [exchange] = matrix.configuration(cell, [as_json(value)], attribute=name)
    parts = {}
    for number, part in enumerate(value):
        lost = part if part.ndim == 0 else part.reshape(-1)
        parts[f"{name}_{number}"] = str(lost) if isinstance(part, np.str_) else lost
    return exchange, parts


FIELDS = {
    "struct": ("x", "float64"),
    "nested struct": ("id", "int16"),
    "pointing": ("az", "float64"),
}
PATHS = {0: "{}", 1: "[*].{}", 2: "[*][*].{}", 3: "[*][*][0].{}"}
ROOM = [4, 4]
"""Lengths of attributes that show what has no more."""

OBJECT_PARTS = [
    (0, "a[0]", "float64", 1.5),
    (0, "a[2]", "bool", True),
    (0, "n", "float64", math.nan),
    (0, "b.c", "int8", -1),
    (0, "missing", "float64", 0.0),
    (3, "[0]", "int64", -(2**63)),
    (3, "[1]", "uint64", 2**64 - 1),
    (3, "[2]", "float64", -0.0),
    (3, "[3]", "float32", math.inf),
    (3, "[4]", "float64", 5e-324),
    (4, "@", "str", "text"),
    (5, "@", "int32", 0),
]
"""Datum, path and dtype of a part of an object, and what it shows: the default where it is null."""


def object_parts(cell, value, name):
    """The exchange that scatters one datum, and what each attribute must show."""
    if cell.row.column == "object":
        index = matrix.OBJECTS.index(value)
        parts = [
            (f"{name}_{number}", path, "int16" if dtype == "int8" else dtype, shown)
            for number, (datum, path, dtype, shown) in enumerate(OBJECT_PARTS)
            if datum == index
        ]
        shown = {
            part: known if dtype == "str" else np.dtype(dtype).type(known)
            for part, _, dtype, known in parts
        }
        attributes = [{"attribute_name": p, "dtype": d, "path": path} for p, path, d, _ in parts]
        if not parts:  # an empty object or list
            attributes, shown = [{"attribute_name": name, "dtype": "str", "path": "a"}], {name: ""}
    else:
        field, dtype = FIELDS.get(cell.row.name, ("", cell.row.written))
        known = value[field] if field else value
        path = PATHS[len(cell.lengths)].format(field) if field else "@"
        if known.ndim == 3:
            known = known[:, :, 0] if field else known.reshape(2, 3)
            path = path if field else "[]"
        if dtype == "int8":  # Tango has none
            dtype, known = "int16", known.astype("int16")
        attribute = {"attribute_name": name, "dtype": dtype, "path": path}
        attribute["shape"] = ROOM[: known.ndim]
        if cell.row.labels:
            attribute["labels"] = list(cell.row.labels)
        attributes, shown = [attribute], {name: known}
    [exchange] = matrix.configuration(cell, [as_json(value)], attributes=attributes)
    return exchange, shown


def test_scattered_parts_are_published(tmp_path):
    exchanges, wanted, cell_of = [], {}, {}
    for route, parts_of in (
        (matrix.ARRAY_SCATTER, array_parts),
        (matrix.OBJECT_SCATTER, object_parts),
    ):
        for cell in of(route):
            for number, value in enumerate(values(cell)):
                exchange, parts = parts_of(cell, value, f"{cell.key}_{number}")
                exchanges.append(exchange)
                wanted.update(parts)
                cell_of.update(dict.fromkeys(parts, cell))
    assert set(cell_of.values()) == {*of(matrix.ARRAY_SCATTER), *of(matrix.OBJECT_SCATTER)}
    with connector(tmp_path, {"exchanges": exchanges}) as running:
        proxy = running.proxy()
        proxy.set_timeout_millis(30_000)
        eventually(lambda: str(proxy.State()) == "OFF", 60)
        assert "FAULT" not in json.dumps(running.groups())
        assert {entry["failed"] for entry in running.statistics().values()} == {0}
        names = list(wanted)
        readings = {}
        for first in range(0, len(names), 100):
            some = names[first : first + 100]
            readings.update(zip(some, proxy.read_attributes(some), strict=True))
    wrong = []
    for name, expected in wanted.items():
        found = readings[name].value
        if not same(found, expected):
            wrong.append(f"{cell_of[name]}, {name}: found {found!r}, expected {expected!r}")
    assert not wrong, "\n".join(wrong)


# -- pointings -------------------------------------------------------------------------------------

EVENTS = [
    ((0.0, math.nan, -0.0), "2000-01-01T00:00:00"),
    ((-86400.5, math.inf, 5e-324), "1999-12-30T23:59:59.5"),
    ((math.nan, -math.inf, 0.1), "NaT"),
    ((536500836.25, 180.5, 90.0), "2016-12-31T12:00:36.25"),
]  # fmt: skip


async def test_pointings_become_structs():
    [cell] = of(matrix.POINTINGS)
    dish, name = next(iter(DISHES.items()))
    arrived = InMemorySink.data(cell.key)
    arrived.clear()
    with server("tests.device.dish_device", dish) as device, trio.fail_after(60):
        await ask(device, *EVENTS[0][0])
        exchange = exchange_of(cell, device=device.device_name, attribute="achievedPointing")
        async with exchange, trio.open_nursery() as nursery:
            nursery.start_soon(exchange.run)
            for count, (pointing, _) in enumerate(EVENTS):
                if count:
                    await ask(device, *pointing)
                while exchange.ledger.delivered <= count:  # noqa: ASYNC110
                    await trio.sleep(0.005)
            exchange.request_stop()
    expected = np.array(
        [(name, time, az, el) for (_, az, el), time in EVENTS], cell.row.numpy
    )  # fmt: skip
    assert len(arrived) == len(expected)
    for found, wanted in zip(arrived, expected, strict=True):
        assert identical(found, wanted), (found, wanted)


def test_every_route_is_carried_by_some_test():
    here = {
        matrix.LOCAL, matrix.SUBSCRIPTION, matrix.REMOTE, matrix.ARRAY_SCATTER,
        matrix.OBJECT_SCATTER, matrix.POINTINGS,
    }  # fmt: skip
    assert here | {matrix.MEMORY, matrix.PIPED, matrix.KAFKA} == set(matrix.ROUTES)
