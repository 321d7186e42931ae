"""What programs may import: it is all there, typed, and costs nothing until it is used."""

import subprocess
import sys

import pytest

import queue_connector as qc


@pytest.mark.parametrize("name", qc.__all__)
def test_what_is_exported_is_there_and_says_what_it_is(name):
    found = getattr(qc, name)
    assert found.__doc__
    assert name in dir(qc)


def test_the_version_is_that_of_the_distribution():
    assert qc.__version__[:1].isdigit()


def test_what_is_not_exported_is_not_there():
    with pytest.raises(AttributeError, match="Manager"):
        qc.Manager  # noqa: B018


def test_importing_the_package_imports_neither_tango_nor_kafka_nor_the_engine():
    code = (
        "import sys, queue_connector; "
        "print([n for n in ('tango', 'confluent_kafka', 'trio', 'numpy') if n in sys.modules])"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout == "[]\n"


class Numbers(qc.DataSource):
    """0, 1, 2, … up to a number."""

    def __init__(self, count):
        self._left = iter(range(count))

    async def start(self): ...

    async def stop(self): ...

    async def receive(self):
        for number in self._left:
            return number
        raise __import__("trio").EndOfChannel


class Shown(qc.DataSink):
    def __init__(self):
        self.values = []

    async def start(self): ...

    async def stop(self): ...

    async def awrite(self, value):
        if value == 13:
            raise qc.DataError("13 is never shown")
        self.values.append(value)


class Odd(qc.DataPipe):
    def apply(self, value):
        return value if value % 2 else None


async def test_an_exchange_is_made_of_ends_that_a_program_has_written():
    sink = Shown()
    exchange = qc.Exchange([Numbers(10)], sink, Odd(qc.DataSpec("int64")))
    await exchange.start()
    await exchange.run()
    await exchange.stop()
    await exchange.stop()
    assert sink.values == [1, 3, 5, 7, 9]
    assert (exchange.ledger.received, exchange.ledger.delivered, exchange.ledger.filtered) == (
        10,
        5,
        5,
    )


async def test_a_bad_datum_ends_it_after_the_good_ones_before():
    sinks = [Shown(), Shown()]
    async with qc.Exchange([Numbers(20)], sinks, name="mine") as exchange:
        with pytest.raises(qc.ExchangeError, match="mine: 13 is never shown"):
            await exchange.run()
    assert all(sink.values[:13] == list(range(13)) for sink in sinks)
    assert exchange.ledger.failed == 1
