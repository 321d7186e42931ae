"""The sources of an exchange, each with a task: what they hand over enters the ledger and goes on.

* interrupted  until its source is told to finish, a task is in one cancel scope: none is made for a
               batch. What is in hand when that scope is left still goes on
* paused     a task that waits for its source is interrupted, and takes in nothing until it goes on;
             what is in hand then still goes on, and what comes meanwhile stays with the source
* merged       sources with the same `SourceDescriptor.merge_key` are one, with an account each
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Iterator, Sequence
from typing import Any

import attrs
import trio

from ..model.division import Share
from ..model.errors import DataError, untraced
from ..model.exchanges import ExchangeDescriptor
from ..model.ledger import Account, Batch, Refusal
from ..model.services import Services
from ..model.stream import DataSource
from .rejection import Rejected
from .tap import Tap
from .window import Window

Marks = dict[Hashable, deque[Any]]
"""Origin of sources → where each of them has stopped, first exchange first."""


@attrs.define(eq=False)
class Inlet:
    """A source at work, and the places of those that it stands for among the exchange's."""

    source: DataSource
    places: Sequence[int]
    paths: Sequence[str]
    """Where each of them is written in the exchange's configuration."""
    origin: Hashable = None
    in_hand: list[Batch] = attrs.field(factory=list)
    """What it has handed over and nobody has taken yet."""
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """Of the time until it is to finish."""
    admission: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """Of the time until it is paused."""


class Inlets:
    """Receives from all sources of an exchange.

    *reject* is told of what a source has refused; nothing is received while *backlog*, what waits
    for the error policy, has no room, nor before *room* has returned: what nobody can take yet
    stays where it is.
    """

    def __init__(
        self,
        sources: Sequence[DataSource | Inlet],
        accounts: Sequence[Account],
        reject: Callable[[Sequence[Rejected]], None],
        backlog: Window,
        room: Callable[[], Awaitable[None]],
    ) -> None:
        self.all = [
            source if isinstance(source, Inlet) else Inlet(source, [place], [_path(place, sources)])
            for place, source in enumerate(sources)
        ]
        self._accounts = accounts
        self._reject = reject
        self._backlog = backlog
        self._room = room
        self.tap: Tap | None = None
        """Shows what sources hand over, while somebody looks."""
        self._paused: trio.Event | None = None
        self._sources: dict[Account, DataSource] = {}
        for inlet in self.all:
            for place in inlet.places:
                accounts[place].on_settled = inlet.source.acknowledge
                self._sources[accounts[place]] = inlet.source

    def source_of(self, part: Batch) -> DataSource:
        """Where a batch has come from."""
        assert part.account is not None
        return self._sources[part.account]

    def leave_off(self, marks: Marks) -> None:
        """Note where the sources have stopped, for others of the same origin to go on."""
        for inlet in self.all:
            if inlet.origin is not None and (positions := inlet.source.positions()):
                marks.setdefault(inlet.origin, deque()).append(positions)

    def take_up(self, marks: Marks) -> None:
        """Go on, at the next start, where sources of the same origins have stopped."""
        for inlet in self.all:
            if marks.get(inlet.origin):
                inlet.source.resume(marks[inlet.origin].popleft())

    def pause(self) -> None:
        """Take in nothing until `go_on`; the sources stay open."""
        if self._paused is None:
            self._paused = trio.Event()
            for inlet in self.all:
                inlet.admission.cancel()

    def go_on(self) -> None:
        """Take in again what comes, and what the sources have held meanwhile."""
        if self._paused is not None:
            self._paused.set()
            self._paused = None

    def collect(self) -> None:
        """Bring the accounts up to date with what sources know in other threads."""
        for inlet in self.all:
            inlet.source.collect()

    def finish(self) -> None:
        """Take in nothing more; what the sources hold still comes."""
        for inlet in self.all:
            inlet.scope.cancel()

    async def feed(self, inlet: Inlet, put: Callable[[list[Batch]], Awaitable[None]]) -> None:
        """Receive until the source has ended; *put* takes batches out of the list that it is given.

        Cancelled, it has taken what is not in the list any more.
        """
        try:
            with inlet.scope:
                while True:
                    await self._feed_until_paused(inlet, put)
            await inlet.source.finish()  # first: what is in hand may have to wait for room
            await put(inlet.in_hand)
            while True:
                await self._receive(inlet)
                await put(inlet.in_hand)
        except trio.EndOfChannel:
            return

    async def _feed_until_paused(
        self, inlet: Inlet, put: Callable[[list[Batch]], Awaitable[None]]
    ) -> None:
        while self._paused is not None:
            await self._paused.wait()
        with trio.CancelScope() as inlet.admission:
            while True:
                await self._receive(inlet)
                await put(inlet.in_hand)
        await put(inlet.in_hand)

    async def _receive(self, inlet: Inlet) -> None:
        await self._backlog.room()
        await self._room()
        try:
            batches = await inlet.source.receive_batches()
        except DataError as error:
            batches = ((0, Batch([], [Refusal(untraced(error))])),)
        for number, batch in batches:
            place = inlet.places[number]
            self._accounts[place].receive(batch)
            if self.tap is not None and not self.tap.handed_over(inlet.source, batch):
                self.tap = None
            if batch.values:
                inlet.in_hand.append(batch)
            if batch.refused:
                path = inlet.paths[number]
                self._reject([(batch, attrs.evolve(each, path=path)) for each in batch.refused])


def _path(place: int, sources: Sequence[object]) -> str:
    return "$.source" if len(sources) == 1 else f"$.source[{place}]"


def build_inlets(descriptor: ExchangeDescriptor, services: Sequence[Services]) -> Iterator[Inlet]:
    """The sources of an exchange, not started; those with the same merge key together."""
    spec, merged, paths = descriptor.spec, dict[Hashable, list[int]](), _paths(descriptor)
    for place, source in enumerate(descriptor.sources):
        if source.merge_key is None:
            built = source.build(spec, services[place])
            yield Inlet(built, [place], [paths[place]], source.origin)
        else:
            merged.setdefault((type(source), source.merge_key), []).append(place)
    for places in merged.values():
        sources = [descriptor.sources[place] for place in places]
        merger = type(sources[0]).build_many(sources, spec, [services[place] for place in places])
        yield Inlet(merger, places, [paths[place] for place in places])


def _paths(descriptor: ExchangeDescriptor) -> Sequence[str]:
    """Where the sources that are read here are written, among those that others read."""
    if not isinstance(descriptor.source, list):
        return ["$.source"]
    paths = [f"$.source[{number}]" for number in range(len(descriptor.source))]
    share = Share.parse(descriptor.share)
    return paths if share is None else share.of(paths)
