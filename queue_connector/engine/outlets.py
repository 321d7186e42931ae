"""The sinks of an exchange: each is given every batch, and goes at its own pace.

* window    what is on its way to the sinks is bounded, by number and by bytes, over all of them: a
            slow sink holds the sources back, and the others have all that came until then
* at once   what an idle sink can take without waiting, it is given by the task that hands it on
* joined    what waits for a sink goes to it together, up to `MOST` values
* order     of a sink's data is that in which they were handed on
* accounts  a sink's account is credited as it accepts; a source's when every sink has told of a
            datum: accepted by all of them it is delivered, refused by one it is rejected
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import attrs
import trio

from ..model.condition import Condition
from ..model.datatypes import Data
from ..model.delivery import Delivery, News
from ..model.errors import DataError
from ..model.ledger import Account, Batch, runs_of, settle, settle_run
from ..model.outcome import DELIVERED, REFUSED
from ..model.stream import DataSink
from .glance import Glance
from .tap import Tap
from .window import UNDER_WAY, Window, size_of

MOST = 1000
"""Values that go to a sink together, unless more were handed on together."""

Refused = dict[int, tuple[int, DataError]]
"""Index of a value → the first of the sinks that refused it, and why."""


@attrs.define(eq=False)
class _Load:
    """A batch on its way to every sink."""

    batch: Batch
    size: int
    unsaid: int
    """Sinks that have said nothing of it yet, or not all of it at once."""
    left: int
    """Values of which not every sink has told."""
    missing: list[int] | None = None
    """Of each value, how many sinks have not told of it; none: as many as `unsaid`, of all."""
    refused: Refused = attrs.field(factory=dict)


@attrs.define(eq=False)
class _Outlet:
    """One sink: what waits for it, and what is under way."""

    place: int
    sink: DataSink
    account: Account
    waiting: deque[_Load] = attrs.field(factory=deque)
    queued: int = 0
    """Values that wait."""
    under_way: dict[Delivery, Sequence[_Load]] = attrs.field(factory=dict)
    changed: trio.lowlevel.ParkingLot = attrs.field(factory=trio.lowlevel.ParkingLot)
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    """Of the time until the sink has failed."""
    failure: BaseException | None = None
    resting: bool = False
    """Whether its task has nothing to do."""

    @property
    def idle(self) -> bool:
        """Whether nothing waits and nothing is under way."""
        return not self.waiting and not self.under_way

    def take(self) -> list[_Load]:
        """What goes to the sink together."""
        loads = [self.waiting.popleft()]
        count = len(loads[0].batch.values)
        while self.waiting and count + len(self.waiting[0].batch.values) <= MOST:
            loads.append(self.waiting.popleft())
            count += len(loads[-1].batch.values)
        self.queued -= count
        return loads


class Outlets:
    """Hands batches on to all sinks of an exchange, and settles what they say of them.

    *reject* is told of values that a sink has refused, once each sink has told of them.
    """

    def __init__(
        self,
        sinks: Sequence[DataSink],
        accounts: Sequence[Account],
        conditions: Sequence[Condition],
        reject: Callable[[Batch, Refused], None],
        window: Window,
        backlog: Window,
        *,
        direct: bool,
    ) -> None:
        """Outlets to sinks that are started.

        Args:
            sinks: The sinks.
            accounts: Theirs.
            conditions: Theirs.
            reject: Told of what a sink has refused, once all of them have told of it.
            window: How much may be under way.
            backlog: What waits for the error policy; nothing is begun while it has no room.
            direct: One task alone puts, so that what came together is in one batch already.
        """
        self.broken = False
        """Whether a sink has failed, or was cut off."""
        self.tap: Tap | None = None
        """Shows what is handed on to the sinks, while somebody looks."""
        self.tap_of_sinks: Tap | None = None
        """Shows what became of it at each."""
        self.glance: Glance | None = None
        """Keeps the last datum that was handed on, while somebody looks."""
        self._outlets = [
            _Outlet(place, sink, account)
            for place, (sink, account) in enumerate(zip(sinks, accounts, strict=True))
        ]
        for outlet, condition in zip(self._outlets, conditions, strict=True):
            condition.gauges["queued"] = partial(getattr, outlet, "queued")
        self._reject = reject
        self._window = window
        self._backlog = backlog
        self._direct = direct
        self._complete = False
        self._closed = False
        self._drained = trio.lowlevel.ParkingLot()

    async def put(self, batch: Batch) -> None:
        """Hand a batch on to every sink once there is room; cancelled, it was not."""
        count, size = len(batch.values), UNDER_WAY + (batch.size or size_of(batch.values))
        await self._window.enter(count, size)
        if self.tap is not None and not self.tap.handed_on(batch):
            self.tap = None
        if self.glance is not None and not self.glance.handed_on(batch):
            self.glance = None
        load = _Load(batch, size, len(self._outlets), count)
        for outlet in self._outlets:
            outlet.account.hold(count)
            if not self._begin_at_once(outlet, load):
                outlet.waiting.append(load)
                outlet.queued += count
                outlet.changed.unpark()

    async def room(self) -> None:
        """Wait until something may be put; it is no checkpoint where it may at once."""
        await self._window.room()

    async def all_taken(self) -> None:
        """Wait until nothing waits for a sink."""
        while any(outlet.waiting for outlet in self._outlets):
            await self._drained.park()

    async def all_told(self) -> None:
        """Wait until the sinks have told of everything."""
        while self._window.count:
            await self._drained.park()

    def complete(self) -> None:
        """Nothing more comes: `write` returns once all is told of."""
        self._complete = True
        for outlet in self._outlets:
            outlet.changed.unpark()

    async def write(self, place: int) -> None:
        """Give a sink what there is for it, in a task of its own, until nothing more comes.

        Raises:
            Exception: the sink failed for good.
        """
        outlet = self._outlets[place]
        try:
            with outlet.scope:
                while not (self._complete and outlet.idle):
                    if outlet.waiting:
                        await self._backlog.room()
                        await self._begin(outlet)
                    else:
                        outlet.resting = True
                        try:
                            await outlet.changed.park()
                        finally:
                            outlet.resting = False
            if outlet.failure is not None:
                raise outlet.failure
        except BaseException:
            self.broken = True
            raise

    async def _begin(self, outlet: _Outlet) -> None:
        loads = outlet.take()
        self._drained.unpark_all()  # one task at most waits
        delivery = Delivery(_values(loads))
        outlet.under_way[delivery] = loads
        try:
            await outlet.sink.begin(delivery)
        except BaseException:
            self.broken = True
            self._look(outlet, delivery)
            raise
        self._follow(outlet, delivery)

    def _begin_at_once(self, outlet: _Outlet, load: _Load) -> bool:
        """Give a sink a batch that need not wait for anything, if it is so."""
        if not (self._direct and outlet.resting and self._backlog.has_room(1, 0)):
            return False
        if outlet.waiting or outlet.failure is not None:
            return False
        delivery = Delivery(load.batch.values)
        outlet.under_way[delivery] = (load,)
        if not outlet.sink.begin_nowait(delivery):
            del outlet.under_way[delivery]
            return False
        self._follow(outlet, delivery)
        return True

    def _follow(self, outlet: _Outlet, delivery: Delivery) -> None:
        """Settle what was told of a delivery that was begun, and what will be."""
        if not delivery.over:
            delivery.on_told = lambda: self._look(outlet, delivery)
        self._look(outlet, delivery)

    def collect(self) -> None:
        """Settle what sinks have said meanwhile in other threads, so that the accounts show it."""
        for outlet in self._outlets:
            for delivery in list(outlet.under_way):
                self._look(outlet, delivery)

    def cut_off(self) -> None:
        """What the sinks say from now on counts no more."""
        self._closed = True

    def _look(self, outlet: _Outlet, delivery: Delivery) -> None:
        """Settle what was told of a delivery."""
        if self._closed:
            return
        over = delivery.over  # asked first: in another thread, more may be told while this looks
        loads = outlet.under_way.get(delivery, ())
        for first, count, error in delivery.news():
            if error is None:
                outlet.account.last = time.time()
            outlet.account.close(count, DELIVERED if error is None else REFUSED)
            if self.tap_of_sinks is not None:
                self._show(outlet, delivery.values, (first, count, error))
            for load, begin, number in _share(loads, first, count):
                self._told(outlet.place, load, begin, number, error)
        if delivery.failure is not None:
            outlet.failure = delivery.failure
            outlet.scope.cancel()  # it may be waiting in the next delivery
        if over and outlet.under_way.pop(delivery, None) is not None:
            delivery.on_told = None  # it leads back to the delivery, and would keep the values
            if self._complete:
                outlet.changed.unpark()

    def _show(self, outlet: _Outlet, values: Sequence[Data], news: News) -> None:
        assert self.tap_of_sinks is not None
        if not self.tap_of_sinks.told(outlet.account.name, values, *news):
            self.tap_of_sinks = None

    def _told(
        self, place: int, load: _Load, first: int, count: int, error: DataError | None
    ) -> None:
        """A sink has told of a run of a load's values."""
        batch, number = load.batch, len(load.batch.values)
        if error is None and load.missing is None and count == number:
            load.unsaid -= 1
            if not load.unsaid:
                settle(batch, DELIVERED)
                self._over(load)
            return
        if load.missing is None:
            load.missing = [load.unsaid] * number
        if error is not None and load.refused.get(first, (place,))[0] >= place:
            load.refused[first] = (place, error)
        for index in range(first, first + count):
            load.missing[index] -= 1
        over = [index for index in range(first, first + count) if not load.missing[index]]
        refused = {index: load.refused[index] for index in over if index in load.refused}
        for run_first, run_count in runs_of([index for index in over if index not in refused]):
            settle_run(batch, run_first, run_count, DELIVERED)
        load.left -= len(over)
        if not load.left:
            self._over(load)
        if refused:
            self._reject(batch, refused)

    def _over(self, load: _Load) -> None:
        self._window.leave(len(load.batch.values), load.size)
        if self._drained:
            self._drained.unpark_all()


def _values(loads: Sequence[_Load]) -> Sequence[Data]:
    if len(loads) == 1:
        return loads[0].batch.values
    return [value for load in loads for value in load.batch.values]


def _share(loads: Sequence[_Load], first: int, count: int) -> Iterator[tuple[_Load, int, int]]:
    """Which values of which load stand at these places of a delivery."""
    for load in loads:
        there = len(load.batch.values)
        if first >= there:
            first -= there
            continue
        taken = min(there - first, count)
        yield load, first, taken
        first, count = 0, count - taken
        if not count:
            return
