"""``config delete``: a configuration, or an entity of flows with its state."""

from __future__ import annotations

import argparse

from ...configdb import ConfigDatabase, Versioned
from ...configuration import document
from ...model.errors import ConfigError
from ...reconfiguration.flows.entities import STATE, is_entity
from ..common import Commands, failure, path, print_json, with_database

OWNER_KEYS = {"pid", "hostname", "command"}
"""The keys of an owner record: what it stands at belongs to a process, not to people."""


def add_to(actions: Commands) -> None:
    """Declare the command."""
    delete = actions.add_parser(
        "delete",
        help="delete a configuration, whose group the device stops and removes; or a flow or a "
        "block, with its state",
    )
    delete.add_argument("path", type=path, metavar="PATH", help="of the group, flow or block")
    delete.add_argument(
        "--json", action="store_true", help="print what was deleted as a JSON object"
    )
    delete.set_defaults(run=_delete)


def _delete(options: argparse.Namespace) -> int:
    async def delete(database: ConfigDatabase) -> int:
        standing = await database.get(options.path)
        if standing is None:
            failure(f"{options.path}: nothing is there")
        if is_owner_record(standing):
            failure(f"{options.path}: an owner record stands there; nothing was deleted")
        doomed = [options.path]
        if is_entity(below := f"{options.path}/{STATE}"):
            doomed.append(below)
        expected = {options.path: standing.mod_revision}
        if await database.transact(dict.fromkeys(doomed), expected=expected) is None:
            failure(f"{options.path}: somebody else wrote there just now; nothing was deleted")
        if options.json:
            print_json({"deleted": doomed})
        else:
            print(f"{options.path}: deleted")
        return 0

    return with_database(delete)


def is_owner_record(value: Versioned | None) -> bool:
    """Whether a process is known by this value."""
    if value is None:
        return False
    try:
        return set(document.load(value.value)) >= OWNER_KEYS
    except ConfigError:
        return False
