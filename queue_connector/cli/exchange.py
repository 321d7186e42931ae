"""``exchange``: hold one exchange of a running device, or have it begin anew."""

from __future__ import annotations

import argparse
import json

from .asking import DeviceCommand
from .common import Commands

ACTIONS = {
    "pause": ("Pause", "have it take in nothing; what it has is delivered, the others go on"),
    "resume": ("Resume", "have one that was paused go on where it was"),
    "restart": ("Restart", "stop it in order and start it where it was; returns at once"),
}
"""The device's command, and what it does."""


def add_to(commands: Commands, words: str) -> None:
    """Declare the command and its own commands."""
    parser = commands.add_parser(
        "exchange",
        help=words,
        description="Hold one exchange of a running device, or have it begin anew, while the "
        "others of its group go on. A pause ends with resume and restart, and when the group "
        "stops.",
    )
    actions = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, (command, meaning) in ACTIONS.items():
        action = actions.add_parser(name, help=meaning, description=meaning.capitalize() + ".")
        action.add_argument("device", metavar="DEVICE", help="its Tango name")
        action.add_argument("exchange", metavar="EXCHANGE", help="its present name: default[0]")
        action.set_defaults(run=run, command=command)


def run(options: argparse.Namespace) -> int:
    """Give the device the command."""
    DeviceCommand(options.device, options.command)(json.dumps({"exchange": options.exchange}))
    return 0
