"""A Tango device whose work is done in a Trio loop, by a connector.

The ORB has the main thread, Trio a thread of its own, and whatever Trio asks of Tango goes through
one lane. A command releases the device's monitor while it waits for Trio, since the lane needs it.

* life      `TrioDevice.init_device` and `TrioDevice.delete_device`, which ``Init`` calls too
* states    pushed as the connector announces them; the device's own while none is at work
* source    PyTango manual, "Server API"; ARCHITECTURE 3 and 4
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar, TypeVar

import tango
import trio
from tango.server import Device, attribute

from ..connector import Announcement, Connector, open_connector
from ..connectors.tango.attributes import DynamicAttributes, lane_context
from ..connectors.tango.types import legible
from ..engine.overview import MAX_STATUS
from ..engine.state import Health, State
from ..engine.supervisor import Supervisor
from ..model.errors import QueueConnectorError
from ..model.texts import shortened
from ..runtime.lane import Lane
from ..runtime.logs import device_name
from ..runtime.loop import LoopStoppedError, Renewal, TrioThread
from ..runtime.worker import current_thread
from .properties import Properties

T = TypeVar("T")

SHUTDOWN_MARGIN = 20.0
"""Seconds beyond the stop grace after which a Trio loop that does not end is cut off."""

INIT_PATIENCE = 2.5
"""Seconds that an ``Init`` waits for another one; a client waits for three."""

BEING_INITIALISED = "the device is being initialised, or ending; try again in a moment"

_log = logging.getLogger(__name__)


class TrioDevice(Device):
    """The life of the device and its states; what it does is up to who inherits from it."""

    green_mode = tango.GreenMode.Synchronous

    _before: ClassVar[dict[str, DynamicAttributes]] = {}
    """Device name → the attributes of its latest device object."""

    # -- life ------------------------------------------------------------------------------------

    def init_device(self) -> None:
        """Begin, at the server's start and at every ``Init``; an error leads to FAULT."""
        if not hasattr(self, "_renewal"):
            self._renewal = Renewal()
            self._commanding = 0
        try:
            if self._renewal.closed:  # the server ends; what is raised here would tell nobody why
                return
            super().init_device()
            device_name.set(self.get_name())
            self._connector: Connector | None = None
            self._own = self._pushed = Announcement(State.INIT, "starting", Health.UNKNOWN)
            self._loop = TrioThread(
                self._main, name="trio", context=lane_context, on_crash=self._crashed
            )
            self.settings = Properties.of(self)
            try:
                if not hasattr(self, "_attributes"):  # they stay over Init, with their subscribers
                    self._take_on_attributes()
                self.begin()
            except Exception as error:
                self._fail("the device cannot begin", error)
        finally:
            self._renewal.end()

    def _take_on_attributes(self) -> None:
        self._attributes = DynamicAttributes(self)
        name = self.get_name().lower()
        if name in self._before:  # DevRestart made a new device object
            self._attributes.adopt_now(self._before[name])
        self._before[name] = self._attributes
        for attribute_name in ("State", "Status", "healthState"):
            self.set_change_event(attribute_name, True, False)
            self.set_archive_event(attribute_name, True, False)

    def begin(self) -> None:
        """Start the loop, and what the properties want; what goes wrong here leads to FAULT."""
        raise NotImplementedError

    def always_executed_hook(self) -> None:
        """Note whose turn it is, with the monitor held, so that `delete_device` knows an Init.

        Tango deletes a device once no client is inside it: who comes while the server ends is
        turned away here, or clients that ask on and on would keep it from that.
        """
        if tango.Util.instance().is_svr_shutting_down():
            raise dev_failed(LoopStoppedError("the server is ending"), self.get_name())
        self._commanding = current_thread()

    def delete_device(self) -> None:
        """End, at ``Init`` and when the server stops: every group in order, then the loop.

        Init comes in as many threads as clients ask for it, and the monitor must be released.
        """
        # A server that ends has the thread of the last client that was inside delete the device.
        # Nothing tells that from an Init of this client's, which then ends the device as well.
        ending = tango.Util.instance().is_svr_shutting_down()
        by_init = not ending and self._commanding == current_thread()
        with tango.AutoTangoAllowThreads(self):
            being_initialised = dev_failed(LoopStoppedError(BEING_INITIALISED), self.get_name())
            if by_init and not self._renewal.begin(INIT_PATIENCE):
                raise being_initialised
            try:
                if by_init:
                    self._stop_loop()
                    if self._renewal.closed:
                        raise being_initialised
                else:
                    self.end()
                super().delete_device()
            except BaseException:
                self._renewal.end()
                raise

    def end(self) -> None:
        """End for good: every group in order, then the loop; no Init begins it anew.

        When this returns, no Init is under way, or it is told that one was left behind. The monitor
        must not be held.
        """
        if not self._renewal.close(self._patience):
            _log.critical("an Init does not end; it is left behind")
        self._stop_loop()

    @property
    def _patience(self) -> float:
        return self.settings.stop_grace + SHUTDOWN_MARGIN

    def _stop_loop(self) -> None:
        if not self._loop.stop(self._patience):
            _log.critical("the Trio thread does not end; it is left behind")

    async def _main(self, ready: Callable[[], None], stopping: trio.Event) -> None:
        async def announce(announcements: Sequence[Announcement]) -> None:
            await lane.run(self._push, announcements)

        device_name.set(self.get_name())
        async with (
            Lane("tango-lane", lane_context) as lane,
            trio.open_nursery() as self._nursery,
            open_connector(
                name=self.get_name(),
                publisher=self._attributes,
                announce=announce,
                stop_grace=self.settings.stop_grace,
                metrics_port=self.settings.metrics_port,
                metrics_host=self.settings.metrics_host,
            ) as self._connector,
        ):
            connector = self._connector
            self._attributes.use(lane)
            try:
                self._nursery.start_soon(
                    self._attributes.subscribers.watch, lane, connector.changed
                )
                ready()
                await stopping.wait()
                await connector.close()
                self._nursery.cancel_scope.cancel()
            finally:
                self._attributes.use(None)

    # -- state -----------------------------------------------------------------------------------

    @property
    def _announcement(self) -> Announcement:
        """How the device is now; its own while no connector is at work."""
        connector = self._connector
        return self._own if connector is None else connector.announcement

    def _crashed(self, error: BaseException) -> None:
        self._tell_at_once(fault_in_words("the Trio loop crashed; use Init", error))

    def _fail(self, what: str, error: Exception | None = None) -> None:
        """Go to FAULT for a reason of the device's own; for any thread but Trio's."""
        fault = fault_in_words(what, error)
        try:
            self._call(lambda connector: connector.fail(fault))
        except LoopStoppedError:
            self._tell_at_once(fault)

    def _tell_at_once(self, fault: str) -> None:
        """Tell of a fault while no loop is there to do so."""
        self._connector = None
        self._own = Announcement(State.FAULT, fault, Health.FAILED)
        if not tango.Util.instance().is_svr_starting():
            self._push([self._own])

    def _push(self, announcements: Sequence[Announcement]) -> None:
        for now in announcements:
            # An event of State or Status carries what was set, whatever it is pushed with.
            if now.state is not self._pushed.state:
                value = getattr(tango.DevState, now.state.value)
                self.set_state(value)
                self.push_change_event("State", value)
                self.push_archive_event("State", value)
            if now.status != self._pushed.status:
                status = legible(now.status)
                self.set_status(status)
                self.push_change_event("Status", status)
                self.push_archive_event("Status", status)
            if now.health is not self._pushed.health:
                self.push_change_event("healthState", now.health)
                self.push_archive_event("healthState", now.health)
            self._pushed = now

    def dev_state(self) -> tango.DevState:
        """The state as it is now: Tango's own answer reads attributes, and may be ALARM."""
        return getattr(tango.DevState, self._announcement.state.value)

    def dev_status(self) -> str:
        """The state in words, a line per group."""
        return legible(self._announcement.status)

    @attribute(dtype=Health)
    def healthState(self) -> Health:
        """How well the device does what it is configured to do, as SKA devices tell it."""
        return self._announcement.health

    # -- calls into Trio ---------------------------------------------------------------------------

    def _call(self, work: Callable[[Connector], Awaitable[T]]) -> T:
        """Have the connector of the loop that runs do it, with the monitor released meanwhile."""

        async def call() -> T:
            assert self._connector is not None
            return await work(self._connector)

        with tango.AutoTangoAllowThreads(self):
            return self._loop.call(call)

    def _ask(self, name: str, work: Callable[[Connector], Awaitable[T]]) -> T:
        """What a command does: `_call`, with errors as a client sees them."""
        device_name.set(self.get_name())
        try:
            if self._renewal.under_way:
                raise LoopStoppedError(BEING_INITIALISED)
            return self._call(work)
        except Exception as error:
            told = error
            if self._renewal.under_way and isinstance(error, QueueConnectorError):
                told = LoopStoppedError(BEING_INITIALISED)  # it met what was being taken down
            raise dev_failed(told, f"{self.get_name()}/{name}") from error

    def _answer(self, question: Callable[[Supervisor], dict[str, T]]) -> dict[str, T]:
        """What the attribute of a client's read is made of; nothing where nothing is at work."""

        async def ask() -> dict[str, T]:
            await trio.lowlevel.checkpoint()
            return question(self._connector.supervisor) if self._connector else {}

        # The monitor is kept: another reader of the same attribute would take its value away. Trio
        # answers this without the lane, which is all that waits for the monitor.
        try:
            return self._loop.call(ask)
        except LoopStoppedError as error:
            raise dev_failed(error, self.get_name()) from error


def fault_in_words(what: str, error: BaseException | None) -> str:
    """A fault of the device's own in words; what nobody expected goes to the log, too."""
    if error is None:
        _log.critical("%s", what)
        return what
    known = isinstance(error, QueueConnectorError)
    _log.critical("%s: %s", what, error, exc_info=None if known else error)
    return f"{what}: {error if known else repr(error)}"


def dev_failed(error: Exception, origin: str) -> tango.DevFailed:
    """What a Tango client sees: the kind of error as its reason, the sentence, and where."""
    known = isinstance(error, QueueConnectorError)
    if not known:
        _log.error("unexpected error in %s", origin, exc_info=error)
    failed = tango.DevError()
    failed.reason = type(error).__name__
    told = str(error) if known else f"unexpected error: {shortened(repr(error))}; see the log"
    failed.desc = legible(shortened(told, MAX_STATUS))
    failed.origin = origin
    failed.severity = tango.ErrSeverity.ERR
    return tango.DevFailed(failed)
