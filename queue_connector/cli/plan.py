"""``plan``: what a configuration would change, without doing it."""

from __future__ import annotations

import argparse
from collections.abc import Callable

import attrs

from ..configdb import Children, ConfigDatabase, Versioned
from ..configuration import document
from ..engine.plan import Groups, Plan, compare
from ..model import texts
from ..model.errors import ConfigError, Fault
from ..model.exchanges import QueueConnectorDescriptor
from ..reconfiguration.children import Reader, is_name
from ..reconfiguration.reporter import FAULT, STATE
from .asking import configuration_of
from .common import Commands, misuse, path, print_json, read, tell, warn, with_database


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    plan = commands.add_parser(
        "plan",
        help=words,
        description="Compare a configuration with that of a running device, or with what a path "
        "of the configuration database holds, and print which groups, exchanges and attributes "
        "would be added (+), kept (=), changed (~) and removed (-). Exit status 0 when it would "
        "be taken on, whether anything changes or not; 1 when it would be refused.",
    )
    plan.add_argument("file", metavar="FILE", help="the configuration; - for stdin")
    present = plan.add_mutually_exclusive_group(required=True)
    present.add_argument("--device", metavar="NAME", help="the Tango name of a running device")
    present.add_argument(
        "--config-path", type=path, metavar="PATH", help="the path that it watches"
    )
    plan.add_argument(
        "--group",
        metavar="NAME",
        help="the file is what is to stand at this child of the path; without it, at the path "
        "itself, or it is all of the device's configuration",
    )
    plan.add_argument("--json", action="store_true", help="print an object of group to changes")
    plan.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Compare and print."""
    if (group := options.group) is not None and (
        group in ("", STATE, FAULT) or "/" in group or not is_name(group)
    ):
        misuse(f"--group: {group!r:.300} is no name of a group")
    text = read(options.file)
    warn(options.file, document.examine(text).warnings)
    if options.device is not None:
        present = configuration_of(options.device, "nothing to compare")
        return _tell(options, lambda: of_device(present, text, options.group))

    async def ask(database: ConfigDatabase) -> int:
        view = await database.children(options.config_path)
        return _tell(options, lambda: of_view(view, text, options.group))

    return with_database(ask)


def _tell(options: argparse.Namespace, make: Callable[[], Plan]) -> int:
    try:
        plan = make()
    except ConfigError as error:
        return tell(options.file, error.faults, "it would be refused")
    lines = map(texts.printable, plan.lines())
    if options.json:
        print_json(plan.as_dict())
    else:
        print("\n".join(lines))
    return 0


def of_device(present: QueueConnectorDescriptor, text: bytes, group: str | None) -> Plan:
    """The plan for a device; *text* is all of its configuration, or that of one child.

    Raises:
        ConfigError: it would be refused.
    """
    descriptor = document.parse(text)
    if group is None:
        return compare(present.groups, descriptor.groups)
    others = {
        name: exchanges
        for name, exchanges in present.groups.items()
        if name != group and not name.startswith(f"{group}.")
    }
    if isinstance(descriptor.exchanges, dict):
        mine = {f"{group}.{name}": found for name, found in descriptor.exchanges.items()}
    else:
        mine = {group: descriptor.exchanges or []}
    together = QueueConnectorDescriptor(exchanges={**others, **mine})
    if faults := list(together.faults()):
        raise ConfigError(faults)
    return compare(present.groups, together.groups)


def of_view(view: Children, text: bytes, group: str | None) -> Plan:
    """The plan for whoever watches a path of the configuration database.

    Raises:
        ConfigError: it would be refused.
    """
    reader = Reader()
    present = _standing(reader, view)
    new = Versioned(text, view.revision + 1)
    if group is None:
        document.parse(text)
        after = attrs.evolve(view, revision=view.revision + 1, own=new)
    else:
        after = attrs.evolve(view, revision=view.revision + 1, values={**view.values, group: new})
    wanted = reader.wanted(after)
    refused = [
        fault
        for name, found in wanted.items()
        if found.refusal is not None and reader.owners[name] == (group or "")
        for fault in found.refusal.faults
    ]
    if refused:
        raise ConfigError(dict.fromkeys(refused))
    if group is None and "" not in reader.owners.values():
        hint = "write an exchanges key, which tells a configuration from other values there"
        raise ConfigError([Fault("$", "it would be ignored at the path itself", hint)])
    return compare(present, _standing(reader, after))


def _standing(reader: Reader, view: Children) -> Groups:
    """The configuration that is in force for each group, refused ones aside."""
    return {
        name: [] if found.refusal is not None else list(found.exchanges)
        for name, found in reader.wanted(view).items()
    }
