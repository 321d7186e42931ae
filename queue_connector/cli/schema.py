"""``schema``: the JSON Schema of configurations."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING

from .. import connectors  # noqa: F401  what it registers is what the schema describes
from ..configuration.schema import json_schema

if TYPE_CHECKING:
    from .common import Commands


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    schema = commands.add_parser("schema", help=words)
    schema.set_defaults(run=run)


def run(_options: argparse.Namespace) -> int:
    """Print it."""
    print(json.dumps(json_schema(), indent=2))
    return 0
