"""What a client has to ask the brokers about topics, one question at a time in a lane of its own.

A question blocks its thread until it is answered or has taken too long, so that nobody else's
thread is used for it. One that took too long is given twice as long the next time: a line with a
round trip of a second is slow, and no outage. All topics that are wanted at once are asked for
together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any

from ...runtime.backoff import Backoff
from ...runtime.lane import Lane
from .client import KafkaError, KafkaException, error_of

Topics = Mapping[str, Any]

_PATIENCE = 0.5, 2.0  # s that a question may take, doubled each time that it took too long
_PAUSE = 0.1, 2.0  # s until the next question, doubled each time
_FEW = 3  # topics that are asked for by their names; of more, all of the cluster are asked for
_AT_ONCE = 50  # topics that are asked for by name before others get their turn


class Inquiry:
    """Asks for topics until they are found; *ask* is `list_topics` of a client.

    *found* is told of why each of them cannot be used, None if it can, and *unanswered* of why
    there is no answer, both in the lane.
    """

    def __init__(
        self,
        ask: Callable[[str | None, float], Topics],
        found: Callable[[Mapping[str, KafkaError | None]], None],
        unanswered: Callable[[KafkaError], None],
    ) -> None:
        self._ask = ask
        self._found = found
        self._unanswered = unanswered
        self._wanted: dict[str, bool] = {}  # topic → whether it was asked for, or is later
        self._any: str | None = None
        self._asking = False
        self._next = 0.0
        self._pauses = Backoff(*_PAUSE)
        self._patience = _PATIENCE[0]

    async def __aenter__(self) -> Inquiry:
        async with AsyncExitStack() as opening:
            self.lane = await opening.enter_async_context(Lane("kafka-asking"))
            self._ends = opening.pop_all()
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self._ends.aclose()

    def want(self, topic: str, pause: float = 0.0) -> None:
        """Ask for a topic, after a pause, until it is found.

        Asking makes the topic where the broker makes topics by itself.
        """
        self._any = topic
        self._wanted[topic] = pause > 0
        if pause:
            self._next = time.monotonic() + pause
        else:
            self._pauses.reset()
            self.look()

    def forget(self, topic: str) -> None:
        """Ask no more for a topic."""
        self._wanted.pop(topic, None)

    def look(self) -> None:
        """Ask now, unless that is being done."""
        if not self._asking:
            self._asking = True
            self.lane.post(self._look)

    def look_if_due(self, *, wanted: bool) -> None:
        """Ask if it is time, for topics that are wanted, or whether somebody answers at all."""
        if (wanted or self._wanted) and time.monotonic() >= self._next:
            self.look()

    def looked(self) -> None:
        """What was found was looked at; on the Trio thread."""
        self._asking = False
        self._next = time.monotonic() + self._pauses.next()
        if not all(self._wanted.values()):  # somebody has come meanwhile
            self.look()

    def _look(self) -> None:
        try:
            found = self._topics()
        except KafkaException as exception:
            self._patience = min(2 * self._patience, _PATIENCE[1])
            self._unanswered(error_of(exception))
        else:
            self._found(found)

    def _topics(self) -> dict[str, KafkaError | None]:
        wanted = list(self._wanted) or [self._any or ""]
        found: dict[str, KafkaError | None] = {}
        if len(wanted) > _FEW:
            there = self._ask(None, self._patience)
            found = {name: there[name].error for name in wanted if name in there}
        for name in [name for name in wanted if name not in found][:_AT_ONCE]:
            found[name] = self._ask(name, self._patience)[name].error
        for name in found:
            if name in self._wanted:
                self._wanted[name] = True
        return found
