"""The lives of a connector under a schedule: commands, crashes, and the close at the end.

After the last command the connector is closed, which must be quick; then it lives once more, with
all ends mended, until whatever the logs hold must have arrived.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from unittest import mock

import attrs
import trio
import trio.testing

from queue_connector.engine import exchange
from queue_connector.engine.following import Wanted
from queue_connector.engine.group import Group
from queue_connector.engine.supervisor import Supervisor
from queue_connector.engine.window import Window
from queue_connector.model.errors import ClosedError, StateError
from queue_connector.model.exchanges import ExchangeDescriptor, QueueConnectorDescriptor
from queue_connector.testing.endpoints import Attributes
from tests.schedules.plan import (
    REST,
    STOP_GRACE,
    Command,
    ExchangePlan,
    Schedule,
    SetAside,
    Skip,
)
from tests.schedules.simulated import World, descriptor

QUIET = logging.getLogger("schedules")
QUIET.setLevel(logging.CRITICAL + 1)


@attrs.frozen
class Issued:
    """A command, when it was called, and when it was done; refused, if its state forbade it."""

    command: Command
    life: int
    called: float
    done: float
    refused: bool


@attrs.frozen
class Seen:
    """A group took on a state, or began to take on a configuration."""

    time: float
    event: int
    life: int
    group: str
    before: str
    what: str


@attrs.define(eq=False)
class Life:
    """From the start of a connector to its close or crash."""

    number: int
    began: float
    closing: float = 0.0
    ended: float = 0.0
    crashed: bool = False
    gone: float = 0.0
    """When nothing of it was left."""


@attrs.define(eq=False)
class Run:
    """What happened in a schedule."""

    schedule: Schedule
    world: World = attrs.field(factory=World)
    issued: list[Issued] = attrs.field(factory=list)
    seen: list[Seen] = attrs.field(factory=list)
    lives: list[Life] = attrs.field(factory=list)
    at_rest: dict[str, str] = attrs.field(factory=dict)
    """State of each group after the last life's rest."""


class _Watch(trio.abc.Instrument):
    """Looks after every step of every task: at each account, and at each group."""

    def __init__(self, run: Run, supervisor: Supervisor) -> None:
        self._run = run
        self._world = run.world
        self._life = run.world.life
        self._world.accounts.clear()
        self._supervisor = supervisor
        self._states: dict[Group, str] = {}
        self._revisions: dict[Group, int] = {}

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        handed = self._world.handed
        for account in self._world.accounts:
            if not account.balanced:
                self._world.violated(f"{account!r} does not balance, {account.in_flight} in flight")
            if account in handed and account.received != handed[account]:
                self._world.violated(f"{account!r}, but {handed[account]} were handed over")
        for group in self._supervisor.groups.values():
            if self._revisions.get(group) != group.revision:
                self._revisions[group] = group.revision
                self._note(group, "", "reconfigured")

    def changed(self) -> None:
        for group in self._supervisor.groups.values():
            before = self._states.get(group, "STANDBY")
            if before != group.state.value:
                self._states[group] = group.state.value
                self._note(group, before, group.state.value)
                if group.state.value == "FAULT" and group.fault is None:
                    self._world.violated(f"group {group.name} is in FAULT for no reason")

    def _note(self, group: Group, before: str, what: str) -> None:
        now, event = trio.current_time(), self._world.next_event()
        self._run.seen.append(Seen(now, event, self._life, group.name, before, what))


def play(schedule: Schedule) -> Run:
    """All that happens, on a virtual clock."""
    run = Run(schedule)
    clock = trio.testing.MockClock(autojump_threshold=0)
    with mock.patch.object(exchange, "Window", partial(Window, schedule.window)):
        trio.run(_play, run, clock=clock)
    return run


async def _play(run: Run) -> None:
    life: list[Command] = []
    for command in run.schedule.commands:
        life.append(command)
        if command.name == "crash":
            await _live(run, run.schedule.exchanges, life)
            life = []
    await _live(run, run.schedule.exchanges, life)
    await _live(run, [mended(plan) for plan in run.schedule.exchanges], None)


def mended(plan: ExchangePlan) -> ExchangePlan:
    """The same exchange with nothing that disturbs it."""
    match plan.on_error:
        case SetAside():
            on_error: Skip | SetAside = SetAside()
        case _:
            on_error = Skip()
    whole = {"outages": (), "breaks": (), "start_failures": 0, "stop_delay": 0.0}
    return attrs.evolve(
        plan,
        version=-1,
        on_error=on_error,
        sources=tuple(attrs.evolve(source, **whole) for source in plan.sources),
        sinks=tuple(attrs.evolve(sink, **whole) for sink in plan.sinks),
    )


async def _live(
    run: Run, plans: Sequence[ExchangePlan], commands: Sequence[Command] | None
) -> None:
    """One life: till the crash that is its last command, or till it is closed.

    Without commands nothing happens to it until all must have arrived.
    """
    world = run.world
    life = Life(world.life, trio.current_time())
    run.lives.append(life)
    async with trio.open_nursery() as nursery:
        supervisor = Supervisor(
            nursery,
            attributes=Attributes(),
            on_change=lambda: watch.changed(),
            log=QUIET,
            stop_grace=STOP_GRACE,
        )
        watch = _Watch(run, supervisor)
        trio.lowlevel.add_instrument(watch)
        try:
            await _command(run, supervisor, nursery, life, plans, commands)
        finally:
            life.ended = trio.current_time()
            if life.crashed:
                world.life += 1
                for plan in run.schedule.exchanges:
                    for source in plan.sources:
                        world.log(source.number).open_in = None
                        world.log(source.number).crash(life.ended - source.commit_delay)
            nursery.cancel_scope.cancel()
    life.gone = trio.current_time()
    trio.lowlevel.remove_instrument(watch)
    if not life.crashed:
        world.life += 1


async def _command(
    run: Run,
    supervisor: Supervisor,
    nursery: trio.Nursery,
    life: Life,
    plans: Sequence[ExchangePlan],
    commands: Sequence[Command] | None,
) -> None:
    first = tuple(plans)
    if run.schedule.followed or commands is None:
        await _issue(run, supervisor, life.number, Command(life.began, "follow", first), 0)
    else:
        await _issue(run, supervisor, life.number, Command(life.began, "configure", first), 0)
        if first:
            await _issue(run, supervisor, life.number, Command(life.began, "start"), 0)
    for revision, command in enumerate(commands or (), 1):
        await trio.sleep_until(max(command.at, trio.current_time()))
        if command.name == "crash":
            life.crashed = True
            return
        nursery.start_soon(_issue, run, supervisor, life.number, command, revision)
    if commands is not None:
        await trio.sleep(run.schedule.rest)
    else:
        await trio.sleep(REST)
        run.at_rest = {name: group.state.value for name, group in supervisor.groups.items()}
    life.closing = trio.current_time()
    with trio.move_on_after(1000) as scope:
        await supervisor.close()
    if scope.cancelled_caught:
        run.world.violated("the close does not end")
    left = [name for name, group in supervisor.groups.items() if group.state.value in BUSY]
    if left:
        run.world.violated(f"after the close {left} are streaming")


BUSY = ("OPEN", "ON", "CLOSE")


async def _issue(
    run: Run, supervisor: Supervisor, life: int, command: Command, revision: int
) -> None:
    called, refused = trio.current_time(), False
    wanted = {
        name: [
            descriptor(run.world, life, plan) for plan in command.exchanges if plan.group == name
        ]
        for name in sorted({plan.group for plan in command.exchanges})
    }
    try:
        await _do(supervisor, command.name, wanted, revision)
    except (StateError, ClosedError):
        refused = True
    finally:  # one that a crash cut off may have done its work
        run.issued.append(Issued(command, life, called, trio.current_time(), refused))


async def _do(
    supervisor: Supervisor,
    name: str,
    wanted: dict[str, Sequence[ExchangeDescriptor]],
    revision: int,
) -> None:
    if name == "follow":
        supervisor.follow({n: Wanted(revision + 1, exchanges) for n, exchanges in wanted.items()})
        await trio.lowlevel.checkpoint()
    elif name == "configure":
        await supervisor.configure(QueueConnectorDescriptor(exchanges=wanted))
    else:
        await getattr(supervisor, name)()
