"""The Tango device ``SDPQueueConnector``: properties, commands, states and attributes.

The ORB has the main thread, Trio a thread of its own, and whatever Trio asks of Tango goes through
one lane. A command releases the device's monitor while it waits for Trio, since the lane needs it.

A client may command everything and read everything; it can write what the property ``attributes``
says.

* source   PyTango manual, "Server API"; ARCHITECTURE 3 and 4
"""

from __future__ import annotations

import json
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, ClassVar, TypeVar, TypeVarTuple

import tango
import trio
import trio.lowlevel
from tango.server import Device, attribute, command, device_property

from .. import __version__, configdb
from ..configuration import document
from ..connectors.tango.administrator import Administrator
from ..connectors.tango.attributes import DynamicAttributes, lane_context
from ..connectors.tango.types import legible
from ..engine.overview import MAX_STATUS
from ..engine.state import Health, State
from ..engine.supervisor import STOP_GRACE, Supervisor, open_supervisor
from ..model.descriptors import DEFAULT_GROUP, QueueConnectorDescriptor
from ..model.errors import EndpointError, QueueConnectorError, StateError
from ..model.texts import shortened
from ..observability.http_server import Answer, HttpServer
from ..observability.metrics import Exposition, Snapshot
from ..reconfiguration.children import read_once
from ..reconfiguration.monitor import Monitor
from ..runtime.bridge import Lane, LoopStoppedError, Renewal, TrioThread, current_thread
from ..runtime.logs import device_name, lost_lines
from .properties import Properties

T = TypeVar("T")
Args = TypeVarTuple("Args")

SHUTDOWN_MARGIN = 20.0
"""Seconds beyond the stop grace after which a Trio loop that does not end is cut off."""

FAREWELL = 2.0
"""Seconds in which the configuration database is told of the last states."""

PATIENCE = 2.0
"""Seconds after which an end that takes longer says what it waits for, again and again."""

INIT_PATIENCE = 2.5
"""Seconds that an ``Init`` waits for another one; a client waits for three."""

BEING_INITIALISED = "the device is being initialised, or ending; try again in a moment"

RESTARTING = 0.05
"""Seconds between two looks at whether ``RestartServer`` has done what it does."""

ANNOUNCEMENTS = 256
"""State changes that may wait to be pushed; beyond them the oldest are only logged."""

Told = tuple[State, str, Health]
"""What is pushed together: the state, the state in words, how well it is."""

_log = logging.getLogger(__name__)


class SDPQueueConnector(Device):
    """Carries data between Tango attributes and Kafka topics, along configured exchanges."""

    green_mode = tango.GreenMode.Synchronous

    _before: ClassVar[dict[str, DynamicAttributes]] = {}
    """Device name → the attributes of its latest device object."""

    _served: ClassVar[bool] = False
    """Whether the server has been up: what starts now is started by ``RestartServer``."""

    exchanges_json = device_property(
        dtype=(str,),
        default_value=(),
        doc="The configuration, as JSON, in one line or many; streams from the start.",
    )
    exchanges_config_path = device_property(
        dtype=str,
        default_value="",
        doc="Where the configuration database holds groups, e.g. /component/name/owner; they "
        "stream from the start. {} stands for subarray_id. Wins over exchanges_json.",
    )
    subarray_id = device_property(
        dtype=str, default_value="", doc="What stands for {} in exchanges_config_path."
    )
    attributes = device_property(
        dtype=(str,),
        default_value=(),
        doc="Attributes that are there from the start, as a JSON list, in one line or many; "
        "exchanges that name one feed it, and remove none.",
    )
    stop_grace = device_property(
        dtype=str,
        default_value=f"{STOP_GRACE:g}",
        doc="Seconds in which an orderly stop delivers what is in flight.",
    )
    metrics_port = device_property(
        dtype=str,
        default_value="0",
        doc="The port at which metrics are served over HTTP, at /metrics; 0 for none.",
    )
    metrics_host = device_property(
        dtype=str,
        default_value="127.0.0.1",
        doc="The address at which metrics are served; 0.0.0.0 for every one of the machine.",
    )

    # -- life ------------------------------------------------------------------------------------

    def init_device(self) -> None:
        """Begin, at the server's start and at every ``Init``; an error leads to FAULT."""
        if not hasattr(self, "_renewal"):
            self._renewal = Renewal()
            self._commanding = 0
        try:
            super().init_device()
            device_name.set(self.get_name())
            self._state: Told = (State.INIT, "starting", Health.UNKNOWN)
            self._pushed = self._state
            self._fault = ""
            self._supervisor: Supervisor | None = None
            self._monitor: Monitor | None = None
            self._http: HttpServer | None = None
            self._loop = TrioThread(
                self._main, name="trio", context=lane_context, on_crash=self._crashed
            )
            self.settings = Properties.of(self)
            try:
                if not hasattr(self, "_attributes"):  # they stay over Init, with their subscribers
                    self._take_on_attributes()
                self._begin()
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

    def _begin(self) -> None:
        faults = [*self.settings.faults, *self._define_static()]
        if faults:
            self._loop.start()
            self._fail("\n".join(faults))
            return
        if self.settings.path:
            # The attributes of before an Init stay until the database has told what is wanted.
            self._loop.start()
        else:
            self._take_on_property()
        if not tango.Util.instance().is_svr_starting():
            self._autostart()
        elif SDPQueueConnector._served:  # RestartServer makes devices anew, and calls no hook
            self._call(self._autostart_once_up)

    def _define_static(self) -> list[str]:
        """Make the attributes of the property, or tell why they cannot be made."""
        if self.settings.attributes is not None:  # else those of before an Init stay
            try:
                self._attributes.define_static_now(self.settings.attributes)
            except EndpointError as error:
                return [f"the property attributes: {error}"]
        return []

    def _take_on_property(self) -> None:
        descriptor = None
        refusal: QueueConnectorError | None = None
        if self.settings.configuration.strip():
            try:
                descriptor = document.take(self.settings.configuration, self.get_name())
            except QueueConnectorError as error:
                refusal = error
        try:
            self._define_now(descriptor or QueueConnectorDescriptor())
        except EndpointError as error:  # such as a conflict with the property attributes
            descriptor, refusal = None, error
            self._define_now(QueueConnectorDescriptor())
        self._loop.start()
        if refusal is not None:
            self._call(self._refuse, refusal)
        elif descriptor is not None:
            self._call(self._act, "configure", descriptor)

    def _define_now(self, descriptor: QueueConnectorDescriptor) -> None:
        """Make the attributes in this thread: Tango wants them there when it has returned."""
        wanted = {
            name: [attribute for exchange in exchanges for attribute in exchange.attributes()]
            for name, exchanges in descriptor.groups.items()
        }
        for owner in [owner for owner in self._attributes.owners() if owner not in wanted]:
            self._attributes.define_now(owner, [])
        for owner, attributes in wanted.items():
            self._attributes.define_now(owner, attributes)

    def server_init_hook(self) -> None:
        """Start streaming once the server is up: events that are pushed earlier crash it."""
        SDPQueueConnector._served = True
        try:
            Administrator(self).open_event_socket()
        except tango.DevFailed as error:
            self._fail(f"the server does not answer itself: {error.args[0].desc}")
            return
        self._autostart()

    async def _autostart_once_up(self) -> None:
        async def wait_and_stream() -> None:
            while tango.Util.instance().is_svr_starting():  # noqa: ASYNC110  (it tells nobody)
                await trio.sleep(RESTARTING)
            try:
                await self._stream()
            except Exception as error:
                self._take_fault("streaming cannot begin", error)

        await trio.lowlevel.checkpoint()
        self._nursery.start_soon(wait_and_stream)

    def _autostart(self) -> None:
        try:
            self._call(self._stream)
        except Exception as error:
            self._fail("streaming cannot begin", error)

    async def _stream(self) -> None:
        """Begin with what the properties want."""
        assert self._supervisor is not None
        if self.settings.path:
            await self._start_monitor(self.settings.path)
        elif self._state[0] is State.OFF:
            await self._supervisor.start()

    def always_executed_hook(self) -> None:
        """Note whose turn it is, with the monitor held, so that `delete_device` knows an Init."""
        self._commanding = current_thread()

    def delete_device(self) -> None:
        """End, at ``Init`` and when the server stops: every group in order, then the loop.

        Init comes in as many threads as clients ask for it, and the monitor must be released. When
        the device is not to come again, nobody may be inside it when this returns.
        """
        patience = self.settings.stop_grace + SHUTDOWN_MARGIN
        by_init = self._commanding == current_thread()
        # Tango deletes a device once no client is inside it: no Init may keep it from that.
        server = tango.Util.instance()
        ending = server.is_svr_shutting_down() or server.is_svr_starting()
        with tango.AutoTangoAllowThreads(self):
            if by_init and (ending or not self._renewal.begin(INIT_PATIENCE)):
                raise _dev_failed(LoopStoppedError(BEING_INITIALISED), self.get_name())
            if not by_init and not self._renewal.close(patience):
                _log.critical("an Init does not end; it is left behind")
            try:
                if not self._loop.stop(patience):
                    _log.critical("the Trio thread does not end; it is left behind")
                super().delete_device()
            except BaseException:
                if by_init:
                    self._renewal.end()
                raise

    async def _main(self, ready: Callable[[], None], stopping: trio.Event) -> None:
        device_name.set(self.get_name())
        announcements: deque[Told] = deque(maxlen=ANNOUNCEMENTS)
        changed = trio.Event()

        def on_change() -> None:
            assert self._supervisor is not None
            nonlocal changed
            state = self._told_state(self._supervisor)
            if self._monitor is not None:
                self._monitor.group_changed()
            if state != self._state:
                self._state = state
                announcements.append(state)
                changed.set()

        async def announce() -> None:
            nonlocal changed
            while True:
                await changed.wait()
                changed = trio.Event()
                states = list(announcements)
                announcements.clear()
                await lane.run(self._push_states, states)

        async with (
            Lane("tango-lane", lane_context) as lane,
            trio.open_nursery() as nursery,
            open_supervisor(
                attributes=self._attributes,
                on_change=on_change,
                stop_grace=self.settings.stop_grace,
            ) as supervisor,
        ):
            self._attributes.use(lane)
            try:
                self._supervisor = supervisor
                self._nursery = nursery
                self._on_change = on_change
                nursery.start_soon(announce)
                nursery.start_soon(self._attributes.subscribers.watch, lane, on_change)
                self._serve_metrics()
                on_change()
                ready()
                await stopping.wait()
                nursery.start_soon(_say_what_for, supervisor)
                await supervisor.close()
                if self._monitor is not None and self._monitor.connected:
                    with trio.move_on_after(FAREWELL):
                        await self._monitor.reported()
                await lane.run(self._push_states, list(announcements))
                nursery.cancel_scope.cancel()
            finally:
                self._attributes.use(None)

    # -- configuration database --------------------------------------------------------------------

    async def _start_monitor(self, path: str) -> None:
        assert self._supervisor is not None
        database = configdb.from_environment()
        configdb.check_path(path)
        await self._stop_monitor()
        self._monitor = Monitor(
            database, path, self._supervisor, self._on_change, device=self.get_name()
        )
        self._monitor_scope = trio.CancelScope()
        self._monitor_ended = trio.Event()
        self._nursery.start_soon(self._run_monitor, self._monitor, self._monitor_scope)

    async def _run_monitor(self, monitor: Monitor, scope: trio.CancelScope) -> None:
        try:
            with scope:
                await monitor.run()
        except* Exception as errors:
            _log.critical("the configuration database is not watched any more", exc_info=errors)
        finally:
            self._monitor = None
            self._monitor_ended.set()
        self._on_change()

    async def _stop_monitor(self) -> None:
        if self._monitor is not None:
            self._monitor_scope.cancel()
            await self._monitor_ended.wait()
        await trio.lowlevel.checkpoint()

    async def _watch(self, path: str) -> None:
        if path:
            await self._start_monitor(path)
        else:
            await self._stop_monitor()

    async def _configure_from(self, path: str) -> None:
        assert self._supervisor is not None
        async with configdb.from_environment() as database:
            descriptor = await read_once(database, path)
        await self._supervisor.configure(descriptor)

    # -- metrics -----------------------------------------------------------------------------------

    def _serve_metrics(self) -> None:
        if not self.settings.metrics_port:
            return
        exposition = Exposition(self._snapshot)

        async def metrics(headers: Mapping[str, str]) -> Answer:
            content_type, body = await exposition.answer(headers.get("accept", ""))
            return Answer(body=body, content_type=content_type)

        self._http = HttpServer(
            "metrics",
            self.settings.metrics_host,
            self.settings.metrics_port,
            {"/metrics": metrics},
            self._on_change,
        )
        self._nursery.start_soon(self._http.run)

    def _snapshot(self) -> Snapshot:
        assert self._supervisor is not None
        return Snapshot(
            statistics=self._supervisor.statistics(),
            groups=self._supervisor.as_dict(),
            connected=self._monitor.connected if self._monitor is not None else None,
            slow=len(self._attributes.subscribers.slow()),
            cut=self._attributes.subscribers.cut,
            lost_lines=lost_lines(),
        )

    # -- state -----------------------------------------------------------------------------------

    def _told_state(self, supervisor: Supervisor) -> Told:
        problems = [] if self._monitor is None else list(self._monitor.problems)
        if self._http is not None and self._http.problem:
            problems.append(self._http.problem)
        health = max(supervisor.health, Health.DEGRADED if problems else Health.OK)
        told = [*self._attributes.unkept, *self._attributes.subscribers.told()]
        if self._fault:
            status = legible("\n".join([self._fault, supervisor.status, *problems, *told]))
            return (State.FAULT, status, Health.FAILED)
        return (supervisor.state, legible("\n".join([supervisor.status, *problems, *told])), health)

    def _crashed(self, error: BaseException) -> None:
        self._fault = _told("the Trio loop crashed; use Init", error)
        self._tell_at_once()

    def _fail(self, what: str, error: Exception | None = None) -> None:
        """Go to FAULT for a reason of the device's own; for any thread but Trio's."""

        async def fail() -> None:
            await trio.lowlevel.checkpoint()
            self._take_fault(what, error)

        try:
            self._call(fail)
        except LoopStoppedError:
            self._fault = _told(what, error)
            self._tell_at_once()

    def _take_fault(self, what: str, error: Exception | None) -> None:
        self._fault = _told(what, error)
        self._on_change()

    def _tell_at_once(self) -> None:
        """Tell of a fault while no loop is there to do so."""
        self._state = (State.FAULT, legible(self._fault), Health.FAILED)
        if not tango.Util.instance().is_svr_starting():
            self._push_states([self._state])

    def _push_states(self, states: Sequence[Told]) -> None:
        for state, status, health in states:
            # An event of State or Status carries what was set, whatever it is pushed with.
            if state is not self._pushed[0]:
                value = getattr(tango.DevState, state.value)
                self.set_state(value)
                self.push_change_event("State", value)
                self.push_archive_event("State", value)
            if status != self._pushed[1]:
                self.set_status(status)
                self.push_change_event("Status", status)
                self.push_archive_event("Status", status)
            if health is not self._pushed[2]:
                self.push_change_event("healthState", health)
                self.push_archive_event("healthState", health)
            self._pushed = (state, status, health)

    def dev_state(self) -> tango.DevState:
        """The state as it is now: Tango's own answer reads attributes, and may be ALARM."""
        return getattr(tango.DevState, self._state[0].value)

    def dev_status(self) -> str:
        """The state in words, a line per group."""
        return self._state[1]

    # -- calls into Trio ---------------------------------------------------------------------------

    def _call(self, function: Callable[[*Args], Awaitable[T]], *args: *Args) -> T:
        """Run an async function in the loop, with the monitor released meanwhile."""
        with tango.AutoTangoAllowThreads(self):
            return self._loop.call(function, *args)

    async def _refuse(self, error: QueueConnectorError) -> None:
        assert self._supervisor is not None
        await trio.lowlevel.checkpoint()
        self._supervisor.refuse(DEFAULT_GROUP, error)

    async def _act(self, name: str, *args: Any) -> None:
        """Have the supervisor do it: the one that belongs to the loop that runs."""
        assert self._supervisor is not None
        await getattr(self._supervisor, name)(*args)

    async def _reset(self) -> None:
        """Leave FAULT: the device's own, and that of every group."""
        assert self._supervisor is not None
        own, self._fault = self._fault, ""
        try:
            await self._supervisor.reset()
        except StateError:  # no group is in FAULT
            if not own:
                raise
        self._on_change()

    def _ask(self, name: str, function: Callable[..., Awaitable[Any]], *args: Any) -> None:
        device_name.set(self.get_name())
        try:
            if self._renewal.under_way:
                raise LoopStoppedError(BEING_INITIALISED)
            self._call(function, *args)
        except Exception as error:
            told = error
            if self._renewal.under_way and isinstance(error, QueueConnectorError):
                told = LoopStoppedError(BEING_INITIALISED)  # it met what was being taken down
            raise _dev_failed(told, f"{self.get_name()}/{name}") from error

    # -- commands ----------------------------------------------------------------------------------

    @command(dtype_in=str, doc_in="A configuration, as JSON, or where the database holds one.")
    def Configure(self, configuration: str) -> None:
        """Take on a configuration; allowed while nothing streams."""
        if configuration.startswith("/"):
            self._ask("Configure", self._configure_from, configuration)
            return
        try:
            with tango.AutoTangoAllowThreads(self):  # a large one takes a second
                descriptor = document.take(configuration, self.get_name())
        except Exception as error:
            raise _dev_failed(error, f"{self.get_name()}/Configure") from error
        self._ask("Configure", self._act, "configure", descriptor)

    @command(dtype_in=str, doc_in="A path of the configuration database; empty to stop watching.")
    def Monitor(self, path: str) -> None:
        """Make the groups those that stand below a path, from now on."""
        self._ask("Monitor", self._watch, path.strip())

    @command(dtype_out=bool)
    def IsMonitoringDB(self) -> bool:
        """Whether changes of the configuration database are seen as they happen."""
        monitor = self._monitor
        return monitor is not None and monitor.connected

    @command
    def Start(self) -> None:
        """Start streaming: OPEN, then ON by itself."""
        self._ask("Start", self._act, "start")

    @command
    def Stop(self) -> None:
        """Stop in order: CLOSE, then OFF by itself once everything in flight is delivered."""
        self._ask("Stop", self._act, "stop")

    @command
    def Standby(self) -> None:
        """Drop the configuration, and with it the attributes."""
        self._ask("Standby", self._act, "standby")

    @command
    def Abort(self) -> None:
        """Cut streaming off; what is in flight is dropped and counted."""
        self._ask("Abort", self._act, "abort")

    @command
    def Reset(self) -> None:
        """Leave FAULT; the groups that were in it have no configuration afterwards."""
        self._ask("Reset", self._reset)

    # -- attributes --------------------------------------------------------------------------------

    @attribute(dtype=str)
    def versionId(self) -> str:
        """The version of the software."""
        return __version__

    @attribute(dtype=Health)
    def healthState(self) -> Health:
        """How well the device does what it is configured to do, as SKA devices tell it."""
        return self._state[2]

    @attribute(dtype=str)
    def groups(self) -> str:
        """State, fault, exchanges and endpoints of each group, as JSON."""
        return self._told(Supervisor.as_dict)

    @attribute(dtype=str)
    def configuration(self) -> str:
        """What is configured, by group, as JSON that `Configure` would take on again."""
        return self._told(Supervisor.configuration)

    @attribute(dtype=str)
    def statistics(self) -> str:
        """What became of every datum, by exchange, as JSON."""
        return self._told(Supervisor.statistics)

    def _told(self, question: Callable[[Supervisor], Any]) -> str:
        async def ask() -> str:
            await trio.lowlevel.checkpoint()
            return json.dumps(question(self._supervisor)) if self._supervisor else "{}"

        # The monitor is kept: another reader of the same attribute would take its value away. Trio
        # answers this without the lane, which is all that waits for the monitor.
        try:
            return self._loop.call(ask)
        except LoopStoppedError as error:
            raise _dev_failed(error, self.get_name()) from error


async def _say_what_for(supervisor: Supervisor) -> None:
    """Log what an end waits for, until cancelled."""
    while True:
        await trio.sleep(PATIENCE)
        waits = [
            f"{exchange}: {sink['in_flight']} in flight at {sink['name']}"
            for exchange, ledger in supervisor.statistics().items()
            for sink in ledger["sinks"]
            if sink["in_flight"]
        ]
        _log.warning("still ending: %s", "; ".join(waits) or supervisor.status)


def _told(what: str, error: BaseException | None) -> str:
    """A fault of the device's own in words; what nobody expected goes to the log, too."""
    if error is None:
        _log.critical("%s", what)
        return what
    known = isinstance(error, QueueConnectorError)
    _log.critical("%s: %s", what, error, exc_info=None if known else error)
    return f"{what}: {error if known else repr(error)}"


def _dev_failed(error: Exception, origin: str) -> tango.DevFailed:
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
