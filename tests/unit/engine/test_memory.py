"""What an exchange keeps of data: counted by what is alive, while nobody collects garbage."""

import gc
import weakref
from typing import ClassVar

import numpy as np
import pytest
import trio

from queue_connector.codecs import codec_for
from queue_connector.connectors.errors.skip import SkipPolicy
from queue_connector.engine.window import MOST_BYTES
from queue_connector.model.conform import conform_batch
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.errors import DataError
from queue_connector.model.ledger import Batch
from queue_connector.model.stream import DataPipe, DataSink, DataSource
from queue_connector.testing.endpoints import exchange
from tests.unit.engine.test_exchange import run

DATA = 60


class Arrays(DataSource):
    """Arrays of *size* bytes; ``most`` is how many were alive together."""

    def __init__(self, size):
        self.most = 0
        self._size = size
        self._made = []

    @property
    def alive(self):
        return sum(made() is not None for made in self._made)

    async def start(self):
        await trio.lowlevel.checkpoint()

    async def stop(self):
        await trio.lowlevel.checkpoint()

    async def receive(self):
        raise NotImplementedError

    async def receive_batch(self):
        await trio.lowlevel.checkpoint()
        if len(self._made) == DATA:
            raise trio.EndOfChannel
        value = np.zeros(self._size, np.uint8)  # no memory until it is written
        self._made.append(weakref.ref(value))
        self.most = max(self.most, self.alive)
        return Batch([value], size=self._size)


class Later(DataSink):
    """Accepts each delivery a second after it was begun, and keeps nothing."""

    async def start(self):
        await trio.lowlevel.checkpoint()

    async def stop(self):
        await trio.lowlevel.checkpoint()

    async def awrite(self, value):
        raise NotImplementedError

    async def begin(self, delivery):
        await trio.lowlevel.checkpoint()
        trio.lowlevel.spawn_system_task(self._accept, delivery)

    async def _accept(self, delivery):
        await trio.sleep(1)
        delivery.accept_all()


class Same(DataPipe):
    """Hands on what it is given, in a task of its own."""

    def apply(self, value):
        return value


@pytest.fixture
def no_collection():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def test_what_is_settled_is_let_go_at_once(no_collection, autojump_clock):
    source = Arrays(size=1)
    await run(exchange([source], [Later()]))
    assert source.most == DATA, "they were not under way together"
    assert source.alive == 0


@pytest.mark.parametrize("piped", [False, True])
async def test_of_large_data_few_are_there(piped, no_collection, autojump_clock):
    source = Arrays(size=MOST_BYTES * 3 // 4)
    pipe = Same(DataSpec("uint8", (-1,))) if piped else None
    await run(exchange([source], [Later(), Later()], pipe))
    assert source.most <= (4 if piped else 2)


class Bad(DataError):
    """What an end or a pipe of a test finds wrong, with the datum."""

    found: ClassVar[list[weakref.ref]] = []

    def __init__(self, value):
        super().__init__("bad")
        self.value = value
        self.found.append(weakref.ref(self))


class Picky(DataPipe):
    """Refuses every datum."""

    def apply(self, value):
        raise Bad(value)


class PickySink(Later):
    """Refuses every datum, one after the other."""

    async def awrite(self, value):
        await trio.lowlevel.checkpoint()
        raise Bad(value)

    begin = DataSink.begin


class PickySource(Arrays):
    """Raises for every datum."""

    async def receive_batch(self):
        raise Bad((await super().receive_batch()).values[0])


@pytest.mark.parametrize("where", ["source", "pipe", "sink"])
async def test_bad_data_are_let_go_with_their_errors(where, no_collection, autojump_clock):
    Bad.found.clear()
    source = (PickySource if where == "source" else Arrays)(size=1)
    pipe = Picky(DataSpec("uint8", (-1,))) if where == "pipe" else None
    sink = PickySink() if where == "sink" else Later()
    stream = exchange([source], [sink], pipe, policy=SkipPolicy())
    await run(stream)
    assert stream.ledger.skipped == len(Bad.found) == DATA
    assert sum(error() is not None for error in Bad.found) <= 1  # the one that pytest has logged
    assert source.alive <= 1


@pytest.mark.parametrize("batch", [1, 3])
def test_payloads_that_cannot_be_decoded_are_let_go(batch, no_collection):
    spec = DataSpec("float64")
    found = [
        weakref.ref(each) for each in codec_for("json", spec).decode_batch([b"?"] * batch, spec)
    ]
    assert [error() for error in found] == [None] * batch


def test_values_that_do_not_fit_are_let_go(no_collection):
    found = [weakref.ref(each) for each in conform_batch(["a", "b"], DataSpec("float64"))]
    assert [error() for error in found] == [None, None]
