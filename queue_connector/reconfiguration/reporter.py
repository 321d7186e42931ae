"""Tells a configuration database how the groups below a path are, for as long as the device lives.

* written   below each child ``state`` and ``fault``, in one transaction and only while the child is
            there. Nothing else is ever written
* lease     both end with the device: they are under a lease that is renewed while it lives, revoked
            at its end, and named in ``state`` together with the device and its host
* failures  are of one child: the others are written all the same. They are tried again with pauses
            that grow, and told once for each change of the reason
* truth     what stands there is compared with what was written every `PERIOD`, and written again
            where it went
* errors    none: an outage of the database only delays what is to be told
"""

from __future__ import annotations

import json
import logging
import math
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import attrs
import trio

from ..configdb import (
    ABSENT,
    EXISTS,
    MAX_OPERATIONS,
    ConfigDatabase,
    LeaseEndedError,
)
from ..model import texts
from ..model.errors import EndpointError, counted
from ..model.timescale import utc_now
from ..runtime.backoff import Backoff
from .reporting import FIRST_RETRY, PAUSE, Reporting

STATE, FAULT = "state", "fault"
"""The names of the keys that are written below each child, and so no names of groups."""

LEASE = 10
"""Seconds after its last sign of life in which the states of a device end."""

PERIOD = LEASE / 3
"""Seconds between two renewals of the lease, and between two looks at what stands there."""

SLICE = 50
"""Children whose reports are made before others have their turn: some milliseconds of work."""

MAX_RETRY = 30.0
"""Seconds before a write that failed is tried again, at most."""

FAREWELL = 1.0
"""Seconds in which the lease is revoked at the end; else it ends by itself."""

Report = Mapping[str, Any]
"""``state`` → what that key says, but for who says it and when; ``fault`` likewise, or None."""

log = logging.getLogger(__name__)


@attrs.define
class _Record:
    """What stands below one child, as far as is known."""

    told: Report | None = None
    """What we wrote last, unless that has to be done again."""
    revision: int = ABSENT
    """That of ``state``, whoever wrote it."""
    failures: int = 0
    reason: str = ""
    due: float = -math.inf
    """When it may be tried again."""
    backoff: Backoff = attrs.field(factory=lambda: Backoff(FIRST_RETRY, MAX_RETRY))


class Reporter(Reporting):
    """Writes for one device, below one path; *report* gives what is to be told of a child."""

    def __init__(
        self,
        database: ConfigDatabase,
        path: str,
        report: Callable[[str], Report | None],
        *,
        device: str = "",
        on_change: Callable[[], None] = lambda: None,
    ) -> None:
        super().__init__(database, on_change)
        self._path = path
        self._report = report
        self._author = {"device": device, "host": socket.gethostname()}
        self._children: frozenset[str] = frozenset()
        self._records: dict[str, _Record] = {}
        self._connected = False
        self._lease: int | None = None
        self._problem = self._reason = ""
        self._next_look = math.inf

    @property
    def problems(self) -> Sequence[str]:
        """What keeps the states from being told, for people."""
        return [self._problem] if self._problem else []

    def follow(self, children: Collection[str]) -> None:
        """Tell of these from now on, and take back what was told of others."""
        self._children = frozenset(children)
        self.changed()

    def connection(self, connected: bool) -> None:
        """The database is there, or not; after an outage it may have lost what was written."""
        self._connected = connected
        self._next_look = trio.current_time() + PERIOD
        if not connected:  # nothing is written now, and why is told by the watch
            self._problem = self._reason = ""
        self._forget()

    async def run(self) -> None:
        """Tell until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._renew)
                await self._tell()
        finally:
            with trio.move_on_after(FAREWELL, shield=True):
                await self._end_lease()

    # -- the lease ---------------------------------------------------------------------------------

    async def _renew(self) -> None:
        while True:
            await trio.sleep(PERIOD)
            if (lease := self._lease) is None:
                continue
            try:
                alive = await self._database.renew_lease(lease)
            except EndpointError as error:
                log.debug("%s: the lease is not renewed: %s", self._path, error)
                continue
            if not alive and lease == self._lease:
                self._forget()

    async def _leased(self) -> int:
        if self._lease is None:
            self._lease = await self._database.grant_lease(LEASE)
        return self._lease

    async def _end_lease(self) -> None:
        lease, self._lease = self._lease, None
        self._forget()
        if lease is not None:  # tried in an outage, too: the watch may only have ended before
            try:
                await self._database.revoke_lease(lease)
            except EndpointError as error:
                log.debug("%s: the lease is left to end by itself: %s", self._path, error)

    def _forget(self) -> None:
        """Everything has to be written again; under another lease if this one has ended."""
        for record in self._records.values():
            record.told = None
            record.failures, record.reason, record.due = 0, "", -math.inf
            record.backoff.reset()
        self.changed()

    # -- writing -----------------------------------------------------------------------------------

    async def _tell(self) -> None:
        while True:
            with trio.CancelScope(deadline=self._next_turn()):
                await self._changed.wait()
            self._changed = trio.Event()
            if self._connected:
                if trio.current_time() >= self._next_look:
                    self._next_look = trio.current_time() + PERIOD
                    await self._look()
                await self._write()
            await trio.sleep(PAUSE)

    def _next_turn(self) -> float:
        retries = (record.due for record in self._records.values() if record.failures)
        return min(self._next_look, *retries, math.inf)

    async def _write(self) -> None:
        """Tell what is new of every child; what fails is tried last, and stops nothing."""
        for child in {*self._children} - {*self._records}:
            self._records[child] = _Record()
        now = trio.current_time()
        due = [(record, child) for child, record in self._records.items() if record.due <= now]
        for number, (record, child) in enumerate(sorted(due, key=lambda item: item[0].failures)):
            if number % SLICE == SLICE - 1:
                await trio.lowlevel.checkpoint()
            try:
                await self._write_child(child, record)
            except EndpointError as error:
                self._failed(record, error)
            else:
                record.failures, record.reason = 0, ""
                record.backoff.reset()
        self._tell_failures()
        if not self._changed.is_set() and not any(r.failures for r in self._records.values()):
            self._up_to_date.set()

    def _failed(self, record: _Record, error: EndpointError) -> None:
        log.debug("it will be tried again: %s", error)
        record.failures += 1
        record.due = trio.current_time() + record.backoff.next()
        if isinstance(error, LeaseEndedError):
            self._lease = None
            for other in self._records.values():
                other.told = None
            self._changed.set()
        # An outage that begins just now, and a lease that has ended, are over at the second try.
        record.reason = error.reason if record.failures > 1 else ""

    def _tell_failures(self) -> None:
        failing = sorted(c for c, record in self._records.items() if record.reason)
        problem = reason = ""
        if failing:
            reason = texts.one_line(self._records[failing[0]].reason)
            others = f" and {counted(len(failing) - 1, 'other')}" if len(failing) > 1 else ""
            named = texts.name(failing[0]) or "the path itself"
            problem = f"{self._path}: the state of {named}{others} is not written: {reason}"
        if reason != self._reason:  # how many it are changes more often
            self._reason = reason
            level = logging.WARNING if problem else logging.INFO
            log.log(level, "%s", problem or f"{self._path}: states are written again")
        if problem != self._problem:
            self._problem = problem
            self._on_change()

    async def _write_child(self, child: str, record: _Record) -> None:
        path, state, fault = self._keys(child)
        if child not in self._children:
            await self._database.transact({state: None, fault: None})
            del self._records[child]
            return
        report = self._report(child)
        if report is None or report == record.told:
            return
        for _attempt in range(2):  # others may write there too; the next round tries again
            lease = await self._leased()
            author = {**self._author, "lease": f"{lease:x}"}
            told = {**report[STATE], "last_updated": utc_now(), **author}
            wrong = report[FAULT]
            changes = {
                state: json.dumps(told),
                fault: None if wrong is None else json.dumps(wrong),
            }
            expected = {path: EXISTS, state: record.revision}
            done = await self._database.transact(changes, expected=expected, lease=lease)
            if done is not None:
                record.told, record.revision = report, done
                return
            await self._see(record, state)

    def _keys(self, child: str) -> tuple[str, str, str]:
        path = f"{self._path}/{child}" if child else self._path
        return path, f"{path}/{STATE}", f"{path}/{FAULT}"

    # -- looking -----------------------------------------------------------------------------------

    async def _look(self) -> None:
        """Whether what was written still stands there."""
        try:
            written = [c for c in self._records if self._records[c].told is not None]
            for begin in range(0, len(written), MAX_OPERATIONS):
                await self._look_at(written[begin : begin + MAX_OPERATIONS])
        except EndpointError as error:
            log.debug("%s: what stands there is not known: %s", self._path, error)

    async def _look_at(self, children: Sequence[str]) -> None:
        expected = {self._keys(child)[1]: self._records[child].revision for child in children}
        if await self._database.transact({}, expected=expected) is not None:
            return
        for child in children:
            record, (_, state, _) = self._records[child], self._keys(child)
            before = record.revision
            await self._see(record, state)
            if record.revision != before:
                record.told = None

    async def _see(self, record: _Record, state: str) -> None:
        """Take in what stands there."""
        found = await self._database.get(state)
        record.revision = ABSENT if found is None else found.mod_revision
