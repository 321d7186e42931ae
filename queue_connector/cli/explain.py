"""``explain``: why a stream of a running device does not flow."""

from __future__ import annotations

import argparse
import datetime
import json
from typing import Any, Literal

import attrs

from ..model import texts
from ..observability.explaining import Reason, Weight, explain
from .asking import ask_device
from .common import DEFAULT_DEVICE, Commands, failure, print_json, tinted

HEADS = {
    Weight.STOPS: "what keeps data from flowing:",
    Weight.COSTS: "what costs data:",
    Weight.TELLS: "what else is known:",
}


COLOURS: dict[Weight, Literal["red", "yellow"]] = {Weight.STOPS: "red", Weight.COSTS: "yellow"}


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    parser = commands.add_parser(
        "explain",
        help=words,
        description="Say why a stream does not flow, from what the device knows: the state of its "
        "group, what its ends wait for, what became of its data. Exit status 1 when something "
        "keeps data from flowing.",
    )
    parser.add_argument(
        "device",
        nargs="?",
        default=DEFAULT_DEVICE,
        metavar="DEVICE",
        help="its Tango name; without a database tango://HOST:PORT/a/b/c#dbase=no: %(default)s",
    )
    parser.add_argument(
        "name", nargs="?", metavar="GROUP|EXCHANGE", help="e.g. default or default[0]; else all"
    )
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Ask and explain."""
    told = ask_device(options.device, "groups", "statistics", "Status")
    try:
        groups, statistics = json.loads(told[0]), json.loads(told[1])
        if options.name is not None:
            groups = _only(groups, options.name)
            if not groups:
                failure(f"{options.device}: there is no group or exchange {options.name!r}")
        reasons = explain(groups, statistics, datetime.datetime.now(datetime.UTC))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        failure(f"{options.device}: tells its groups in another form: {error!r}; use its version")
    if options.json:
        print_json([_as_json(reason) for reason in reasons])
    else:
        if not groups:
            print(f"{options.device} has no groups; it says: {texts.one_line(told[2])}")
        for weight, head in HEADS.items():
            if mine := [reason for reason in reasons if reason.weight is weight]:
                print(tinted(head, COLOURS[weight]) if weight in COLOURS else head)
                for reason in mine:
                    print(f"  {texts.printable(str(reason))}")
    return 1 if any(reason.weight is Weight.STOPS for reason in reasons) else 0


def _only(groups: dict[str, Any], name: str) -> dict[str, Any]:
    """The group of this name, or the one of an exchange, with that alone."""
    if name in groups:
        return {name: groups[name]}
    return {
        group: {**told, "exchanges": [name]}
        for group, told in groups.items()
        if name in told["exchanges"]
    }


def _as_json(reason: Reason) -> dict[str, str]:
    return {**attrs.asdict(reason), "weight": reason.weight.name.lower()}
