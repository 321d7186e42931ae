"""What follows a configuration database for a supervisor, and goes on whatever happens to it.

* errors    none: an outage changes nothing but `Following.connected`, and after any surprise what
            ended begins again, and says so
"""

from __future__ import annotations

import abc
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from ..configdb import ConfigDatabase, Watch
from ..engine.supervisor import Supervisor
from ..model import texts
from ..model.errors import leaves
from ..runtime.backoff import Backoff
from .children import MAX_SURPRISE

MAX_PAUSE = 2.0
"""Seconds before what ended by surprise begins again, at most."""

SETTLED = 60.0
"""Seconds for which a surprise is told, and after which the next is the first one again."""

NOTICE_PERIOD = 1.0
"""Seconds between two looks at what is wrong with the connection."""

_WATCHING, _TELLING = "watching", "telling the states"

log = logging.getLogger(__name__)


class Following(abc.ABC):
    """Follows a part of a database, which *name* tells to people, and tells it how all is."""

    def __init__(
        self,
        database: ConfigDatabase,
        name: str,
        supervisor: Supervisor,
        on_change: Callable[[], None],
    ) -> None:
        self._database = database
        self._name = name
        self._supervisor = supervisor
        self._on_change = on_change
        self._watch: Watch[Any] | None = None
        self._surprises: dict[str, tuple[float, str]] = {}

    @property
    def connected(self) -> bool:
        """Whether changes of the configuration are seen as they happen."""
        return self._watch is not None and self._watch.connected

    @property
    def problems(self) -> list[str]:
        """What is wrong between the database and us, for people, a line each."""
        lines = []
        if not self.connected:
            problem = self._watch.problem if self._watch is not None else "not watching yet"
            lines.append(f"{self._name}: not watched: {problem}")
        recent = trio.current_time() - SETTLED
        lines += [told for when, told in self._surprises.values() if when > recent]
        return [*lines, *self._telling_problems()]

    @property
    def refusal(self) -> str:
        """Why nothing may be streamed, for people, where that is not as it is meant."""
        return ""

    @property
    def notes(self) -> Sequence[str]:
        """What is to be told of it that is as it is meant, a line each."""
        return ()

    def look_again(self) -> bool:
        """Begin in spite of what was refused, if that may be; whether anything was."""
        return False

    async def run(self) -> None:
        """Follow it until cancelled."""
        async with self._database, trio.open_nursery() as nursery:
            for what, task in self._tasks().items():
                nursery.start_soon(self._persist, what, task)
            nursery.start_soon(self._notice)

    def _tasks(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """What is done all the time, and is begun again after a surprise."""
        return {_WATCHING: self._follow, _TELLING: self._tell}

    async def _persist(self, what: str, function: Callable[[], Awaitable[None]]) -> None:
        """Call a function again when something happens that nobody has thought of."""
        backoff = Backoff(MAX_PAUSE / 64, MAX_PAUSE)
        while True:
            began = trio.current_time()
            try:
                await function()
            except* Exception as errors:
                error = next(leaves(errors))
                log.critical("%s: %s is begun again after", self._name, what, exc_info=error)
                told = texts.one_line(f"{type(error).__name__}: {error}", MAX_SURPRISE)
                told = f"{self._name}: {what} was begun again after {told}"
                self._surprises[what] = (trio.current_time(), told)
            if trio.current_time() - began > SETTLED:
                backoff.reset()
            await trio.sleep(backoff.next())

    async def _notice(self) -> None:
        """Pass on why there is no connection, also when there never was one."""
        noticed: list[str] = []
        while True:
            told = [*self.problems, *self.notes, self.refusal]
            if told != noticed:
                noticed = told
                self._on_change()
            await trio.sleep(NOTICE_PERIOD)

    @abc.abstractmethod
    async def _follow(self) -> None:
        """Watch, and have the supervisor do what is wanted, until cancelled."""

    @abc.abstractmethod
    async def _tell(self) -> None:
        """Tell the database how all is, until cancelled."""

    @abc.abstractmethod
    def _telling_problems(self) -> Sequence[str]:
        """What keeps the database from being told."""

    @abc.abstractmethod
    def group_changed(self) -> None:
        """Some group is in another state, or in another way not as it was told."""

    @abc.abstractmethod
    async def reported(self) -> None:
        """Wait until the database has been told how all is now."""
