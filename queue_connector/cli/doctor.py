"""``doctor``: whether all is there that a configuration needs, looked at from outside."""

from __future__ import annotations

import argparse
import os
import platform
import resource
from collections.abc import Iterable, Iterator
from functools import partial

import attrs
import trio

from .. import __version__, configdb
from ..configuration import document
from ..model import texts
from ..model.endpoints import PeerDescriptor
from ..model.errors import QueueConnectorError, leaves
from ..model.exchanges import ExchangeDescriptor, QueueConnectorDescriptor
from ..model.probe import Probe
from ..runtime.answers import answer
from ..runtime.process import MANY_THREADS, spare_threads
from .asking import import_tango, reason
from .common import ENVIRONMENT, Commands, print_json, read, run_async, tell, tinted, warn

AT_ONCE = 8
"""Peers that are looked at together."""

LOWEST = 1024
"""Open files and threads that a large array needs: some 40 of each, and those of its clients."""

DATABASE = "the configuration database"


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    doctor = commands.add_parser(
        "doctor",
        help=words,
        description="Look from outside at what a configuration needs: brokers, topics and log-ins, "
        "devices and attributes; and at this machine: versions, limits, the Tango database and the "
        f"configuration database. {ENVIRONMENT} Nothing is changed; a subscription is made for a "
        "moment. Exit status 1 when something is not as it should be.",
    )
    doctor.add_argument("config", nargs="?", metavar="CONFIG.json", help="a file; - for stdin")
    doctor.add_argument("--json", action="store_true", help="print a list of objects")
    doctor.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look and tell."""
    descriptor = QueueConnectorDescriptor()
    if options.config is not None:
        reading = document.examine(read(options.config))
        if reading.descriptor is None:
            return tell(options.config, reading.faults, "nothing was looked at")
        warn(options.config, [*reading.warnings, *reading.descriptor.absences()])
        descriptor = reading.descriptor
    probes = [*_machine(), *run_async(partial(_look, descriptor))]
    if options.json:
        print_json([attrs.asdict(probe) for probe in probes])
    else:
        print("\n".join(_lines(probes)))
    return 1 if any(probe.problem for probe in probes) else 0


def _lines(probes: Iterable[Probe]) -> Iterator[str]:
    for probe in probes:
        if not probe.problem:
            found = texts.printable(f"{probe.what}: {probe.found}")
            yield f"  {tinted('well', 'green')}  {found}"
            continue
        mark = tinted("WAITS", "yellow") if probe.awaited else tinted("WRONG", "red")
        found = f" ({probe.found})" if probe.found else ""
        yield f"  {mark} {texts.printable(f'{probe.what}{found}: {probe.problem}')}"
        if probe.hint:
            yield f"        {texts.printable(probe.hint)}"


def _machine() -> Iterator[Probe]:
    """What this process may have, and the versions of what it uses."""
    tango = import_tango()
    from ..connectors.kafka.probing import VERSION

    yield Probe(
        "versions",
        f"queue-connector {__version__}, Python {platform.python_version()}, "
        f"PyTango {tango.__version__}, librdkafka {VERSION}",
    )
    files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield _enough("files that may be open", files, "raise ulimit -n")
    threads = spare_threads(MANY_THREADS)
    if threads >= MANY_THREADS:
        yield Probe("threads that may be started", f"{MANY_THREADS} or more")
    else:
        hint = "raise ulimit -u, or the limit of the container"
        few = f"{threads} is few for a large array"
        yield Probe("threads that may be started", problem=few, hint=hint)


def _enough(what: str, found: int, hint: str) -> Probe:
    if found >= LOWEST or found == resource.RLIM_INFINITY:
        return Probe(what, "unlimited" if found == resource.RLIM_INFINITY else str(found))
    return Probe(what, problem=f"{found} are few for a large array", hint=hint)


async def _look(descriptor: QueueConnectorDescriptor) -> list[Probe]:
    """What the peers of all exchanges are found to be, each once, in their order."""
    ends = [
        end
        for exchanges in descriptor.groups.values()
        for exchange in exchanges
        for end in _ends(exchange)
    ]
    found: dict[int, list[Probe]] = {}
    limiter = trio.CapacityLimiter(AT_ONCE)

    async def look(number: int) -> None:
        found[number] = await answer(lambda: list(ends[number].probe()), limiter)

    async with trio.open_nursery() as nursery:
        for number in range(len(ends)):
            nursery.start_soon(look, number)
        around = [*await answer(lambda: list(_tango_database()), limiter), *await _database()]
    probes = (probe for number in sorted(found) for probe in found[number])
    return list(dict.fromkeys((*around, *probes)))


def _ends(exchange: ExchangeDescriptor) -> Iterator[PeerDescriptor]:
    yield from exchange.sources
    yield from exchange.sinks
    yield exchange.error_policy


def _tango_database() -> Iterator[Probe]:
    """Whether the Tango database answers, where one is named."""
    tango = import_tango()
    host = os.environ.get("TANGO_HOST", "")
    if not host:
        yield Probe("the Tango database", "none is named by TANGO_HOST; serve needs none")
        return
    try:
        tango.Database().get_info()
    except tango.DevFailed as error:
        hint = "start it, or mend TANGO_HOST"
        yield Probe(f"the Tango database at {host}", problem=reason(error), hint=hint, awaited=True)
    else:
        yield Probe(f"the Tango database at {host}", "it answers")


async def _database() -> list[Probe]:
    """Whether the configuration database answers, where one is named."""
    if not any(name.startswith("SDP_CONFIG_") for name in os.environ):
        return [Probe(DATABASE, "none is named by the SDP_CONFIG_ variables")]
    why = ""
    try:
        async with configdb.from_environment() as database:
            await database.get("/component")
    except* QueueConnectorError as errors:
        why = "; ".join(str(error) for error in leaves(errors))
    if why:
        return [Probe(DATABASE, problem=why, hint="mend the SDP_CONFIG_ variables", awaited=True)]
    return [Probe(DATABASE, "it answers")]
