"""``run``: exchanges in this process, without any Tango device of their own."""

from __future__ import annotations

import argparse
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from typing import Any

import trio

from ..configuration import document
from ..connector import Connector, open_connector
from ..model.errors import Fault
from ..model.exchanges import QueueConnectorDescriptor
from ..runtime.logs import configure_logging
from ..runtime.process import HELD, INTERRUPTED
from .accounts import parts_of, table
from .common import Commands, port, positive, print_json, read, tell, warn

STOP_GRACE = 10.0
"""Seconds in which the end delivers what is in flight."""

_log = logging.getLogger(__name__)


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    run_ = commands.add_parser(
        "run",
        help=words,
        description="Run a configuration in this process, without a Tango device: none of its "
        "sinks may publish attributes. It ends when all sources have, or at Ctrl-C, which delivers "
        "what is in flight; a second Ctrl-C ends it at once. What became of every datum is printed "
        "then. Exit status 1 when an exchange has failed, or a ledger does not balance.",
    )
    run_.add_argument("config", metavar="CONFIG.json", help="the configuration; - for stdin")
    run_.add_argument("--json", action="store_true", help="print the ledgers as JSON")
    run_.add_argument(
        "--seconds", type=positive, metavar="S", help="end in order after so many seconds"
    )
    run_.add_argument(
        "--metrics-port",
        type=port,
        default=0,
        metavar="PORT",
        help="serve metrics over HTTP at this port of 127.0.0.1, at /metrics; none unless given",
    )
    run_.add_argument("-v", "--verbose", action="store_true", help="log DEBUG lines too")
    run_.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Stream until the end."""
    text = read(options.config)
    reading = document.examine(text)
    if reading.descriptor is None:
        return tell(options.config, reading.faults, "nothing was started")
    warn(options.config, reading.warnings)
    if faults := list(_needs_a_device(reading.descriptor)):
        return tell(options.config, faults, "nothing was started")
    if not any(reading.descriptor.groups.values()):
        print("{}" if options.json else "nothing is configured")
        return 0
    configure_logging(logging.DEBUG if options.verbose else logging.INFO)
    return trio.run(_stream, reading.descriptor, options)


def _needs_a_device(descriptor: QueueConnectorDescriptor) -> Iterator[Fault]:
    for name, exchanges in descriptor.groups.items():
        for place, exchange in enumerate(exchanges):
            for attribute in exchange.attributes():
                yield Fault(
                    f"{name}[{place}]",
                    f"the attribute {attribute.name!r} needs a Tango device to be of",
                    "use queue-connector serve",
                )


async def _stream(descriptor: QueueConnectorDescriptor, options: argparse.Namespace) -> int:
    interrupted = False
    async with (
        open_connector(stop_grace=STOP_GRACE, metrics_port=options.metrics_port) as connector,
        trio.open_nursery() as nursery,
    ):

        async def heed() -> None:
            nonlocal interrupted
            with trio.open_signal_receiver(*HELD) as signals:
                await _first(signals, options.seconds)
                nursery.start_soon(connector.close)
                async for number in signals:
                    if number == signal.SIGINT:
                        interrupted = True
                        nursery.cancel_scope.cancel()

        nursery.start_soon(heed)
        supervisor = connector.supervisor
        await supervisor.configure(descriptor)
        await supervisor.start()
        await supervisor.wait_idle()
        nursery.cancel_scope.cancel()
    return INTERRUPTED if interrupted else _sum_up(connector, as_json=options.json)


async def _first(signals: AsyncIterator[int], seconds: float | None) -> None:
    """Wait until a signal asks for the end, or the time is over."""
    with trio.move_on_after(seconds if seconds is not None else float("inf")):
        async for number in signals:
            _log.info("%s: ending in order", signal.Signals(number).name)
            return


def _sum_up(connector: Connector, *, as_json: bool) -> int:
    supervisor = connector.supervisor
    statistics: dict[str, Any] = supervisor.statistics()
    parts = list(parts_of(statistics))
    if as_json:
        print_json(statistics)
    else:
        print("\n".join(table(parts)))
    failed = any(group.errors for group in supervisor.groups.values())
    return 1 if failed or any(part.imbalance for part in parts) else 0
