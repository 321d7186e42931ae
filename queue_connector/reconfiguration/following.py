"""What follows a configuration database for a supervisor, and goes on whatever happens to it.

* held      a path, by one connector of those that follow the same, by a
            `~queue_connector.reconfiguration.holding.Holding`: the others have the groups ready,
            stream nothing and write no states
* errors    none: an outage changes nothing but `Following.connected`, and after any surprise what
            ended begins again, and says so
"""

from __future__ import annotations

import abc
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import trio

from ..configdb import ConfigDatabase, Watch, check_path
from ..engine.supervisor import Supervisor
from ..model import texts
from ..model.errors import ConfigError, Fault, leaves
from ..runtime.backoff import Backoff
from .children import MAX_SURPRISE
from .holding import Holding, Terms
from .reporting import Reporting

MAX_PAUSE = 2.0
"""Seconds before what ended by surprise begins again, at most."""

SETTLED = 60.0
"""Seconds for which a surprise is told, and after which the next is the first one again."""

NOTICE_PERIOD = 1.0
"""Seconds between two looks at what is wrong with the connection."""

log = logging.getLogger(__name__)


class Following(abc.ABC):
    """Follows a part of a database, which *name* tells to people, and tells it how all is."""

    _reporting: Reporting
    """What tells it."""

    def __init__(
        self,
        database: ConfigDatabase,
        name: str,
        held: str,
        supervisor: Supervisor,
        on_change: Callable[[], None],
        *,
        device: str,
        standby: bool,
        terms: Terms | None,
    ) -> None:
        """*held* is the path that one holds; with *standby* this one waits for its turn.

        Raises:
            ConfigError: it is no path, or nobody can stand by with this database.
        """
        check_path(held)
        if standby and not database.renews_leases:
            message = "nobody can stand by through this library: it does not tell of leases"
            raise ConfigError([Fault("SDP_CONFIG_BACKEND", message, "set it to etcd3")])
        self._database = database
        self._name = name
        self._supervisor = supervisor
        self._on_change = on_change
        self._watch: Watch[Any] | None = None
        self._surprises: dict[str, tuple[float, str]] = {}
        self._holding = Holding(
            database,
            name,
            held,
            device=device,
            standby=standby,
            take_up=self._take_up,
            leave_off=self._leave_off,
            on_change=on_change,
            terms=terms,
        )
        self._streaming = trio.Event()
        self._telling = trio.CancelScope()

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
        return [*lines, *self._holding.problems, *self._reporting.problems]

    @property
    def held(self) -> bool:
        """Whether it may stream what it follows."""
        return self._holding.held

    @property
    def refusal(self) -> str:
        """Who else holds the path, where this one does not stand by."""
        return self._holding.refusal

    @property
    def notes(self) -> Sequence[str]:
        """For whom it stands by."""
        return self._holding.notes

    def look_again(self) -> bool:
        """Take the path as soon as nobody holds it; whether that was refused."""
        if not self._holding.refusal:
            return False
        self._holding.look_again()
        return True

    def group_changed(self) -> None:
        """Some group is in another state, or in another way not as it was told."""
        self._reporting.changed()

    async def reported(self) -> None:
        """Wait until the database has been told how all is now, if that is ours to do."""
        if self._holding.held:
            await self._reporting.reported()
        await trio.lowlevel.checkpoint()

    async def run(self) -> None:
        """Follow it until cancelled."""
        async with self._database, trio.open_nursery() as nursery:
            nursery.start_soon(self._persist, "watching", self._follow)
            nursery.start_soon(self._persist, "telling the states", self._tell_while_held)
            nursery.start_soon(self._persist, "holding the path", self._holding.run)
            nursery.start_soon(self._notice)

    def _take_up(self) -> None:
        self._streaming.set()
        self._supervisor.go_on()

    async def _leave_off(self, reason: str, deadline: float) -> None:
        self._streaming = trio.Event()
        self._telling.cancel()
        await self._supervisor.hold_back(reason, deadline)

    async def _tell_while_held(self) -> None:
        while True:
            await self._streaming.wait()
            with trio.CancelScope() as self._telling:
                await self._reporting.run()

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
