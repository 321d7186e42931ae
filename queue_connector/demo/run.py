"""The demonstration from start to summary.

* start     broker and dishes → connector → telescope → pipeline → the dishes track. Whoever
  receives is there before whoever sends, so that every count starts from nothing
* end       the dishes halt, what is on its way arrives, the connector stops in order, the counts
  are compared, the processes end
* Ctrl-C    (or SIGTERM, or a terminal that is closed) once: the same end, earlier; twice: all is
  killed at once
* status    0 all counts agree; 1 some do not, or a process failed; 130 after the second Ctrl-C
"""

from __future__ import annotations

import json
import math
import shutil
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path

import attrs
import trio
from trio_util import periodic

from ..model.errors import leaves
from ..runtime.process import HELD
from .children import Child, Children, DemoError, open_children
from .remote import Connector, Dishes
from .routes import configuration, first_dishes, topics
from .tally import Tally
from .telescope import Telescope, open_telescope
from .view import View

START_TIME = 20.0
"""Seconds in which each process must be ready; on a quiet machine it takes about one."""

DRAIN_TIME = 10.0
"""Seconds in which what is on its way must arrive."""

STOP_TIME = 15.0
"""Seconds in which the connector must stop in order, and each process end."""

KILLED = 130
"""The exit status after the second Ctrl-C, as shells have it for SIGINT."""

LOOK = 0.05  # s between two looks at what is awaited


def run_demo(
    directory: Path, *, seconds: float | None, dishes: int, rate: float, metrics_port: int = 0
) -> int:
    """Run it for *seconds* or until Ctrl-C, with pointings at *rate* Hz; return the exit status.

    The logs are in *directory*, which goes with them unless something went wrong. The connector
    serves its status page at *metrics_port*, if that is not 0.
    """
    keep = True
    try:
        status = trio.run(Demo(directory, seconds, dishes, rate, metrics_port).run)
        keep = status == 1
    except BaseExceptionGroup as errors:
        # The reader of our output has gone, e.g. ``| head``.
        keep = not all(isinstance(error, BrokenPipeError) for error in leaves(errors))
        raise
    finally:
        if keep:
            print(f"The logs are in {directory}", file=sys.stderr)
        else:
            shutil.rmtree(directory, ignore_errors=True)
    return status


@attrs.frozen
class Cast:
    """Who takes part beside the telescope: four processes, and two of them as Tango devices."""

    broker: Child
    dish_server: Child
    pipeline: Child
    server: Child
    dishes: Dishes
    connector: Connector


class Demo:
    """One run; its logs go to *directory*."""

    def __init__(
        self, directory: Path, seconds: float | None, dishes: int, rate: float, metrics_port: int
    ) -> None:
        self._directory = directory
        self._seconds = math.inf if seconds is None else seconds
        self._rate = rate
        self._metrics_port = metrics_port
        self._dishes = first_dishes(dishes)
        self._tally = Tally(self._dishes)
        self._view = View(sys.stdout, self._tally)
        self._states: dict[str, str] = {}
        self._stopping = trio.Event()
        self._children: Children | None = None
        self._killed = False

    async def run(self) -> int:
        """Do all of it; the exit status."""
        failures: list[BaseException] = []
        try:
            async with trio.open_nursery() as nursery:
                await nursery.start(self._heed_signals, nursery.cancel_scope)
                async with open_children(self._directory) as self._children:
                    await self._perform(self._children)
                nursery.cancel_scope.cancel()
        except* DemoError as errors:
            failures += leaves(errors)
        if self._killed:
            return KILLED
        for failure in failures[:1]:  # the first one led to the others
            self._view.say()
            print(f"queue-connector demo: {failure}", file=sys.stderr)
            return 1
        return self._conclude()

    async def _heed_signals(
        self,
        scope: trio.CancelScope,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        with trio.open_signal_receiver(*HELD) as signals:
            task_status.started()
            async for _ in signals:
                if self._stopping.is_set():
                    self._killed = True
                    if self._children is not None:
                        self._children.kill()
                    scope.cancel()
                else:
                    self._stopping.set()
                    self._view.say("Stopping in order; Ctrl-C once more ends it at once")

    async def _perform(self, children: Children) -> None:
        began = trio.current_time()
        self._view.say("Starting broker, dishes, connector, pipeline and telescope")
        cast = await self._assemble(children)
        address = cast.connector.address
        async with open_telescope(cast.server, address, self._dishes) as telescope:
            try:
                self._tally.telescope = telescope.events
                self._tally.trouble = telescope.trouble
                await cast.pipeline.say("start")
                await cast.dishes.command("Track")
                took = trio.current_time() - began
                self._view.say(f"Streaming after {took:.1f} s; the connector is {address}")
                if self._metrics_port:
                    self._view.say(f"Its status page is http://127.0.0.1:{self._metrics_port}/")
                self._view.say()
                await self._watch(cast, telescope)
                await self._wind_down(cast)
            except BaseException:
                children.kill()  # unsubscribing from one that hangs would take long
                raise
        for child in (cast.server, cast.dish_server, cast.broker):
            child.terminate()
            await child.wait(STOP_TIME)

    async def _assemble(self, children: Children) -> Cast:
        """Start the processes; on return the connector streams and nothing has been sent."""
        count = str(len(self._dishes))
        names = ",".join(topics(self._dishes))
        broker = await children.start(
            "broker", "-m", "queue_connector.demo.embedded_broker", "--topics", names
        )
        dish_server = await children.start(
            "dishes",
            *("-m", "queue_connector.demo.dishes", "--dishes", count, "--rate", str(self._rate)),
        )
        servers = json.loads(await broker.first_line(START_TIME))["bootstrap_servers"]
        pipeline = await children.start(
            "pipeline",
            *("-m", "queue_connector.demo.pipeline", "--servers", servers, "--dishes", count),
            on_line=self._hear_pipeline,
        )
        port = json.loads(await dish_server.first_line(START_TIME))["port"]
        file = self._directory / "configuration.json"
        text = json.dumps(configuration(self._dishes, port, servers), indent=2)
        await trio.Path(file).write_text(text)
        server = await children.start(
            "connector",
            *("-m", "queue_connector", "serve", str(file)),
            *("--metrics-port", str(self._metrics_port)),
        )
        dishes = Dishes(dish_server, port, self._dishes)
        connector = Connector(server, await server.first_line(START_TIME))
        cast = Cast(broker, dish_server, pipeline, server, dishes, connector)
        await _within(START_TIME, dishes.connected, dish_server)
        await _within(START_TIME, connector.connected, server)
        await pipeline.first_line(START_TIME)
        await _within(START_TIME, partial(self._streaming, cast), server)
        return cast

    async def _streaming(self, cast: Cast) -> None:
        """Wait until both groups are ON and each dish's subscription has brought a value."""
        async for _ in periodic(LOOK):
            await self._count(cast)
            if set(self._states.values()) == {"ON"} and all(
                self._tally.ledger(dish.pointings_exchange)["received"] for dish in self._dishes
            ):
                return

    async def _watch(self, cast: Cast, telescope: Telescope) -> None:
        """Show what flows until the time is over, or Ctrl-C."""
        began = trio.current_time()

        async def show() -> None:
            async for _ in periodic(self._view.interval):
                await self._count(cast)
                elapsed = trio.current_time() - began
                of = "" if self._seconds == math.inf else f" of {self._seconds:g}"
                groups = ", ".join(f"{name} {state}" for name, state in self._states.items())
                self._view.show(elapsed, f"{elapsed:4.0f}{of} s  {groups}", telescope.latest)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(show)
            with trio.move_on_after(self._seconds):
                await self._stopping.wait()
            nursery.cancel_scope.cancel()

    async def _wind_down(self, cast: Cast) -> None:
        """Let everything arrive, stop the connector and the pipeline, take the final counts."""
        self._view.say()
        await cast.dishes.command("Halt")
        with trio.move_on_after(DRAIN_TIME):
            async for _ in periodic(LOOK):
                await self._count(cast)
                if not any(self._tally.disagreements()):
                    break
        await cast.connector.command("Stop")
        await _within(STOP_TIME, partial(self._stopped, cast), cast.server)
        await cast.pipeline.say("stop")
        await cast.pipeline.wait(STOP_TIME)
        await self._count(cast)

    async def _stopped(self, cast: Cast) -> None:
        async for _ in periodic(LOOK):
            await self._count(cast)
            if set(self._states.values()) == {"OFF"}:
                return

    async def _count(self, cast: Cast) -> None:
        """Ask dishes and connector for their counts; the others tell theirs unasked."""
        self._tally.handed_out = await cast.dishes.counts()
        groups, self._tally.ledgers = await cast.connector.report()
        self._states = {name: group["state"] for name, group in groups.items()}
        for name, group in groups.items():
            if group["state"] == "FAULT":
                raise DemoError(f"the group {name} is in FAULT: {group['fault']['message']}")

    def _hear_pipeline(self, line: str) -> None:
        message = json.loads(line)
        if "ready" not in message:
            self._tally.pipeline = message

    def _conclude(self) -> int:
        for line in self._tally.summary():
            print(line)
        print()
        if found := [*self._tally.disagreements()]:
            print("NOT all counts agree:")
            for disagreement in found:
                print(f"  {disagreement}")
            return 1
        count = self._tally.totals()[0]
        print(f"All counts agree: {count} pointings became {count} offsets, nothing was lost")
        return 0


async def _within(seconds: float, wait: Callable[[], Awaitable[None]], child: Child) -> None:
    with trio.move_on_after(seconds) as scope:
        await wait()
    if scope.cancelled_caught:
        raise child.trouble(f"did not do what was awaited within {seconds:g} s")
