"""The Tango device ``SDPQueueConnector``: properties, commands, states and attributes.

A client may command everything and read everything; it can write ``loggingLevel``, and what the
property ``attributes`` says.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.metadata import metadata
from typing import ClassVar

import tango
import trio
from tango.server import attribute, command, device_property

from .. import __version__
from ..configuration import document
from ..connector import Connector
from ..connectors.tango.administrator import Administrator
from ..engine.operations import Operations
from ..engine.state import State
from ..engine.supervisor import STOP_GRACE, Supervisor
from ..model.errors import EndpointError, QueueConnectorError
from ..model.exchanges import QueueConnectorDescriptor
from ..runtime.logs import LoggingLevel, logging_level, set_logging_level
from .counting import CountingDevice
from .requests import exchange_named, tap_request
from .trio_device import dev_failed, fault_in_words

ONE_EXCHANGE = 'The present name of an exchange: g[1], or {"exchange": "g[1]"}.'

A_TAP = (
    'An exchange, or as JSON where and after which number: {"exchange": "g[1]", "where": "source", '
    '"after": 0}; where is source, pipe or sink.'
)

RESTARTING = 0.05
"""Seconds between two looks at whether ``RestartServer`` has done what it does."""


class SDPQueueConnector(CountingDevice):
    """Carries data between Tango attributes and Kafka topics, along configured exchanges."""

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
        dtype=str,
        default_value="",
        doc="The subarray whose flows are carried, e.g. 01; or what stands for {} in "
        "exchanges_config_path.",
    )
    flows = device_property(
        dtype=str,
        default_value="auto",
        doc="Whether the flows of the subarray are carried, which stand in the configuration "
        "database: on, off, or auto for on where subarray_id is given and neither "
        "exchanges_config_path nor exchanges_json is. Wins over exchanges_json.",
    )
    flow_states = device_property(
        dtype=str,
        default_value="on",
        doc="Whether the states of flows are written to the configuration database: on or off.",
    )
    standby = device_property(
        dtype=str,
        default_value="false",
        doc="Whether the device waits while another streams what stands at exchanges_config_path, "
        "or the flows of its subarray, and takes over when that one has gone: true or false.",
    )
    plugins = device_property(
        dtype=(str,),
        default_value=(),
        doc="The installed distributions whose sources, sinks, pipes and encodings may be used "
        "too: their code is run.",
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
        doc="The port at which a status page, /metrics, /live and /ready are served; 0 for none.",
    )
    metrics_host = device_property(
        dtype=str,
        default_value="127.0.0.1",
        doc="The address at which metrics are served; 0.0.0.0 for every one of the machine.",
    )

    # -- life ------------------------------------------------------------------------------------

    def begin(self) -> None:
        """Make the attributes, start the loop, and stream what the properties want."""
        faults = [*self.settings.faults, *self._define_static()]
        if faults:
            self._loop.start()
            self._fail("\n".join(faults))
            return
        if self.settings.path or self.settings.flows:
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
            self._call(lambda connector: connector.refuse(refusal))
        elif descriptor is not None:
            self._call(lambda connector: connector.supervisor.configure(descriptor))

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

    async def _autostart_once_up(self, connector: Connector) -> None:
        async def wait_and_stream() -> None:
            while tango.Util.instance().is_svr_starting():  # noqa: ASYNC110  (it tells nobody)
                await trio.sleep(RESTARTING)
            try:
                await self._stream(connector)
            except Exception as error:
                await connector.fail(fault_in_words("streaming cannot begin", error))

        await trio.lowlevel.checkpoint()
        self._nursery.start_soon(wait_and_stream)

    def _autostart(self) -> None:
        try:
            self._call(self._stream)
        except Exception as error:
            self._fail("streaming cannot begin", error)

    async def _stream(self, connector: Connector) -> None:
        """Begin with what the properties want."""
        settings = self.settings
        if settings.path:
            await connector.monitor(settings.path, standby=settings.standby)
        elif settings.flows:
            await connector.follow_flows(
                settings.flows, standby=settings.standby, tell_states=settings.flow_states
            )
        elif connector.announcement.state is State.OFF:
            await connector.supervisor.start()

    # -- commands ----------------------------------------------------------------------------------

    @command(dtype_in=str, doc_in="A configuration, as JSON, or where the database holds one.")
    def Configure(self, configuration: str) -> None:
        """Take on a configuration; allowed while nothing streams."""
        if configuration.startswith("/"):
            self._ask("Configure", lambda connector: connector.configure_from(configuration))
            return
        try:
            with tango.AutoTangoAllowThreads(self):  # a large one takes a second
                descriptor = document.take(configuration, self.get_name())
        except Exception as error:
            raise dev_failed(error, f"{self.get_name()}/Configure") from error
        self._ask("Configure", lambda connector: connector.supervisor.configure(descriptor))

    @command(dtype_in=str, doc_in="A path of the configuration database; empty to stop watching.")
    def Monitor(self, path: str) -> None:
        """Make the groups those that stand below a path, from now on."""
        standby = self.settings.standby
        self._ask("Monitor", lambda connector: connector.monitor(path.strip(), standby=standby))

    @command(dtype_out=bool)
    def IsMonitoringDB(self) -> bool:
        """Whether changes of the configuration database are seen as they happen."""
        connector = self._connector
        return connector is not None and connector.monitoring

    @command
    def Start(self) -> None:
        """Start streaming: OPEN, then ON by itself."""
        self._ask("Start", lambda connector: connector.supervisor.start())

    @command
    def Stop(self) -> None:
        """Stop in order: CLOSE, then OFF by itself once everything in flight is delivered."""
        self._ask("Stop", lambda connector: connector.supervisor.stop())

    @command
    def Standby(self) -> None:
        """Drop the configuration, and with it the attributes."""
        self._ask("Standby", lambda connector: connector.supervisor.standby())

    @command
    def Abort(self) -> None:
        """Cut streaming off; what is in flight is dropped and counted."""
        self._ask("Abort", lambda connector: connector.supervisor.abort())

    @command
    def Reset(self) -> None:
        """Leave FAULT; the groups that were in it have no configuration afterwards."""
        self._ask("Reset", Connector.reset)

    @command(dtype_in=str, doc_in=ONE_EXCHANGE)
    def Pause(self, exchange: str) -> None:
        """Have one exchange take in nothing; it delivers what it has, and its group stays ON."""
        self._operate("Pause", exchange, Operations.pause)

    @command(dtype_in=str, doc_in=ONE_EXCHANGE)
    def Resume(self, exchange: str) -> None:
        """Have an exchange that was paused go on where it was."""
        self._operate("Resume", exchange, Operations.resume)

    @command(dtype_in=str, doc_in=ONE_EXCHANGE)
    def Restart(self, exchange: str) -> None:
        """Stop one exchange in order and start it again where it was, beside the others."""
        self._operate("Restart", exchange, Operations.restart)

    @command(dtype_in=str, doc_in=A_TAP, dtype_out=str, doc_out="The data, as JSON.")
    def Tap(self, request: str) -> str:
        """What passes an exchange: a sample, in words, since the last question."""

        async def tap(connector: Connector) -> str:
            await trio.lowlevel.checkpoint()
            wanted = tap_request(request)
            do = connector.supervisor.operations
            return json.dumps(do.tap(wanted.exchange, wanted.where, wanted.after))

        return self._ask("Tap", tap)

    @command
    def ResetStatistics(self) -> None:
        """Count from zero, in every exchange; what is in flight stays received."""
        self._operate("ResetStatistics", "", lambda do, _: do.reset_statistics())

    def _operate(self, name: str, argument: str, act: Callable[[Operations, str], None]) -> None:
        async def operate(connector: Connector) -> None:
            await trio.lowlevel.checkpoint()
            act(connector.supervisor.operations, exchange_named(argument))

        self._ask(name, operate)

    # -- attributes --------------------------------------------------------------------------------

    @attribute(dtype=str)
    def versionId(self) -> str:
        """The version of the software."""
        return __version__

    @attribute(dtype=str)
    def version(self) -> str:
        """The same, as SDP's own devices call it."""
        return __version__

    @attribute(dtype=str)
    def buildState(self) -> str:
        """Name, version and purpose of the software, as SKA devices tell it."""
        return f"queue-connector, {__version__}, {metadata('queue-connector')['Summary']}"

    @attribute(dtype=LoggingLevel)
    def loggingLevel(self) -> LoggingLevel:
        """How much the server logs: every device of it, from the next line on."""
        return logging_level()

    @loggingLevel.write
    def set_loggingLevel(self, level: LoggingLevel) -> None:
        """Log so much."""
        set_logging_level(LoggingLevel(level))

    @attribute(dtype=str)
    def groups(self) -> str:
        """State, fault, exchanges and endpoints of each group, as JSON."""
        return json.dumps(self._answer(Supervisor.as_dict))

    @attribute(dtype=str)
    def configuration(self) -> str:
        """What is configured, by group, as JSON that `Configure` would take on again."""
        return json.dumps(self._answer(Supervisor.configuration))

    @attribute(dtype=str)
    def statistics(self) -> str:
        """What became of every datum, by exchange, as JSON."""
        return json.dumps(self._answer(Supervisor.statistics))
