"""``config get``: what stands at a path."""

from __future__ import annotations

import argparse
import sys

from ...configdb import ConfigDatabase
from ..common import Commands, failure, path, with_database


def add_to(actions: Commands) -> None:
    """Declare the command."""
    get = actions.add_parser("get", help="print what stands at a path")
    get.add_argument("path", type=path, metavar="PATH", help="of any key")
    get.set_defaults(run=_get)


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
