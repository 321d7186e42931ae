"""``config``: what the configuration database holds, written and read by hand: a file a command."""

from __future__ import annotations

from ..common import ENVIRONMENT, Commands
from . import applying, checking, deleting, listing, putting, reading


def add_to(commands: Commands, words: str) -> None:
    """Declare the command and its own commands."""
    parser = commands.add_parser(
        "config",
        help=words,
        description=f"What the configuration database holds. {ENVIRONMENT} A PATH is that of a "
        "group, e.g. /component/name/owner/my_id, where a device watches /component/name/owner; "
        "or that of a flow or a block, e.g. /flow/pb-test-20260101-a:tango:name.",
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for command in (putting, applying, reading, listing, checking, deleting):
        command.add_to(actions)
