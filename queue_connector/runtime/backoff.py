"""Pauses between tries: doubled each time up to a longest, with jitter.

* units     seconds
* jitter    each pause is between a half and the whole of what it would be without, so that
            those who failed together do not try again together
* source    M. Brooker, "Exponential Backoff And Jitter", 2015: "equal jitter"
"""

from __future__ import annotations

import random

import attrs


@attrs.define
class Backoff:
    """How long to wait before the next try."""

    first: float
    most: float
    _pause: float = attrs.field(init=False)

    @_pause.default
    def _begin(self) -> float:
        return self.first

    def next(self) -> float:
        """The pause before the next try; the one after it is longer."""
        pause, self._pause = self._pause, min(2 * self._pause, self.most)
        return pause * random.uniform(0.5, 1.0)

    def reset(self) -> None:
        """A try has succeeded."""
        self._pause = self.first
