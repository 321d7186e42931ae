"""``config put``: a configuration, or an entity of flows, is checked and written."""

from __future__ import annotations

import argparse
import re
import sys

import attrs
import trio

from ...configdb import ABSENT, Children, ConfigDatabase, Versioned
from ...configuration import document
from ...model import texts
from ...reconfiguration.children import Reader
from ...reconfiguration.flows.entities import is_entity
from ...reconfiguration.reporter import FAULT, STATE
from ..common import (
    Commands,
    add_device,
    failure,
    misuse,
    path,
    positive,
    read,
    tell,
    warn,
    with_database,
)
from . import applying
from .deleting import is_owner_record
from .entries import Entry

OWNER_PATH = re.compile(r"/component/[^/]+/owner")
"""Where ska-sdp-config keeps the owner records of components."""

WAIT = 60.0
"""Default seconds that ``--wait`` waits."""

_TAKEN_ON = ("ON", "OFF", "STANDBY")
"""States of a group that has taken on a revision: OFF when it streamed to its end already."""


def add_to(actions: Commands) -> None:
    """Declare the command."""
    put = actions.add_parser(
        "put",
        help="check a configuration or a flow, then write it",
        description="Write a configuration when a device would take it on. What is not valid, "
        "claims an attribute of another group, or is to stand where an owner record belongs is "
        "refused with exit status 1, and nothing is written. What stands there already may be "
        "written again: it touches nothing that streams, and leads a group out of FAULT. Where "
        "PATH is that of a flow, a block or a state, so is what is written.",
    )
    put.add_argument("path", type=path, metavar="PATH", help="of the group, flow or block")
    put.add_argument("file", metavar="FILE", help="the configuration or entity; - for stdin")
    put.add_argument("--force", action="store_true", help="write what would be refused, too")
    put.add_argument(
        "--wait",
        action="store_true",
        help="return when a device has taken the configuration on; exit status 1 with the fault "
        "when it has not",
    )
    put.add_argument(
        "--timeout", type=positive, default=WAIT, metavar="S", help="of --wait (%(default)g s)"
    )
    put.add_argument("--json", action="store_true", help="print what was written as a JSON object")
    add_device(put, "of a flow: the Tango name of the connector that is to carry it")
    put.set_defaults(run=_put)


def _put(options: argparse.Namespace) -> int:
    text = read(options.file)
    if is_entity(options.path):
        if options.wait:
            misuse(f"--wait: of a configuration; how a flow does stands at {options.path}/state")
        return applying.apply({options.path: text}, options)
    reading = document.examine(text)
    if reading.faults and not options.force:
        return tell(options.file, reading.faults, "nothing was written")
    warn(options.file, reading.warnings)
    name = options.path.rpartition("/")[2]
    if name in (STATE, FAULT):
        misuse(f"{options.path}: {name} is what a device writes, and no name of a group")

    async def put(database: ConfigDatabase) -> int:
        if options.wait and not database.shared_revisions:
            misuse("--wait: this database tells no revisions; use SDP_CONFIG_BACKEND=etcd3")
        standing = await database.get(options.path)
        refusals = await _refusals(database, options.path, standing, text)
        for refusal in refusals:
            print(f"{options.path}: {texts.one_line(refusal)}", file=sys.stderr)
        if refusals and not options.force:
            failure("nothing was written; --force writes it all the same")
        # Only over what was looked at: what somebody else has written meanwhile stays.
        revision = await database.compare_and_swap(
            options.path, text, ABSENT if standing is None else standing.mod_revision
        )
        if revision is None:
            failure(f"{options.path}: somebody else wrote there just now; nothing was written")
        applying.tell_written([options.path], revision, as_json=options.json)
        return await _outcome(database, options.path, revision, options) if options.wait else 0

    return with_database(put)


async def _refusals(
    database: ConfigDatabase, path: str, standing: Versioned | None, text: bytes
) -> list[str]:
    """Why nobody would take it on, for all that it may be valid alone."""
    refusals = []
    if is_owner_record(standing):
        refusals.append("an owner record stands there, which belongs to a process")
    elif OWNER_PATH.fullmatch(path):
        refusals.append(f"this is the place of an owner record; write a group to {path}/NAME")
    parent, _, name = path.rpartition("/")
    if parent:
        view = await database.children(parent)
        values = {**view.values, name: Versioned(text, view.revision + 1)}
        refusals += _conflicts(view, attrs.evolve(view, values=values), name)
    view = await database.children(path)
    refusals += _conflicts(view, attrs.evolve(view, own=Versioned(text, view.revision + 1)), "")
    return list(dict.fromkeys(refusals))


def _conflicts(before: Children, after: Children, name: str) -> list[str]:
    """Why a device would refuse what one child, or the path itself, became."""
    reader = Reader()
    reader.wanted(before)
    return [
        f"a device that watches it beside the others would refuse it: {fault}"
        for group, found in reader.wanted(after).items()
        if reader.owners[group] == name and found.refusal is not None
        for fault in found.refusal.faults
    ]


async def _outcome(
    database: ConfigDatabase, path: str, revision: int, options: argparse.Namespace
) -> int:
    """Wait until a device has taken on a revision, and tell how that went; the exit status."""
    problem = f"does a device watch {path.rpartition('/')[0]}?"
    how = "no device has told a state there"
    with trio.move_on_after(options.timeout):
        async with database.watch(path) as watch:
            async for view in watch:
                if view.own is None or view.own.mod_revision != revision:
                    problem = "somebody else wrote there meanwhile"
                    break
                entry = Entry.of(path, "", view)
                how = entry.how
                if entry.applied and entry.fault:
                    problem = ""
                    break
                if entry.applied and entry.state.get("state") in _TAKEN_ON:
                    if not options.json:
                        print(f"{path}: {how}")
                    return 0
    told = f"{path}: not taken on: {how}" + (f"; {problem}" if problem else "")
    print(told, file=sys.stderr)
    return 1
