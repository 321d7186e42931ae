"""A group of exchanges: its state machine, and the nursery in which its exchanges live.

A session is the time from OPEN to OFF. All of its exchanges are started before any streams, so
that an exchange which reads what another one writes misses nothing. An exchange that fails takes
its group to FAULT, after the others of the group have been stopped in order; other groups do not
notice.
"""

from __future__ import annotations

import datetime
import logging
from collections.abc import Callable, Sequence
from typing import Any

import attrs
import trio

from .descriptors import AttributeHost, ExchangeDescriptor
from .errors import QueueConnectorError, leaves
from .exchange import Exchange
from .ledger import Ledger
from .state import State, Trigger, advance


@attrs.frozen
class FaultRecord:
    """What took a group to FAULT, for people and for programs."""

    error: str
    message: str
    time: str = attrs.field(
        factory=lambda: (
            datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")[:-6] + "Z"
        )
    )

    @classmethod
    def of(cls, error: BaseException) -> FaultRecord:
        """The record of an exception."""
        cause = getattr(error, "cause", error)
        return cls(type(cause).__name__, str(error) or repr(error))


class Group:
    """Exchanges that are configured, started and stopped together.

    Every method but `request_stop` may be called from one task at a time only.
    """

    def __init__(
        self,
        name: str,
        *,
        nursery: trio.Nursery,
        attributes: AttributeHost | None,
        on_change: Callable[[], None],
        log: logging.Logger,
        stop_grace: float,
    ) -> None:
        self.name = name
        self.state = State.INIT
        self.fault: FaultRecord | None = None
        self.exchanges: list[ExchangeDescriptor] = []
        self.ledgers: list[Ledger] = []
        self._nursery = nursery
        self._attributes = attributes
        self._on_change = on_change
        self._log = log
        self._stop_grace = stop_grace
        self._running: list[Exchange] = []
        self._scope = trio.CancelScope()
        self._errors: list[BaseException] = []
        self._idle = trio.Event()
        self._idle.set()
        self._advance(Trigger.INITIALISED)

    def _advance(self, trigger: Trigger) -> None:
        state = advance(self.state, trigger)
        if state is not self.state:
            self._log.info("group %s: %s -> %s", self.name, self.state, state)
        self.state = state
        self._on_change()

    async def configure(self, exchanges: Sequence[ExchangeDescriptor]) -> None:
        """Take on other exchanges; the attributes of their sinks are there on return.

        Raises:
            StateError: the group is streaming or in FAULT.
            QueueConnectorError: the attributes cannot be defined; the group is in FAULT.
        """
        trigger = Trigger.CONFIGURE if exchanges else Trigger.CONFIGURE_EMPTY
        await self._take_on(exchanges, trigger)

    async def standby(self) -> None:
        """Drop the configuration, and with it the attributes."""
        await self._take_on((), Trigger.STANDBY)

    async def reset(self) -> None:
        """Leave FAULT, without configuration."""
        advance(self.state, Trigger.RESET)
        await self._idle.wait()  # bounded: what is left of the session stops in order
        await self._take_on((), Trigger.RESET)

    async def _take_on(self, exchanges: Sequence[ExchangeDescriptor], trigger: Trigger) -> None:
        advance(self.state, trigger)
        if self._attributes is not None:
            wanted = [attribute for exchange in exchanges for _, attribute in exchange.attributes()]
            try:
                await self._attributes.define(self.name, wanted)
            except Exception as error:
                self._fail(error)
                raise
        if list(exchanges) != self.exchanges:
            self.exchanges = list(exchanges)
            self.ledgers = [Ledger() for _ in exchanges]
        self.fault = None
        self._errors = []
        self._advance(trigger)

    def start(self) -> None:
        """Begin a session: OPEN now, ON by itself once every source and sink has started."""
        self._advance(Trigger.START)
        self._idle = trio.Event()
        self._scope = trio.CancelScope()
        self._nursery.start_soon(self._session, name=f"group {self.name}")

    def request_stop(self) -> None:
        """End the session in order: CLOSE now, OFF by itself once drained and closed.

        What is not delivered within the stop grace is dropped, and counted so.
        """
        opening = self.state is State.OPEN
        self._advance(Trigger.STOP)
        if opening:
            self._scope.cancel()  # nothing streams yet, so there is nothing to drain
        else:
            self._drain()

    async def abort(self) -> None:
        """End the session at once, drain nothing; OFF on return."""
        advance(self.state, Trigger.ABORT)
        self._scope.cancel()
        await self._idle.wait()  # bounded by the grace that each source and sink has to stop
        if self.state is not State.OFF:
            self._advance(Trigger.ABORT)

    async def wait_idle(self) -> None:
        """Wait until no session is running."""
        await self._idle.wait()

    def _drain(self) -> None:
        self._scope.deadline = min(self._scope.deadline, trio.current_time() + self._stop_grace)
        for exchange in self._running:
            exchange.request_stop()

    def _fail(self, error: BaseException) -> None:
        if error in self._errors:
            return
        self._errors.append(error)
        self._log.error("group %s: %s", self.name, error, exc_info=_surprising(error))
        if self.fault is None:
            self.fault = FaultRecord.of(error)
        self._advance(Trigger.FAIL)

    def _fail_exchange(self, error: BaseException) -> None:
        """One exchange cannot go on: stop the others of the group in order."""
        opening = self.state is State.OPEN
        self._fail(error)
        if opening:
            self._scope.cancel()
        else:
            self._drain()

    async def _session(self) -> None:
        try:
            with self._scope:
                await self._stream()
        except* Exception as errors:
            self._fail(next(leaves(errors)))
        finally:
            self._running = []
            self._idle.set()
        if self._scope.cancelled_caught and self.state is State.CLOSE:
            self._log.warning("group %s: cut off while it was being stopped", self.name)
        if self.state is State.ON:  # every source has ended by itself
            self._advance(Trigger.STOP)
        if self.state is State.CLOSE:
            self._advance(Trigger.CLOSED)

    async def _stream(self) -> None:
        self._running = [
            Exchange.build(
                f"{self.name}[{index}]",
                descriptor,
                ledger,
                self._attributes,
                self._log,
                self._fail_exchange,
            )
            for index, (descriptor, ledger) in enumerate(
                zip(self.exchanges, self.ledgers, strict=True)
            )
        ]
        unopened = len(self._running)
        all_open = trio.Event()

        async def stream(exchange: Exchange) -> None:
            nonlocal unopened
            try:
                async with exchange:
                    unopened -= 1
                    if not unopened:
                        self._advance(Trigger.OPENED)
                        all_open.set()
                    await all_open.wait()
                    await exchange.run()
            except* Exception as errors:
                self._fail_exchange(next(leaves(errors)))

        async with trio.open_nursery() as nursery:
            for exchange in self._running:
                nursery.start_soon(stream, exchange, name=exchange.name)

    def as_dict(self) -> dict[str, Any]:
        """State, fault and exchanges, for the device's attribute ``groups``."""
        return {
            "state": self.state.value,
            "fault": attrs.asdict(self.fault) if self.fault else None,
            "exchanges": [f"{self.name}[{index}]" for index in range(len(self.exchanges))],
        }


def _surprising(error: BaseException) -> BaseException | None:
    """The error if it is not one that is raised on purpose, so that its traceback is logged."""
    cause = getattr(error, "cause", error)
    return None if isinstance(cause, QueueConnectorError) else error
