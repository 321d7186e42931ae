"""``config``: configurations in the configuration database, written and read by hand."""

from __future__ import annotations

import argparse
import json
import sys
from typing import TYPE_CHECKING, Any

from .. import config
from ..configdb import ABSENT, Children, ConfigDatabase, Versioned
from ..errors import ConfigError, counted
from ..monitor import Child, Reader, is_configuration
from ..reporter import FAULT, STATE
from .common import ENVIRONMENT, failure, faults, misuse, path, read, tell, with_database

if TYPE_CHECKING:
    from .common import Commands

OWNER_KEYS = {"pid", "hostname", "command"}
"""The keys of an owner record: what it stands at belongs to a process, not to people."""


def add_to(commands: Commands) -> None:
    """Declare the command and its own commands."""
    parser = commands.add_parser(
        "config",
        help="write and read configurations in the configuration database",
        description=f"Configurations in the configuration database. {ENVIRONMENT} A PATH is that "
        "of a group, e.g. /component/name/owner/my_id, where a device watches "
        "/component/name/owner.",
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    put = actions.add_parser(
        "put",
        help="check a configuration, then write it",
        description="Write a configuration when it is valid. One that is not is refused with "
        "its faults and exit status 1, and nothing is written. What stands there already may be "
        "written again: it touches nothing that streams, and leads a group out of FAULT.",
    )
    put.add_argument("path", type=path, metavar="PATH", help="of the group")
    put.add_argument("file", metavar="FILE", help="the configuration; - for stdin")
    put.set_defaults(run=_put)

    get = actions.add_parser("get", help="print what stands at a path")
    get.add_argument("path", type=path, metavar="PATH", help="of any key")
    get.set_defaults(run=_get)

    show = actions.add_parser(
        "list",
        help="print the groups below a path, and how they are",
        description="A line for each child: its name, its revision, whether it is valid, and the "
        "state and fault that a device has written back.",
    )
    show.add_argument("path", type=path, metavar="PATH", help="what a device watches")
    show.set_defaults(run=_list)

    delete = actions.add_parser(
        "delete",
        help="delete a configuration; the device stops and removes the group",
    )
    delete.add_argument("path", type=path, metavar="PATH", help="of the group")
    delete.set_defaults(run=_delete)


def _put(options: argparse.Namespace) -> int:
    text = read(options.file)
    if found := faults(text):
        return tell(options.file, found, "nothing was written")
    parent, _, name = options.path.rpartition("/")
    if name in (STATE, FAULT):
        misuse(f"{options.path}: {name} is what a device writes, and no name of a group")

    async def put(database: ConfigDatabase) -> int:
        standing = await database.get(options.path)
        if _is_owner_record(standing):
            failure(f"{options.path}: an owner record stands there; nothing was written")
        if parent:
            for warning in _conflicts(await database.children(parent), name, text):
                print(f"warning: {warning}", file=sys.stderr)
        # Only over what was looked at: what somebody else has written meanwhile stays.
        revision = await database.compare_and_swap(
            options.path, text, ABSENT if standing is None else standing.mod_revision
        )
        if revision is None:
            failure(f"{options.path}: somebody else wrote there just now; nothing was written")
        print(f"{options.path}: written, revision {revision}")
        return 0

    return with_database(put)


def _conflicts(view: Children, name: str, text: bytes) -> list[str]:
    """Why a device that watches the parent would refuse it, for all that it is valid alone."""
    reader = Reader()
    reader.wanted(view)
    values = {**view.values, name: Versioned(text, view.revision + 1)}
    wanted = reader.wanted(Children(view.revision + 1, values, view.own))
    return [
        f"a device that watches {name!r} beside the others would refuse it: {fault}"
        for group, found in wanted.items()
        if reader.owners[group] == name and found.refusal is not None
        for fault in found.refusal.faults
    ]


def _get(options: argparse.Namespace) -> int:
    async def get(database: ConfigDatabase) -> int:
        found = await database.get(options.path)
        if found is None:
            failure(f"{options.path}: nothing is there")
        sys.stdout.buffer.write(found.value)
        if not found.value.endswith(b"\n"):
            sys.stdout.buffer.write(b"\n")
        sys.stdout.buffer.flush()
        return 0

    return with_database(get)


def _list(options: argparse.Namespace) -> int:
    async def show(database: ConfigDatabase) -> int:
        view = await database.children(options.path)
        values = {name: v for name, v in view.values.items() if name not in (STATE, FAULT)}
        if view.own is not None and is_configuration(view.own.value):
            values[""] = view.own
        for name, value in sorted(values.items()):
            here = f"{options.path}/{name}" if name else options.path
            state = _object(await database.get(f"{here}/{STATE}"))
            fault = _object(await database.get(f"{here}/{FAULT}"))
            words = [here, f"revision {value.mod_revision}", _judged(value)]
            words.append(str(state.get("state", "no state: not watched")))
            if fault:
                words.append(f"{fault.get('error')}: {fault.get('message')}")
            print("  ".join(words))
        return 0

    return with_database(show)


def _judged(value: Versioned) -> str:
    child = Child.read("", value)
    if child.refusal is not None:
        return f"invalid: {counted(len(child.refusal.faults), 'fault')}"
    groups = child.descriptor.groups if child.descriptor is not None else {}
    return f"{counted(sum(map(len, groups.values())), 'exchange')}"


def _delete(options: argparse.Namespace) -> int:
    async def delete(database: ConfigDatabase) -> int:
        standing = await database.get(options.path)
        if standing is None:
            failure(f"{options.path}: nothing is there")
        if _is_owner_record(standing):
            failure(f"{options.path}: an owner record stands there; nothing was deleted")
        if await database.compare_and_swap(options.path, None, standing.mod_revision) is None:
            failure(f"{options.path}: somebody else wrote there just now; nothing was deleted")
        print(f"{options.path}: deleted")
        return 0

    return with_database(delete)


def _object(value: Versioned | None) -> dict[str, Any]:
    """The JSON object that a value is; an empty one for anything else."""
    try:
        found = json.loads(value.value) if value is not None else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_owner_record(value: Versioned | None) -> bool:
    if value is None:
        return False
    try:
        return set(config.load(value.value)) >= OWNER_KEYS
    except ConfigError:
        return False
