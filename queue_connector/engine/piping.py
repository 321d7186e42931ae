"""The pipes of an exchange at work: each is the upstream of the next.

* single     `DataPipe.apply` is given each datum by itself: what it leaves out is settled as
             filtered, what it refuses goes to the error policy alone
* together   `DataPipe.transform` reads batches, and makes one of them: what it refuses is refused
             whole
* thread     a single pipe is called on the Trio thread, where others have their turn every
             `PIPE_BUDGET`; in a worker thread while its data take longer than that each
* cancelled  what was taken for a batch that was not made is not lost: a window of time cancels the
             pipe before it, which goes on at its next call
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import attrs
import trio

from ..model.datatypes import Data
from ..model.errors import DataError, untraced
from ..model.ledger import Batch, Span, runs_of, settle_run
from ..model.outcome import FILTERED
from ..model.stream import DataPipe, Upstream
from ..runtime.worker import Worker

PIPE_BUDGET = 0.005
"""Seconds for which a pipe may keep the Trio thread."""

Refuse = Callable[[Batch, Mapping[int, DataError]], None]
"""Told of values of a batch that a pipe cannot use."""


def piped(pipes: Sequence[DataPipe], source: Upstream, refuse: Callable[[str], Refuse]) -> Upstream:
    """The end of a chain; *refuse* gives whom to tell, for the path of a pipe."""
    upstream = source
    for place, pipe in enumerate(pipes):
        if not pipe.transparent:
            path = "$.pipe" if len(pipes) == 1 else f"$.pipe[{place}]"
            upstream = (Single if pipe.is_single else Together)(pipe, upstream, refuse(path))
    return upstream


@attrs.define(eq=False)
class _Begun:
    """A batch, and what has become of its first data."""

    batch: Batch
    done: int = 0
    values: list[Data] = attrs.field(factory=list)
    kept: list[int] = attrs.field(factory=list)
    filtered: list[int] = attrs.field(factory=list)
    refused: dict[int, DataError] = attrs.field(factory=dict)

    def go_on(self, pipe: DataPipe, budget: float) -> float:
        """Take data, at least one, for so many seconds; how long the last one took."""
        now = time.monotonic()
        until, took = now + budget, 0.0
        while self.done < len(self.batch.values):
            self._take(pipe)
            took, now = time.monotonic() - now, time.monotonic()
            if now > until:
                break
        return took

    def _take(self, pipe: DataPipe) -> None:
        index, self.done = self.done, self.done + 1
        try:
            made = pipe.apply(self.batch.values[index])
        except DataError as error:
            self.refused[index] = untraced(error)
            return
        if made is None:
            self.filtered.append(index)
        else:
            self.kept.append(index)
            self.values.append(made)


class Single:
    """A pipe that takes each datum by itself."""

    def __init__(self, pipe: DataPipe, before: Upstream, refuse: Refuse) -> None:
        self._pipe = pipe
        self._before = before
        self._refuse = refuse
        self._worker = Worker()
        self._slow = False
        """Whether the latest datum took long."""
        self._begun: _Begun | None = None

    async def receive(self) -> Batch:
        """The next batch that has values; a cancelled call loses nothing."""
        while True:
            if self._begun is None:
                self._begun = _Begun(await self._before.receive())
            begun = self._begun
            while begun.done < len(begun.batch.values):
                await self._go_on(begun)
            if (batch := self._end(begun)).values:
                return batch

    def receive_nowait(self) -> Batch:
        """The next batch that has values, if it is there and soon made."""
        while not self._slow:
            if self._begun is None:
                self._begun = _Begun(self._before.receive_nowait())
            begun = self._begun
            self._slow = begun.go_on(self._pipe, PIPE_BUDGET) > PIPE_BUDGET
            if begun.done < len(begun.batch.values):
                break
            if (batch := self._end(begun)).values:
                return batch
        raise trio.WouldBlock

    async def _go_on(self, begun: _Begun) -> None:
        if self._slow:
            took = await self._worker.run(begun.go_on, self._pipe, PIPE_BUDGET)
        else:
            took = begun.go_on(self._pipe, PIPE_BUDGET)
            if begun.done < len(begun.batch.values):
                await trio.lowlevel.checkpoint()
        self._slow = took > PIPE_BUDGET

    def _end(self, begun: _Begun) -> Batch:
        """What was made of a batch; the rest is settled and refused."""
        self._begun = None
        batch, weights, parts = begun.batch, begun.batch.weights, begun.batch.spans
        if len(begun.kept) < len(batch.values):
            weights = None if weights is None else [weights[index] for index in begun.kept]
            parts = [span for run in runs_of(begun.kept) for span in batch.runs(*run)]
            for run in runs_of(begun.filtered):
                settle_run(batch, *run, FILTERED)
            if begun.refused:
                self._refuse(batch, begun.refused)
        return Batch(begun.values, weights=weights, parts=parts)


class Together:
    """A pipe that makes a batch of several."""

    def __init__(self, pipe: DataPipe, before: Upstream, refuse: Refuse) -> None:
        self._pipe = pipe
        self._taken = _Taken(before)
        self._refuse = refuse

    async def receive(self) -> Batch:
        """The next batch that it makes; what a cancelled call has read is read again."""
        while True:
            self._taken.again()
            try:
                batch = await self._pipe.transform(self._taken)
            except DataError as error:
                for whole in self._taken.let_go():
                    self._refuse(whole, dict.fromkeys(range(len(whole.values)), untraced(error)))
                continue
            taken = self._taken.let_go()
            if taken != [batch]:
                parts: list[Span] = [span for whole in taken for span in whole.spans]
                batch.parts = parts
                count = sum(span[2] for span in parts)
                if batch.count != count:
                    pipe = type(self._pipe).__name__
                    raise RuntimeError(f"{pipe} made {batch.count} data out of {count}")
            return batch

    def receive_nowait(self) -> Batch:
        """Nothing is there at once: it may have to wait."""
        raise trio.WouldBlock


class _Taken:
    """A pipe's upstream that remembers which batches went into what the pipe makes next."""

    def __init__(self, before: Upstream) -> None:
        self._before = before
        self._batches: list[Batch] = []
        self._again: list[Batch] = []

    async def receive(self) -> Batch:
        batch = self._again.pop(0) if self._again else await self._before.receive()
        self._batches.append(batch)
        return batch

    def receive_nowait(self) -> Batch:
        batch = self._again.pop(0) if self._again else self._before.receive_nowait()
        self._batches.append(batch)
        return batch

    def again(self) -> None:
        """What was read and not let go of is read again."""
        self._again, self._batches = [*self._batches, *self._again], []

    def let_go(self) -> list[Batch]:
        """What was read for what the pipe has made."""
        taken, self._batches = self._batches, []
        return taken
