"""What has become of data that were given to a sink, told once by the sink and heard once by us."""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterator, Sequence

import attrs

from .datatypes import Data
from .errors import DataError

News = tuple[int, int, DataError | None]
"""What a sink has said: of the values from an index on, so many, accepted or refused for this."""


@attrs.define(eq=False)
class Delivery:
    """The data of one write and what has become of each of them at one sink.

    Before `DataSink.begin` has returned, the sink may say what became of them in any thread; after
    that, on the Trio thread only. What it knows of many values together it should say at once.
    """

    values: Sequence[Data]
    accepted: list[bool] = attrs.field(init=False)
    refused: dict[int, DataError] = attrs.field(init=False, factory=dict)
    untold: int = attrs.field(init=False)
    """How many values were neither accepted nor refused."""
    failure: BaseException | None = attrs.field(init=False, default=None)
    """Why nothing more will be told: the sink failed for good."""
    on_told: Callable[[], None] | None = attrs.field(default=None)
    """Called whenever something was told after `DataSink.begin` had returned."""
    _news: deque[News] = attrs.field(init=False, factory=deque)

    @accepted.default
    def _nothing_yet(self) -> list[bool]:
        return [False] * len(self.values)

    @untold.default
    def _all(self) -> int:
        return len(self.values)

    def accept(self, index: int, count: int = 1) -> None:
        """The sink has *count* values from this one on for good, but for those that it refused."""
        if count == 1:
            if not self.told(index):
                self.accepted[index] = True
                self._tell(index, 1, None)
        elif self.refused or any(self.accepted[index : index + count]):
            numbers = range(index, index + count)
            for told, run in itertools.groupby(numbers, self.told):
                if not told:
                    self._accept_run(next(run), 1 + sum(1 for _ in run))
        elif count:
            self._accept_run(index, count)

    def _accept_run(self, first: int, count: int) -> None:
        self.accepted[first : first + count] = [True] * count
        self._tell(first, count, None)

    def accept_all(self) -> None:
        """The sink has every value for good that it did not refuse."""
        self.accept(0, len(self.values))

    def told(self, index: int) -> bool:
        """Whether the value was accepted or refused."""
        return self.accepted[index] or index in self.refused

    def refuse(self, index: int, error: DataError) -> None:
        """The sink cannot take this value, whatever is tried; it may take the next."""
        if not self.told(index):
            self.refused[index] = error
            self._tell(index, 1, error)

    def fail(self, failure: BaseException) -> None:
        """The sink failed for good: of what it said nothing until now, nothing is known."""
        self.failure = failure
        if self.on_told is not None:
            self.on_told()

    @property
    def over(self) -> bool:
        """Whether nothing more will be told."""
        return not self.untold or self.failure is not None

    def news(self) -> Iterator[News]:
        """What was told since this was asked last; on the Trio thread."""
        while self._news:
            yield self._news.popleft()

    def _tell(self, first: int, count: int, error: DataError | None) -> None:
        self._news.append((first, count, error))  # before it may look as if all had been told
        self.untold -= count
        if self.on_told is not None:
            self.on_told()
