"""``config apply``: the flows and blocks of a file are checked and written, all at once."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Mapping

from ...configdb import ABSENT, MAX_OPERATIONS, ConfigDatabase
from ...model.errors import ConfigError
from ...reconfiguration.flows.checking import (
    entities_of,
    examine,
    faults_of,
    unreadable,
    with_entities,
)
from ...reconfiguration.flows.entities import LEVELS
from ..common import Commands, add_device, failure, misuse, print_json, read, tell, with_database


def add_to(actions: Commands) -> None:
    """Declare the command."""
    parser = actions.add_parser(
        "apply",
        help="check the flows of a file, then write them",
        description="Write flows, processing blocks, execution blocks and their states: an object "
        "of path to value, all in one revision. When a connector would refuse a flow, then or one "
        "that stands there already, the exit status is 1 and nothing is written.",
    )
    parser.add_argument("file", metavar="FILE", help="the flow file; - for stdin")
    parser.add_argument("--force", action="store_true", help="write what would be refused, too")
    parser.add_argument(
        "--json", action="store_true", help="print what was written as a JSON object"
    )
    add_device(parser, "the Tango name of the connector that is to carry them")
    parser.set_defaults(run=_apply)


def _apply(options: argparse.Namespace) -> int:
    try:
        entities = entities_of(read(options.file))
    except ConfigError as error:
        return tell(options.file, error.faults, "nothing was written")
    if len(entities) > MAX_OPERATIONS:
        misuse(f"{options.file}: {MAX_OPERATIONS} entities are written at once, not more")
    return apply(entities, options)


def apply(entities: Mapping[str, bytes], options: argparse.Namespace) -> int:
    """Write entities unless that makes a connector refuse a flow; the exit status."""

    async def write(database: ConfigDatabase) -> int:
        view = await database.view(LEVELS)
        before = await examine(view, options.device)
        after = await examine(with_entities(view, entities), options.device)
        mine = {
            key: judgement
            for key, judgement in after.items()
            if key.path in entities or key not in before or before[key].refusal is None
        }
        faults = [*unreadable(entities), *faults_of(mine)]
        if faults and not options.force:
            return tell(options.file, faults, "nothing was written")
        # Only over what was looked at: what somebody else has written meanwhile stays.
        expected = {
            path: view.values[path].mod_revision if path in view.values else ABSENT
            for path in entities
        }
        revision = await database.transact(entities, expected=expected)
        if revision is None:
            failure("somebody else wrote there just now; nothing was written")
        tell_written(entities, revision, as_json=options.json)
        for key, judgement in mine.items():
            if judgement.waits and not options.json:
                print(f"{key.path} {judgement.waits}")
        return 0

    return with_database(write)


def tell_written(paths: Iterable[str], revision: int, *, as_json: bool) -> None:
    """What was written, and in which revision of the database."""
    if as_json:
        print_json({"written": list(paths), "revision": revision})
    for path in paths if not as_json else ():
        print(f"{path}: written, revision {revision}", flush=True)
