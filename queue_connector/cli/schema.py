"""``schema``: the JSON Schema of configurations."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from .. import connectors  # noqa: F401  what it registers is what the schema describes
from ..configuration.schema import attributes_schema, json_schema

if TYPE_CHECKING:
    from .common import Commands


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    schema = commands.add_parser("schema", help=words)
    schema.add_argument(
        "--attributes", action="store_true", help="that of the device property attributes instead"
    )
    schema.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print it."""
    print(json.dumps(attributes_schema() if options.attributes else json_schema(), indent=2))
    return 0
