"""Of the connectors that follow one path of a database, one streams: it holds the path.

* written   below the path, ``state/holder``: who holds it, under a lease that is renewed while it
            lives, and written only where nobody holds the path. ``state/standby-TOKEN``, under such
            a lease: each that stands by
* standby   takes the path as soon as nobody holds it. A holder looks for them at every renewal;
            once it has seen one, it stops in time when it cannot renew its lease; else it goes on
* others    that find the path held say by whom. They take it where the holder is seen to have gone:
            it has said so, or was a process of this machine; or held it when they began and goes
            within the time of a lease, as one does that was killed just before
* time      the lease is counted from when its renewal was sent, by the clock of Trio, which nobody
            sets: a server counts from later. See `Terms`
* errors    none: without the database nothing changes but what is said above. What may read and not
            write streams all the same, as nobody is known to hold the path, and says so
"""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Sequence

import attrs
import trio

from ..configdb import (
    ABSENT,
    ConfigDatabase,
    LeaseEndedError,
    Level,
    UnreachableError,
    Versioned,
    View,
)
from ..model import texts
from ..model.errors import EndpointError
from .holder import Holder

LEASE = 10
"""Default seconds after its last sign of life in which a path is free for another."""

LOOK_PERIOD = 0.25
"""Seconds between two looks of one that waits for the path."""

FAREWELL = 1.0
"""Seconds in which it is told at the end that the path is free; else the lease ends by itself."""

log = logging.getLogger(__name__)


@attrs.frozen
class Terms:
    """The times of a lease of so many seconds, two at least."""

    lease: int = LEASE

    @property
    def period(self) -> float:
        """Seconds from one renewal to the next, and that a renewal may take."""
        return self.lease / 5

    @property
    def stopping(self) -> float:
        """Seconds before the lease ends at which a holder begins to stop, if another stands by."""
        return 0.3 * self.lease

    @property
    def margin(self) -> float:
        """Seconds before the lease ends at which it cuts off what has not stopped."""
        return 0.1 * self.lease


class Holding:
    """That of one path, by one connector; *take_up* and *leave_off* make it stream and stop.

    *name* tells people what is held. *leave_off* is given why, and until when on Trio's clock it
    may stop in order.
    """

    def __init__(
        self,
        database: ConfigDatabase,
        name: str,
        path: str,
        *,
        device: str,
        standby: bool,
        take_up: Callable[[], None],
        leave_off: Callable[[str, float], Awaitable[None]],
        on_change: Callable[[], None],
        terms: Terms | None = None,
    ) -> None:
        self.held = False
        """Whether this one may stream."""
        self._database = database
        self._name = name
        self._self = Holder.new(device)
        self._levels = [Level(f"{path}/state")]
        self._key, self._standbys = f"{path}/state/holder", f"{path}/state/standby-"
        self._own = self._standbys + self._self.token
        self._standby = standby
        self._take_up, self._leave_off = take_up, leave_off
        self._on_change = on_change
        self._terms = terms or Terms()
        self._began = -math.inf
        self._decided = trio.Event()
        self._lease: int | None = None
        self._until = -math.inf
        """When the lease ends unless it is renewed, at the earliest."""
        self._due = -math.inf
        """When it is to be renewed."""
        self._rival: Holder | None = None
        """Who holds the path, or held it, where it is not free for us."""
        self._rival_there = False
        self._watched = False
        """Whether another stands by, as far as is known."""
        self._refusal = ""

    # -- what is told ------------------------------------------------------------------------------

    async def decided(self) -> None:
        """Wait until it is known whether the path is held by another."""
        await self._decided.wait()

    @property
    def refusal(self) -> str:
        """Why this one does not stream, for people, where that is not as it is meant."""
        if self._rival is None or self.held or self._standby:
            return ""
        if not self._rival_there:
            return (
                f"{self._name}: held before by {self._rival}, which has gone without saying that "
                "it has stopped: see to it that it streams no more, then use Reset"
            )
        return (
            f"{self._name}: held by {self._rival}: nothing is streamed here; stop that device, "
            "have this one follow something else, or set its property standby"
        )

    @property
    def notes(self) -> Sequence[str]:
        """What is to be told of it that is as it is meant, a line each."""
        if self.held or not self._standby or self._rival is None:
            return ()
        return (f"{self._name}: standing by for {self._rival}",)

    @property
    def problems(self) -> Sequence[str]:
        """What keeps it from telling others, a line each."""
        if not self._refusal:
            return ()
        what = "standing by" if self._standby else "keeping others from streaming it too"
        return (f"{self._name}: {what} is refused: {self._refusal}",)

    def look_again(self) -> None:
        """Somebody has seen to it that who held the path streams no more."""
        self._began = trio.current_time()

    # -- at work -----------------------------------------------------------------------------------

    async def run(self) -> None:
        """Hold the path, or wait for it, until cancelled."""
        self._self.live()
        if self._began == -math.inf:
            self._began = trio.current_time()
        try:
            while True:
                with trio.CancelScope(deadline=self._patience()):
                    await self._try()
                await self._obey()
                await trio.sleep_until(self._next_turn())
        except trio.Cancelled:
            with trio.move_on_after(FAREWELL, shield=True):
                await self._release()
            self._self.end()
            raise

    @property
    def _guarded(self) -> float:
        """When it has to begin to stop."""
        return self._until - self._terms.stopping if self.held and self._watched else math.inf

    def _patience(self) -> float:
        """When a try is given up."""
        now, terms = trio.current_time(), self._terms
        patience = terms.period if self.held else terms.lease / 2
        return min(now + patience, max(now, self._guarded))

    def _next_turn(self) -> float:
        now = trio.current_time()
        if not self.held:
            return now + LOOK_PERIOD
        # A renewal that has failed is tried again soon.
        return min(max(self._due, now + LOOK_PERIOD), max(now, self._guarded))

    async def _try(self) -> None:
        """Renew the lease, look who holds the path, and take it if nobody does."""
        try:
            await self._renew()
            view = await self._database.view(self._levels)
            await self._judge(view)
        except LeaseEndedError:
            self._lease = None
        except UnreachableError as error:
            log.debug("%s: who holds it is not known: %s", self._name, error)
        except EndpointError as error:
            self._refused(error)
        else:
            self._settle_refusal("")

    async def _judge(self, view: View) -> None:
        found = view.values.get(self._key)
        holder = Holder.read(found)
        self._watched = any(
            path.startswith(self._standbys) and path != self._own for path in view.values
        )
        if trio.current_time() >= self._guarded:
            return  # one came while nothing was known: it may hold the path before we do again
        ours = holder is not None and holder.token == self._self.token
        if ours and self._lease is not None:
            self._hold()
        elif ours or self._is_free(holder):
            await self._take(found)
        else:
            self._rival_there = holder is not None
            self._rival = holder or self._rival
            if self._standby and self._own not in view.values:
                announcement = {self._own: self._self.text()}
                await self._database.transact(announcement, lease=await self._leased())

    def _is_free(self, holder: Holder | None) -> bool:
        if holder is not None:
            return holder.gone
        if self._standby or self._rival is None:
            return True
        grace = self._terms.lease + self._terms.period
        return trio.current_time() - self._began <= grace

    async def _take(self, found: Versioned | None) -> None:
        changes = {self._key: self._self.holding(), self._own: None}
        expected = {self._key: ABSENT if found is None else found.mod_revision}
        lease = await self._leased()
        if await self._database.transact(changes, expected=expected, lease=lease) is not None:
            self._hold()

    def _hold(self) -> None:
        """The path is ours."""
        self._rival = None
        if trio.current_time() >= self._until - self._terms.stopping and self._watched:
            return  # it was, before an answer that came late
        if not self.held:
            self.held = True
            log.info("%s: held by this device from now on", self._name)
            self._take_up()
            self._on_change()
        self._decided.set()

    def _refused(self, error: EndpointError) -> None:
        """The database does not let us read who holds it, or say that we do."""
        self._settle_refusal(texts.one_line(error.reason))
        if not self._standby and self._rival is None:
            self._watched = False
            self._hold()

    def _settle_refusal(self, reason: str) -> None:
        if reason != self._refusal:
            self._refusal = reason
            for problem in self.problems:
                log.warning("%s", problem)
            self._on_change()

    async def _obey(self) -> None:
        """Stop where another holds the path, or soon may."""
        now = trio.current_time()
        if self._rival is not None and (self.held or not self._decided.is_set()):
            await self._stop(self._why_not(), now + self._terms.margin)
        elif now >= self._guarded:
            reason = f"{self._name}: the lease cannot be renewed, and another device stands by"
            await self._stop(reason, self._until - self._terms.margin)

    def _why_not(self) -> str:
        """Why nothing is streamed here."""
        return self.refusal or "".join(self.notes) or f"{self._name}: held by {self._rival}"

    async def _stop(self, reason: str, deadline: float) -> None:
        self.held = False
        log.warning("%s", self.refusal or reason)
        await self._leave_off(self.refusal or reason, deadline)
        self._decided.set()
        self._on_change()

    # -- the lease ---------------------------------------------------------------------------------

    async def _renew(self) -> None:
        now = trio.current_time()
        if self._lease is None or now < self._due:
            return
        if await self._database.renew_lease(self._lease):
            self._until, self._due = now + self._terms.lease, now + self._terms.period
        else:
            self._lease = None

    async def _leased(self) -> int:
        if self._lease is None:
            now = trio.current_time()
            self._lease = await self._database.grant_lease(self._terms.lease)
            self._until, self._due = now + self._terms.lease, now + self._terms.period
        return self._lease

    async def _release(self) -> None:
        """Tell who waits that the path is free. What is told ends with the lease."""
        lease, self._lease = self._lease, None
        held, self.held = self.held, False
        if lease is None:
            return
        try:
            if held:
                view = await self._database.view(self._levels)
                found = view.values.get(self._key)
                holder = Holder.read(found)
                if found is not None and holder is not None and holder.token == self._self.token:
                    changes = {self._key: holder.text(released=True)}
                    expected = {self._key: found.mod_revision}
                    await self._database.transact(changes, expected=expected, lease=lease)
            else:
                await self._database.revoke_lease(lease)
        except EndpointError as error:
            log.debug("%s: the lease is left to end by itself: %s", self._name, error)
