"""``test``: whether configurations do what is expected of them, without any service."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..model import texts
from ..model.errors import ConfigError, counted
from .common import Commands, print_json, read, tell, tinted


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    test = commands.add_parser(
        "test",
        help=words,
        description="Run the cases of test files: what a case gives arrives at the sources of its "
        "configuration, and what comes of it is compared with what it expects. Encodings, pipes "
        "and conversions are those of the device; there is no service and no waiting. Exit status "
        "0 when all cases have passed, 1 when one has not or a file is not valid.",
    )
    test.add_argument("files", nargs="+", metavar="FILE", help="the test file; - for stdin")
    test.add_argument(
        "--json", action="store_true", help="print an object of file to cases to what is wrong"
    )
    test.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run them all."""
    told: dict[str, dict[str, list[str]]] = {}
    status = 0
    for name in dict.fromkeys(options.files):
        try:
            told[name] = _failures(name, say=not options.json)
        except ConfigError as error:
            status = tell(name, error.faults, "nothing was tested")
    if options.json:
        print_json(told)
    return 1 if any(map(any, (cases.values() for cases in told.values()))) else status


def _failures(name: str, *, say: bool) -> dict[str, list[str]]:
    from ..testing.cases import read_suite  # late: what a test needs, nobody else does
    from ..testing.judging import failures

    suite = read_suite(read(name), Path() if name == "-" else Path(name).parent)
    found = {}
    for case in suite.tests.cases:
        found[case.name] = differences = failures(suite, case)
        if say:
            passed = tinted("passed", "green") if not differences else tinted("FAILED", "red")
            print(f"{name}: {texts.name(case.name)}: {passed}")
            for line in differences:
                print(f"  {line}")
    if say:
        failed = sum(map(bool, found.values()))
        print(f"{name}: {counted(len(found), 'case')}, {failed or 'none'} failed")
    return found
