"""What sources, sinks, pipes and encodings owe, as tests: inherit a class, and say what to test.

Each runs Trio by itself, on a virtual clock: a source that sleeps for an hour takes no time, and a
`Worker` takes the time that it takes. What waits for a network or for a process needs tests of its
own beside these.
"""

from __future__ import annotations

import abc
import random
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import numpy as np
import trio

from ..codecs import Codec
from ..engine.exchange import Exchange
from ..model.conform import conform
from ..model.datatypes import Data, DataSpec
from ..model.delivery import Delivery
from ..model.errors import DecodeError
from ..model.stream import STOP_GRACE, DataPipe, DataSink, DataSource, Endpoint
from .checkpoints import cancel_at_every_step
from .clock import run_on_virtual_clock
from .endpoints import Keeper, Numbers, Recorded

MUTATIONS = 2000
"""Broken payloads that each sample of an encoding is tried with."""


def run(function: Callable[[], Awaitable[None]]) -> None:
    """Run an async test on a virtual clock, for an hour of it at most."""

    async def bounded() -> None:
        with trio.fail_after(3600):
            await function()

    run_on_virtual_clock(bounded)


def same(one: Any, other: Any) -> bool:
    """Whether two data are equal, NaN being equal to itself."""
    if isinstance(one, np.ndarray | np.generic) or isinstance(other, np.ndarray | np.generic):
        return bool(np.array_equal(one, other)) or repr(one) == repr(other)
    return bool(one == other) or repr(one) == repr(other)


class CodecContract(abc.ABC):
    """An encoding: what is written is read again, and whatever comes in is a value or refused."""

    @abc.abstractmethod
    def codec(self) -> Codec:
        """The encoding."""

    @abc.abstractmethod
    def samples(self) -> Sequence[tuple[DataSpec, Data]]:
        """Data that it carries, each with its dtype and shape."""

    def test_decoding_undoes_encoding(self) -> None:
        """What is written is read again."""
        for spec, value in self.samples():
            value = conform(value, spec, shorter=True)
            assert not self.codec().refusal(spec), f"it does not carry {spec}"
            payload = self.codec().encode(value, spec)
            assert same(self.codec().decode(payload, spec), value), f"{spec}: {payload!r}"

    def test_a_broken_payload_is_a_value_or_a_decode_error(self) -> None:
        """Nothing else comes of it, whatever the payload."""
        rng = random.Random(1)
        for spec, value in self.samples():
            payload = self.codec().encode(conform(value, spec, shorter=True), spec)
            for _ in range(MUTATIONS):
                broken = bytearray(payload)
                for _ in range(rng.randint(1, 4)):
                    at = rng.randrange(len(broken) + 1)
                    broken[at : at + rng.randrange(3)] = rng.randbytes(rng.randrange(3))
                try:
                    self.codec().decode(bytes(broken), spec)
                except DecodeError:
                    continue


class _EndpointContract(abc.ABC):
    @abc.abstractmethod
    def _endpoint(self) -> Endpoint:
        """What is tested, not started."""

    def test_stopping_twice_is_stopping(self) -> None:
        """`stop` does nothing when there is nothing to stop."""

        async def scenario() -> None:
            endpoint = self._endpoint()
            await endpoint.start()
            for _ in range(2):
                with trio.fail_after(STOP_GRACE):
                    await endpoint.stop()

        run(scenario)


class SourceContract(_EndpointContract):
    """A source: it can be opened, ended and cancelled at any moment, and loses nothing by that."""

    @abc.abstractmethod
    def source(self) -> DataSource:
        """A source, not started, which has at least two data to give."""

    def _endpoint(self) -> Endpoint:
        return self.source()

    def test_what_it_gives_comes_while_it_is_open(self) -> None:
        """Two data, and the end after `finish`."""

        async def scenario() -> None:
            source = self.source()
            async with source:
                for _ in range(2):
                    await source.receive()
                await source.finish()
                await _to_the_end(source)

        run(scenario)

    def test_it_can_be_cancelled_at_every_checkpoint(self) -> None:
        """Nothing comes of that but the cancellation, in a bounded time."""

        async def scenario() -> None:
            source = self.source()
            async with source:
                await source.receive()

        cancel_at_every_step(scenario)

    def test_an_exchange_delivers_what_it_gives_and_accounts_for_it(self) -> None:
        """All that it has handed over is delivered when the exchange ends in order."""

        async def scenario() -> None:
            sink = Keeper(Recorded())
            exchange = Exchange([self.source()], sink)
            async with exchange, trio.open_nursery() as nursery:
                nursery.start_soon(exchange.run)
                while len(sink.kept) < 2:  # noqa: ASYNC110  (the sink tells nobody)
                    await trio.sleep(0.01)
                exchange.request_stop()
            assert exchange.ledger.delivered == len(sink.kept) == exchange.ledger.received

        run(scenario)


async def _to_the_end(source: DataSource) -> None:
    while True:
        try:
            await source.receive()
        except trio.EndOfChannel:
            return


class SinkContract(_EndpointContract):
    """A sink: it says of every datum what became of it, and can be ended at any moment."""

    @abc.abstractmethod
    def sink(self) -> DataSink:
        """A sink, not started."""

    def _endpoint(self) -> Endpoint:
        return self.sink()

    @abc.abstractmethod
    def values(self) -> Sequence[Data]:
        """Data that it takes."""

    def test_every_datum_is_accepted(self) -> None:
        """One by one, and many at once."""

        async def scenario() -> None:
            sink = self.sink()
            async with sink:
                for value in self.values():
                    await sink.awrite(value)
                delivery = Delivery(list(self.values()))
                await sink.awrite_batch(delivery)
                assert not delivery.untold, f"{delivery.untold} data were told nothing of"
                assert not delivery.refused, delivery.refused

        run(scenario)

    def test_it_can_be_cancelled_at_every_checkpoint(self) -> None:
        """Nothing comes of that but the cancellation, in a bounded time."""

        async def scenario() -> None:
            sink = self.sink()
            async with sink:
                await sink.awrite_batch(Delivery(list(self.values())))

        cancel_at_every_step(scenario)


class PipeContract(abc.ABC):
    """A pipe: what comes out is what its descriptor says, and every datum is accounted for."""

    @abc.abstractmethod
    def pipe(self) -> DataPipe:
        """A pipe that takes numbers; it is given 0 to 9."""

    def test_every_datum_comes_out_or_is_counted(self) -> None:
        """Of ten numbers nothing is lost without a word."""

        async def scenario() -> None:
            sink = Keeper(Recorded())
            pipe = self.pipe()
            async with Exchange([Numbers(Recorded(), count=10)], sink, pipe) as exchange:
                await exchange.run()
            ledger = exchange.ledger
            assert ledger.received == 10
            assert ledger.delivered + ledger.filtered == 10
            spec = DataSpec(pipe.output_dtype, tuple(pipe.output_shape))
            for value in sink.kept:
                conform(value, spec)

        run(scenario)
