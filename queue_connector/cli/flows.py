"""``flows``: what the connector of a subarray would carry, and why the rest is not for it."""

from __future__ import annotations

import argparse
from typing import Any

import trio

from ..configdb import ConfigDatabase, View
from ..engine.following import Wanted
from ..engine.plan import route
from ..model import texts
from ..model.convert import unstructure
from ..model.errors import ConfigError
from ..reconfiguration.flows.checking import entities_of, with_entities
from ..reconfiguration.flows.entities import LEVELS
from ..reconfiguration.flows.reading import FlowReader
from .common import ENVIRONMENT, Commands, add_device, misuse, print_json, read, tell, with_database


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    flows = commands.add_parser(
        "flows",
        help=words,
        description="Read the flows of the configuration database and print, for each processing "
        "block, which exchanges the connector of a subarray would run, what it cannot and why, and "
        f"which flows are for another connector. {ENVIRONMENT} Exit status 1 when a flow is "
        "refused.",
    )
    flows.add_argument("subarray", metavar="SUBARRAY", help="e.g. 01")
    add_device(flows, "the Tango name of the connector, whose attributes are its own")
    flows.add_argument(
        "--file", metavar="FILE", help="read a flow file, not the database; - for stdin"
    )
    form = flows.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print all of it as JSON")
    form.add_argument(
        "--configuration",
        action="store_true",
        help="print the exchanges as a configuration, such as plan and validate take",
    )
    flows.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Read and print."""
    if not options.subarray.isalnum():
        misuse(f"SUBARRAY: expected letters and digits, e.g. 01, found {options.subarray!r:.60}")

    async def show(view: View) -> int:
        reader = FlowReader(options.subarray, options.device)
        wanted = await reader.wanted(view)
        if options.json:
            print_json(_as_json(reader, wanted))
        elif options.configuration:
            print_json({"exchanges": _exchanges(reader)})
        else:
            for line in _lines(options.subarray, reader, wanted):
                print(texts.printable(line))
        return 1 if any(carried.refusals for carried in reader.carried.values()) else 0

    async def read_and_show(database: ConfigDatabase) -> int:
        return await show(await database.view(LEVELS))

    if options.file is None:
        return with_database(read_and_show)
    try:
        entities = entities_of(read(options.file))
    except ConfigError as error:
        return tell(options.file, error.faults, "nothing of it is looked at")
    return trio.run(show, with_entities(View(0), entities))


def _lines(subarray: str, reader: FlowReader, wanted: dict[str, Wanted]) -> list[str]:
    found = []
    for pb, carried in reader.carried.items():
        found.append(f"{pb}: {len(carried.keys)} of {len(reader.chosen[pb])} flows")
        for key, exchange in zip(carried.keys, carried.exchanges, strict=True):
            found.append(f"  {key.path}: {route(exchange)}")
        found += [f"  {note}" for note in wanted[pb].notes]
    if not found:
        found.append(f"no flows for subarray {subarray}")
    for key, reason in reader.left_out().items():
        found.append(f"left out: {key.path}: {reason}")
    return found


def _exchanges(reader: FlowReader) -> dict[str, Any]:
    return {
        pb: [unstructure(exchange) for exchange in carried.exchanges]
        for pb, carried in reader.carried.items()
    }


def _as_json(reader: FlowReader, wanted: dict[str, Wanted]) -> dict[str, Any]:
    exchanges = _exchanges(reader)
    return {
        "groups": {
            pb: {
                "flows": [key.path for key in carried.keys],
                "exchanges": exchanges[pb],
                "notes": list(wanted[pb].notes),
            }
            for pb, carried in reader.carried.items()
        },
        "left_out": {key.path: reason for key, reason in reader.left_out().items()},
    }
