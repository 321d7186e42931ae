"""``config list``: the groups or the flows below a path, and how they are."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator

from ...configdb import Children, ConfigDatabase
from ...reconfiguration.children import is_configuration, is_name
from ...reconfiguration.flows.checking import examine
from ...reconfiguration.flows.entities import FLOWS, LEVELS
from ...reconfiguration.reporter import FAULT, STATE
from ..common import Commands, add_device, path, print_json, with_database
from .entries import Entry, FlowEntry, object_of


def add_to(actions: Commands) -> None:
    """Declare the command."""
    show = actions.add_parser(
        "list",
        help="print the groups or flows below a path, and how they are",
        description="A line for each child: its path, its revision, whether it is valid, and the "
        "state and fault that a device has written back, with whose they are, and whether they "
        f"are of an older revision. Below {FLOWS}, the flows that name a queue connector.",
    )
    show.add_argument("path", type=path, metavar="PATH", help=f"what a device watches, or {FLOWS}")
    show.add_argument("--json", action="store_true", help="print a list of objects")
    add_device(show, "of flows: the Tango name of the connector that is to carry them")
    show.set_defaults(run=_list)


_NOTHING = {
    False: "no configuration stands there, and none below",
    True: "no flow below names a queue connector",
}


def _list(options: argparse.Namespace) -> int:
    async def show(database: ConfigDatabase) -> int:
        entries: list[Entry] | list[FlowEntry]
        if options.path == FLOWS:
            entries = await _flow_entries(database, options.device)
        else:
            entries = [entry async for entry in _entries(database, options.path)]
        if options.json:
            print_json([entry.as_dict() for entry in entries])
        elif not entries:
            print(f"{options.path}: {_NOTHING[options.path == FLOWS]}")
        for entry in entries if not options.json else ():
            print(entry)
        return 0

    return with_database(show)


async def _entries(database: ConfigDatabase, path: str) -> AsyncIterator[Entry]:
    view = await database.children(path)
    if view.own is not None and is_configuration(view.own.value):
        yield Entry.of(path, "", view)
    for name, value in sorted(view.values.items()):
        here = f"{path}/{name}"
        if name in (STATE, FAULT):
            continue
        if is_name(name):
            below = await database.children(here)
        else:
            below = Children(view.revision, own=value)  # nothing can be told of it
        if below.own is not None:
            yield Entry.of(here, name, below)


async def _flow_entries(database: ConfigDatabase, device: str) -> list[FlowEntry]:
    view = await database.view(LEVELS)
    return [
        FlowEntry(
            key.path,
            view.values[key.path].mod_revision,
            judgement,
            object_of(view.values.get(f"{key.path}/{STATE}")),
        )
        for key, judgement in (await examine(view, device)).items()
    ]
