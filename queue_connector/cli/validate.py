"""``validate``: every fault of configuration files."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from ..errors import counted
from .common import faults, read

if TYPE_CHECKING:
    from .common import Commands


def add_to(commands: Commands) -> None:
    """Declare the command."""
    validate = commands.add_parser(
        "validate",
        help="check configuration files, and name every fault",
        description="Exit status 0 when every file is valid, 1 when one is not.",
    )
    validate.add_argument("files", nargs="+", metavar="FILE", help="a configuration; - for stdin")
    validate.add_argument(
        "--json", action="store_true", help="print faults as JSON: an object of file to faults"
    )
    validate.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check them all."""
    found = {name: faults(read(name)) for name in options.files}
    if options.json:
        told = {
            name: [
                {"path": fault.path, "message": fault.message, "hint": fault.hint}
                for fault in faults
            ]
            for name, faults in found.items()
        }
        print(json.dumps(told, indent=2))
    else:
        for name, each in found.items():
            print(f"{name}: " + (f"{counted(len(each), 'fault')}" if each else "valid"))
            for fault in each:
                print(f"  {fault}")
    return 1 if any(found.values()) else 0
