"""``schema``: the JSON Schema of configurations, and of what stands beside them."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable

from .. import connectors  # noqa: F401  what it registers is what the schema describes
from ..configuration.schema import Schema, attributes_schema, json_schema
from .common import Commands


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    schema = commands.add_parser("schema", help=words)
    other = schema.add_mutually_exclusive_group()
    other.add_argument(
        "--attributes", action="store_true", help="that of the device property attributes instead"
    )
    other.add_argument(
        "--tests",
        action="store_true",
        help="that of the files of queue-connector test instead",
    )
    schema.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Print it."""
    print(json.dumps(_chosen(options)(), indent=2))
    return 0


def _chosen(options: argparse.Namespace) -> Callable[[], Schema]:
    if options.tests:
        from ..testing.cases import tests_schema  # late: what a test needs, nobody else does

        return tests_schema
    return attributes_schema if options.attributes else json_schema
