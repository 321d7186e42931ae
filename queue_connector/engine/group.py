"""A group of exchanges: its state machine, and the nursery in which its exchanges live.

A session is the time from OPEN to OFF. Each exchange streams as soon as it can, see `session`; the
group is ON when all have started. An exchange that fails takes its group to FAULT, after the others
of the group have been stopped in order; other groups do not notice.

`Group.reconfigure` changes exchanges while the others of the group go on streaming.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence, Set as AbstractSet
from typing import Any

import trio

from ..model.errors import QueueConnectorError, leaves
from ..model.exchanges import ExchangeDescriptor
from ..model.services import PublishedAttribute
from .configured import ConfiguredExchange, Trouble
from .fault import FaultRecord, surprising
from .inlets import Marks
from .plan import kept_attributes, match, published, same
from .session import Resources, Session
from .state import State, Trigger, advance


async def _unclaimed(_group: Group, _names: AbstractSet[str]) -> None:
    """No other group holds attributes."""


class Group:
    """Exchanges that are configured, started and stopped together.

    `request_stop` and `abort` may be called at any time; whoever calls another method that changes
    something holds `changing`, so that no command comes between two steps of a change.
    """

    def __init__(
        self,
        name: str,
        *,
        nursery: trio.Nursery,
        resources: Resources,
        on_change: Callable[[], None],
        claim: Callable[[Group, AbstractSet[str]], Awaitable[None]] = _unclaimed,
    ) -> None:
        self.name = name
        self.state = State.INIT
        self.fault: FaultRecord | None = None
        self.revision = 0
        self.streams: list[ConfiguredExchange] = []
        self.notes: tuple[str, ...] = ()
        """What was wanted of it and is not there, and why, a line each."""
        self.changing = trio.Lock()
        self._nursery = nursery
        self._resources = resources
        self.shown: Any = None
        """How `overview` shows it; None: that has to be found out again."""
        self._on_change = on_change
        self._log = resources.log
        self._claim = claim
        self._defined: list[PublishedAttribute] = []
        self._halted = False
        self._session: Session | None = None
        self._claiming = trio.CancelScope()
        self._errors: list[BaseException] = []
        self._advance(Trigger.INITIALISED)

    @property
    def held(self) -> AbstractSet[str]:
        """The names of the attributes that are defined for this group, in lower case."""
        return {attribute.name.lower() for attribute in self._defined}

    @property
    def exchanges(self) -> list[ExchangeDescriptor]:
        """What is configured."""
        return [stream.descriptor for stream in self.streams]

    @property
    def errors(self) -> tuple[BaseException, ...]:
        """Why it is in FAULT, the first first."""
        return tuple(self._errors)

    @property
    def _at_work(self) -> bool:
        return self.state in (State.OPEN, State.ON)

    def _arrange(self, streams: Iterable[ConfiguredExchange]) -> None:
        """These are its exchanges from now on, named after their places."""
        self.streams = list(streams)
        for index, stream in enumerate(self.streams):
            stream.name.text = f"{self.name}[{index}]"

    def tell(self) -> None:
        """Something of it is not as it was."""
        self.shown = None
        self._on_change()

    def _advance(self, trigger: Trigger) -> None:
        state = advance(self.state, trigger)
        if state is not self.state:
            self._log.info("group %s: %s -> %s", self.name, self.state, state)
        self.state = state
        self.tell()

    # -- configuration -----------------------------------------------------------------------------

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
        await self.wait_idle()  # bounded: what is left of the session stops in order
        await self._take_on((), Trigger.RESET)

    def refuse(self, error: QueueConnectorError, revision: int = 0) -> None:
        """What was to be configured is wrong: what streams goes on, else FAULT."""
        streaming = self._at_work
        manner = " goes on as it was" if streaming else ""
        self._log.error("group %s%s: %s", self.name, manner, error)
        self.fault = FaultRecord.of(error, revision)  # of several, the last is what stands there
        if streaming:
            self.tell()
        else:
            self._advance(Trigger.FAIL)

    def mend(self) -> None:
        """What is configured is well again: a fault that did not stop it is over."""
        if self.state is not State.FAULT:
            self.fault = None
        self.tell()

    async def reconfigure(self, exchanges: Sequence[ExchangeDescriptor]) -> None:
        """Take on other exchanges in whatever state, and stream them.

        Exchanges that are wanted as they are go on untouched. Others are stopped in order, and
        sources of the same origin go on where those have stopped.

        What goes wrong takes the group to FAULT.
        """
        try:
            await self._reconfigure(exchanges)
        except Exception as error:
            self._fail(error)

    async def _reconfigure(self, exchanges: Sequence[ExchangeDescriptor]) -> None:
        marks: Marks = {}
        self._halted = False
        if await self._exchange_streams(exchanges, marks):
            return
        if self._at_work and self._session is not None:
            self._advance(Trigger.STOP)
            await self._session.stop(self.streams, marks)  # bounded by the stop grace
        await self.wait_idle()
        if self.state is State.FAULT:
            self._errors = []
            self.fault = None
            self._advance(Trigger.RESET)
        await self.release(exchanges)
        await self.configure(exchanges)
        if exchanges and not self._halted and not self._resources.permission.refusal:
            self.start(marks)

    async def release(self, exchanges: Iterable[ExchangeDescriptor]) -> None:
        """Remove the attributes that *exchanges* do not publish, so that others can have them."""
        kept = kept_attributes(self._defined, published(exchanges))
        if len(kept) != len(self._defined):
            await self._define(kept)

    async def _exchange_streams(
        self, exchanges: Sequence[ExchangeDescriptor], marks: Marks
    ) -> bool:
        """Change what differs inside the running session; whether that was possible."""
        kept, session = self._matched(exchanges), self._session
        if not self._at_work or session is None or not session.running or not any(kept):
            return False
        completed = False

        async def change() -> None:
            nonlocal completed
            await session.stop([stream for stream in self.streams if stream not in kept], marks)
            await self.release(exchanges)
            with self._claiming:
                await self._claim_for(exchanges)
            if self._claiming.cancelled_caught:
                return
            await self._define(published(exchanges))
            if not self._at_work:
                return
            self._arrange(
                stream or ConfiguredExchange(exchange)
                for stream, exchange in zip(kept, exchanges, strict=True)
            )
            new = [stream for stream in self.streams if stream not in kept]
            session.launch(new, self.streams, marks)
            self._look()
            self.fault = None
            completed = True
            self.tell()

        self._claiming = trio.CancelScope()
        await session.change(change)
        return completed

    def _matched(self, exchanges: Iterable[ExchangeDescriptor]) -> list[ConfiguredExchange | None]:
        """For each exchange the stream that runs it already, if one does."""
        running = [s for s in self.streams if s.exchange is not None and not s.ended.is_set()]
        return match(running, exchanges, lambda stream: stream.descriptor)

    async def _take_on(self, exchanges: Sequence[ExchangeDescriptor], trigger: Trigger) -> None:
        advance(self.state, trigger)
        try:
            await self._claim_for(exchanges)
            await self._define(published(exchanges))
        except Exception as error:
            self._fail(error)
            raise
        if not same(self.exchanges, exchanges):
            self._arrange(ConfiguredExchange(exchange) for exchange in exchanges)
        self.fault = None
        self._errors = []
        self._advance(trigger)

    async def _claim_for(self, exchanges: Iterable[ExchangeDescriptor]) -> None:
        names = {attribute.name.lower() for attribute in published(exchanges)}
        await self._claim(self, names - self.held)

    async def _define(self, wanted: Sequence[PublishedAttribute]) -> None:
        if self._resources.attributes is not None:
            await self._resources.attributes.define(self.name, wanted)
        self._defined = list(wanted)
        self.tell()

    # -- streaming ---------------------------------------------------------------------------------

    def start(self, marks: Marks | None = None) -> None:
        """Begin a session: OPEN now, ON by itself once every source and sink has started."""
        self._halted = False
        self._advance(Trigger.START)
        self._session = session = Session(self._resources, self._fail_exchange, self._look)
        self._nursery.start_soon(self._run, session, marks or {}, name=f"group {self.name}")

    async def restart(self, stream: ConfiguredExchange) -> None:
        """Stop one exchange in order and start it again, beside the others; see `operations`."""
        async with self.changing:
            session = self._session
            if self._at_work and session and session.running and stream in self.streams:
                await session.restart(stream, self.streams, lambda: self._at_work)

    def request_stop(self) -> None:
        """End the session in order: CLOSE now, OFF by itself once drained and closed.

        What is not delivered within the stop grace is dropped, and counted so.
        """
        self._advance(Trigger.STOP)
        self._drain()
        self.halt()

    async def abort(self) -> None:
        """End the session at once and drain nothing; it has ended on return."""
        self._advance(Trigger.ABORT)
        await self.cut_off()

    async def cut_off(self) -> None:
        """Let nothing of the session go on, whatever the state; it has ended on return."""
        self.halt()
        if self._session is not None:
            self._session.cancel()
        await self.wait_idle()  # bounded by the grace that each source and sink has to stop

    def halt(self) -> None:
        """Whatever is being changed now streams nothing when it is done."""
        self._halted = True

    async def wait_idle(self) -> None:
        """Wait until no session is running."""
        if self._session is not None:
            await self._session.wait_ended()

    def _drain(self) -> None:
        self._claiming.cancel()  # a change of this session is not going to stream any more
        if self._session is not None:
            self._session.request_stop(self.streams)

    def _fail(self, error: BaseException, revision: int = 0) -> None:
        if error in self._errors:
            return
        self._errors.append(error)
        self._log.error("group %s: %s", self.name, error, exc_info=surprising(error))
        if self.state is not State.FAULT or self.fault is None:
            self.fault = FaultRecord.of(error, revision)
        self._advance(Trigger.FAIL)

    def _fail_exchange(self, error: BaseException) -> None:
        """One exchange cannot go on: stop the others of the group in order."""
        self._fail(error)
        self._drain()

    async def _run(self, session: Session, marks: Marks) -> None:
        def begin() -> None:
            if self.state is State.OPEN:  # it was not stopped before it began
                session.launch(self.streams, self.streams, marks)

        try:
            await session.run(begin)
        except* Exception as errors:
            self._fail(next(leaves(errors)))
        if self.state is State.ON:  # every source has ended by itself
            self._advance(Trigger.STOP)
        if self.state is State.CLOSE:
            self._advance(Trigger.CLOSED)

    def _look(self) -> None:
        """An exchange has started or ended: ON once all have started."""
        if self.state is State.OPEN and all(stream.started.is_set() for stream in self.streams):
            self._advance(Trigger.OPENED)
        elif self.state is State.ON:
            self.tell()

    # -- how it is ---------------------------------------------------------------------------------

    @property
    def degraded(self) -> bool:
        """Whether something of it cannot go on or is missing, or a fault did not stop it."""
        at_fault = self.fault is not None or bool(self.notes)
        return at_fault or any(stream.degraded for stream in self.streams)

    def troubles(self) -> Iterator[Trouble]:
        """What cannot go on: exchange, endpoint, what it waits for, since when; what is missing."""
        for note in self.notes:
            yield (self.name, note), note
        for stream in self.streams:
            yield from stream.troubles()
