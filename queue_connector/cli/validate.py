"""``validate``: every fault of configuration files."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import trio

from ..configdb import View
from ..configuration import attributes, document
from ..model.errors import ConfigError, ConfigWarning, Fault, counted
from .common import Commands, add_device, contents, print_json, tinted, unreadable, warn


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    validate = commands.add_parser(
        "validate",
        help=words,
        description="Exit status 0 when every file is valid, 1 when one is not, 2 when one cannot "
        "be read. Warnings, on stderr, refuse nothing: of what is likely not meant, and of files "
        "and variables that a configuration refers to and that are not here, where the device may "
        "not run.",
    )
    validate.add_argument(
        "files", nargs="+", metavar="FILE", help="a configuration or a flow file; - for stdin"
    )
    validate.add_argument(
        "--json", action="store_true", help="print faults as JSON: an object of file to faults"
    )
    validate.add_argument(
        "--attributes",
        action="store_true",
        help="the files are lists for the device property attributes",
    )
    add_device(validate, "of flow files: the Tango name of the connector that is to carry them")
    validate.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Check them all."""
    status = 0
    found: dict[str, Sequence[Fault]] = {}
    for name in dict.fromkeys(options.files):
        try:
            found[name] = _check(name, options)
        except OSError as error:
            status = 2
            found[name] = [Fault("$", unreadable(name, error))]
        if not options.json:
            _tell(name, found[name])
    if options.json:
        told = {
            name: [
                {"path": fault.path, "message": fault.message, "hint": fault.hint}
                for fault in faults
            ]
            for name, faults in found.items()
        }
        print_json(told)
    return status or (1 if any(found.values()) else 0)


def _check(name: str, options: argparse.Namespace) -> Sequence[Fault]:
    text = contents(name)
    if options.attributes:
        return attributes.faults_of(text)
    try:
        if any(key.startswith("/") for key in document.load(text)):  # no configuration's does
            return _check_flows(name, text, options.device)
    except ConfigError as error:
        return error.faults
    reading = document.examine(text)
    warn(name, reading.warnings)
    if reading.descriptor is not None:
        warn(name, reading.descriptor.absences())
    return reading.faults


def _check_flows(name: str, text: bytes, device: str) -> Sequence[Fault]:
    from ..reconfiguration.flows import checking  # late, as it is seldom needed

    view = checking.with_entities(View(0), checking.entities_of(text))
    judged = trio.run(checking.examine, view, device)
    warn(name, (ConfigWarning(key.path, one.waits) for key, one in judged.items() if one.waits))
    return checking.faults_of(judged)


def _tell(name: str, faults: Sequence[Fault]) -> None:
    found = tinted(counted(len(faults), "fault"), "red") if faults else tinted("valid", "green")
    print(f"{name}: {found}")
    for fault in faults:
        print(f"  {fault}")
