"""``config``: configurations in the configuration database, written and read by hand."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING, Any

import attrs
import trio

from ..configdb import ABSENT, Children, ConfigDatabase, Versioned
from ..configuration import document
from ..model import texts
from ..model.errors import ConfigError, counted
from ..reconfiguration.children import Child, Reader, is_configuration, is_name
from ..reconfiguration.reporter import FAULT, STATE
from .common import ENVIRONMENT, failure, misuse, path, positive, read, tell, warn, with_database

if TYPE_CHECKING:
    from .common import Commands

OWNER_KEYS = {"pid", "hostname", "command"}
"""The keys of an owner record: what it stands at belongs to a process, not to people."""

OWNER_PATH = re.compile(r"/component/[^/]+/owner")
"""Where ska-sdp-config keeps the owner records of components."""

WAIT = 60.0
"""Default seconds that ``--wait`` waits."""

_TAKEN_ON = ("ON", "OFF", "STANDBY")
"""States of a group that has taken on a revision: OFF when it streamed to its end already."""


def add_to(commands: Commands, words: str) -> None:
    """Declare the command and its own commands."""
    parser = commands.add_parser(
        "config",
        help=words,
        description=f"Configurations in the configuration database. {ENVIRONMENT} A PATH is that "
        "of a group, e.g. /component/name/owner/my_id, where a device watches "
        "/component/name/owner.",
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    put = actions.add_parser(
        "put",
        help="check a configuration, then write it",
        description="Write a configuration when a device would take it on. What is not valid, "
        "claims an attribute of another group, or is to stand where an owner record belongs is "
        "refused with exit status 1, and nothing is written. What stands there already may be "
        "written again: it touches nothing that streams, and leads a group out of FAULT.",
    )
    put.add_argument("path", type=path, metavar="PATH", help="of the group")
    put.add_argument("file", metavar="FILE", help="the configuration; - for stdin")
    put.add_argument("--force", action="store_true", help="write what would be refused, too")
    put.add_argument(
        "--wait",
        action="store_true",
        help="return when a device has taken it on; exit status 1 with the fault when it has not",
    )
    put.add_argument(
        "--timeout", type=positive, default=WAIT, metavar="S", help="of --wait (%(default)g s)"
    )
    put.set_defaults(run=_put)

    get = actions.add_parser("get", help="print what stands at a path")
    get.add_argument("path", type=path, metavar="PATH", help="of any key")
    get.set_defaults(run=_get)

    show = actions.add_parser(
        "list",
        help="print the groups below a path, and how they are",
        description="A line for each child: its path, its revision, whether it is valid, and the "
        "state and fault that a device has written back, with whose they are, and whether they "
        "are of an older revision.",
    )
    show.add_argument("path", type=path, metavar="PATH", help="what a device watches")
    show.add_argument("--json", action="store_true", help="print a list of objects")
    show.set_defaults(run=_list)

    delete = actions.add_parser(
        "delete",
        help="delete a configuration; the device stops and removes the group",
    )
    delete.add_argument("path", type=path, metavar="PATH", help="of the group")
    delete.set_defaults(run=_delete)


def _put(options: argparse.Namespace) -> int:
    text = read(options.file)
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
        print(f"{options.path}: written, revision {revision}", flush=True)
        return await _outcome(database, options.path, revision, options) if options.wait else 0

    return with_database(put)


async def _refusals(
    database: ConfigDatabase, path: str, standing: Versioned | None, text: bytes
) -> list[str]:
    """Why nobody would take it on, for all that it may be valid alone."""
    refusals = []
    if _is_owner_record(standing):
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
                entry = _Entry.of(path, "", view)
                how = entry.how
                if entry.applied and entry.fault:
                    problem = ""
                    break
                if entry.applied and entry.state.get("state") in _TAKEN_ON:
                    print(f"{path}: {how}")
                    return 0
    told = f"{path}: not taken on: {how}" + (f"; {problem}" if problem else "")
    print(told, file=sys.stderr)
    return 1


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


@attrs.frozen
class _Entry:
    """What stands at one key, and what a device has told of it."""

    path: str
    revision: int
    child: Child
    state: Mapping[str, Any]
    fault: Mapping[str, Any]

    @classmethod
    def of(cls, path: str, name: str, view: Children) -> _Entry:
        """From the view of its own path."""
        own = view.own or Versioned(b"", ABSENT)
        state, fault = _object(view.values.get(STATE)), _object(view.values.get(FAULT))
        return cls(path, own.mod_revision, Child.read(name, own), state, fault)

    @property
    def applied(self) -> bool:
        """Whether the state is that of what stands there."""
        revision = self.state.get("revision")
        return isinstance(revision, int) and revision >= self.revision

    @property
    def judged(self) -> str:
        """What it is worth by itself."""
        if self.child.refusal is not None:
            return f"invalid: {counted(len(self.child.refusal.faults), 'fault')}"
        groups = self.child.descriptor.groups if self.child.descriptor is not None else {}
        return counted(sum(map(len, groups.values())), "exchange")

    @property
    def how(self) -> str:
        """What a device has told."""
        if not self.state:
            return "no state: not watched"
        words = [
            str(self.state.get("state")) + (", degraded" if self.state.get("degraded") else "")
        ]
        if not self.applied:
            words.append(f"not applied yet: this is of revision {self.state.get('revision')}")
        if "device" in self.state:
            words.append(f"by {self.state['device']} on {self.state.get('host')}")
        if self.fault:
            words.append(f"{self.fault.get('error')}: {self.fault.get('message')}")
        words += self._waiting()
        return texts.one_line("  ".join(words))

    def _waiting(self) -> list[str]:
        """What the first endpoint waits for that does, and how many more do."""
        waiting = self.state.get("waiting")
        if not (isinstance(waiting, list) and waiting and isinstance(waiting[0], dict)):
            return []
        first = waiting[0]
        told = f"{first.get('exchange')} {first.get('name')} waits for {first.get('waiting_for')}"
        left_out = self.state.get("waiting_left_out")
        more = len(waiting) - 1 + (left_out if isinstance(left_out, int) else 0)
        return [told + (f" and {more} more" if more else "")]

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        refusal = self.child.refusal
        return {
            "path": self.path,
            "revision": self.revision,
            "valid": refusal is None,
            "faults": str(refusal).splitlines() if refusal is not None else [],
            "applied": self.applied,
            "state": dict(self.state) or None,
            "fault": dict(self.fault) or None,
        }


def _list(options: argparse.Namespace) -> int:
    async def show(database: ConfigDatabase) -> int:
        entries = [entry async for entry in _entries(database, options.path)]
        if options.json:
            print(json.dumps([entry.as_dict() for entry in entries], indent=2))
        elif not entries:
            print(f"{options.path}: no configuration stands there, and none below")
        for entry in entries if not options.json else ():
            words = (texts.name(entry.path), f"revision {entry.revision}", entry.judged, entry.how)
            print("  ".join(words))
        return 0

    return with_database(show)


async def _entries(database: ConfigDatabase, path: str) -> AsyncIterator[_Entry]:
    view = await database.children(path)
    if view.own is not None and is_configuration(view.own.value):
        yield _Entry.of(path, "", view)
    for name, value in sorted(view.values.items()):
        here = f"{path}/{name}"
        if name in (STATE, FAULT):
            continue
        if is_name(name):
            below = await database.children(here)
        else:
            below = Children(view.revision, own=value)  # nothing can be told of it
        if below.own is not None:
            yield _Entry.of(here, name, below)


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
        return set(document.load(value.value)) >= OWNER_KEYS
    except ConfigError:
        return False
