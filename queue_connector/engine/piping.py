"""The pipes of an exchange at work: each is the upstream of the next.

* single     `DataPipe.apply` is given each datum by itself: what it leaves out is settled as
             filtered, what it refuses goes to the error policy alone
* together   `DataPipe.transform` reads batches, and makes one of them: what it refuses is refused
             whole
* cancelled  what was read for a batch that was not made is read again: a window of time cancels
             the pipe before it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio

from ..model.errors import DataError
from ..model.ledger import FILTERED, Batch, Span, runs_of, settle_run
from ..model.stream import DataPipe, Upstream

Refuse = Callable[[Batch, Mapping[int, DataError]], None]
"""Told of values of a batch that a pipe cannot use."""


def piped(pipes: list[DataPipe], source: Upstream, refuse: Callable[[str], Refuse]) -> Upstream:
    """The end of a chain; *refuse* gives whom to tell, for the path of a pipe."""
    upstream = source
    for place, pipe in enumerate(pipes):
        path = "$.pipe" if len(pipes) == 1 else f"$.pipe[{place}]"
        upstream = (Single if pipe.is_single else Together)(pipe, upstream, refuse(path))
    return upstream


class Single:
    """A pipe that takes each datum by itself."""

    def __init__(self, pipe: DataPipe, before: Upstream, refuse: Refuse) -> None:
        self._pipe = pipe
        self._before = before
        self._refuse = refuse

    async def receive(self) -> Batch:
        """The next batch that has values; a cancelled call has taken nothing."""
        while True:
            batch = self._applied(await self._before.receive())
            if batch.values:
                return batch

    def receive_nowait(self) -> Batch:
        """The next batch that has values, if it is there."""
        while True:
            batch = self._applied(self._before.receive_nowait())
            if batch.values:
                return batch

    def _applied(self, batch: Batch) -> Batch:
        values, kept, filtered = [], [], []
        refused: dict[int, DataError] = {}
        for index, value in enumerate(batch.values):
            try:
                made = self._pipe.apply(value)
            except DataError as error:
                refused[index] = error
                continue
            if made is None:
                filtered.append(index)
            else:
                kept.append(index)
                values.append(made)
        weights, parts = batch.weights, batch.spans
        if len(kept) < len(batch.values):
            weights = None if weights is None else [weights[index] for index in kept]
            parts = [span for run in runs_of(kept) for span in batch.runs(*run)]
            for run in runs_of(filtered):
                settle_run(batch, *run, FILTERED)
            if refused:
                self._refuse(batch, refused)
        return Batch(values, weights=weights, parts=parts)


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
                    self._refuse(whole, dict.fromkeys(range(len(whole.values)), error))
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
