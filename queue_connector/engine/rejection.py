"""Data that an exchange cannot use: its error policy at work, the breaker, the log lines.

* breaker   opens at the n-th bad datum within t seconds; that one, and every one after it, ends the
            exchange in FAULT as if there were no policy
* log       the first at once, then not more than a line in `LOG_PERIOD` seconds, which says how
            many there were; the rest is told at the end
"""

from __future__ import annotations

import logging
import math
from collections import deque
from collections.abc import Sequence

import trio

from ..model.endpoints import Breaker
from ..model.errors import DataError, QueueConnectorError
from ..model.ledger import Batch, Refusal
from ..model.outcome import FAULTED, Outcome
from ..model.services import ExchangeName
from ..model.stream import ErrorPolicy
from .window import Window

LOG_PERIOD = 10.0
"""Seconds between two log lines about bad data of one exchange."""

MOST_WAITING = 1000
"""Bad data that wait for a policy before the exchange takes no more in, about."""

Rejected = tuple[Batch, Refusal]
"""A datum that cannot be used, and the batch of its source."""

Stop = tuple[str, QueueConnectorError]
"""Where a datum came from that an exchange has to stop for, and why."""


class TooManyError(DataError):
    """A breaker has opened."""

    def __init__(self, limit: Breaker, last: DataError) -> None:
        super().__init__(
            f"{limit.errors} bad data within {limit.seconds:g} s, which is what on_error.breaker "
            f"allows; the last: {last}"
        )


class Rejection:
    """The error policy of one exchange at work."""

    def __init__(
        self, name: ExchangeName, policy: ErrorPolicy, limit: Breaker | None, log: logging.Logger
    ) -> None:
        self.name = name
        self.policy = policy
        self._limit = limit
        self._log = log
        self._times: deque[float] = deque(maxlen=limit.errors if limit else 0)
        self._open = False
        self._next_line = -math.inf
        self._untold = 0
        self.backlog = Window(MOST_WAITING)
        """What waits for the policy, and the room that there is for it."""
        self._waiting: list[Rejected] = []

    def meet(self, rejected: Sequence[Rejected]) -> Stop | None:
        """Bad data were found: what the exchange has to stop for, if it has to.

        What a policy is to deal with waits for `work_off`; the rest is settled.
        """
        count = 0 if not self.policy.outcome.final else self._allowed(len(rejected))
        self._waiting += rejected[:count]
        self.backlog.add(count, _size(rejected[:count]))
        self._settle(rejected[count:], FAULTED)
        if count == len(rejected):
            return None
        first = rejected[count][1]
        reason: QueueConnectorError = first.error
        if self._limit is not None and self._open:
            reason = TooManyError(self._limit, first.error)
        return first.position, reason

    @property
    def idle(self) -> bool:
        """Whether nothing waits for the policy."""
        return not self._waiting

    async def work_off(self) -> Stop | None:
        """Let the policy deal with what waits, together; what the exchange has to stop for."""
        rejected, self._waiting = self._waiting, []
        outcome, stop = self.policy.outcome, None
        try:
            await self.policy.take([refusal for _, refusal in rejected])
        except QueueConnectorError as error:  # what cannot be dealt with stops the exchange
            outcome, stop = FAULTED, (rejected[0][1].position, error)
        self.backlog.leave(len(rejected), _size(rejected))
        self._settle(rejected, outcome)
        if stop is None:
            self._tell([refusal for _, refusal in rejected])
        return stop

    def give_up(self, rejected: Sequence[Rejected]) -> None:
        """Settle bad data of a stream that is being cut off: no policy deals with them."""
        self._settle(rejected, FAULTED)

    def finish(self) -> None:
        """Give up what waits, and tell what was not told yet."""
        self.give_up(self._waiting)
        self._waiting = []
        if self._untold:
            self._log.warning("%s: %d more bad data: %s", self.name, self._untold, self._did)
            self._untold = 0

    def _allowed(self, count: int) -> int:
        """How many of so many bad data may be dealt with before the breaker opens."""
        if self._limit is None:
            return count
        now = trio.current_time()
        for index in range(0 if self._open else count):
            self._times.append(now)
            full = len(self._times) == self._limit.errors
            if full and now - self._times[0] <= self._limit.seconds:
                self._open = True
                return index
        return 0 if self._open else count

    @staticmethod
    def _settle(rejected: Sequence[Rejected], outcome: Outcome) -> None:
        for batch, _ in rejected:
            assert batch.account is not None
            batch.account.settle(batch, 1, outcome)

    @property
    def _did(self) -> str:
        return self.policy.outcome.detail.replace("_", "-")

    def _tell(self, refusals: Sequence[Refusal]) -> None:
        self._untold += len(refusals)
        now = trio.current_time()
        if now < self._next_line:
            return
        self._next_line = now + LOG_PERIOD
        last = refusals[-1]
        where: object = f"{self.name} at {last.position}" if last.position else self.name
        more = f" (the last of {self._untold})" if self._untold > 1 else ""
        self._log.warning("%s: %s: %s%s", where, self._did, last.error, more)
        self._untold = 0


def _size(rejected: Sequence[Rejected]) -> int:
    return sum(len(refusal.payload or b"") for _, refusal in rejected)
