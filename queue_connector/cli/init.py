"""``init``: a configuration to begin with, of a case of the gallery, and the tests of it."""

from __future__ import annotations

import argparse
import json
import shlex
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..configuration import document
from ..configuration.schema import descriptors_in
from ..model.annotations import fields_of
from ..model.endpoints import UNIONS
from ..model.exchanges import QueueConnectorDescriptor
from ..model.option import Descriptor, option_of
from ..model.registry import did_you_mean
from .common import Commands, failure, misuse, print_json

GALLERY = Path(__file__).parents[1] / "gallery"

CASES = {
    "topic-to-attribute": "numbers of a Kafka topic as an attribute; what is none is left out",
    "attribute-to-topic": "events of an attribute of another device to a Kafka topic",
    "message-to-attributes": "parts of JSON messages as attributes, chosen by JMESPath",
    "pointings-to-topic": "pointings of dishes, those of a second as one message",
    "attribute-to-device": "events of an attribute written to an attribute of another device",
    "topic-to-topic": "messages chosen and made anew, from topic to topic, without a device",
}
"""The cases of the gallery, and what they do."""


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    init = commands.add_parser(
        "init",
        help=words,
        description="Without CASE, list the cases that there are. With one, write its "
        "configuration to FILE, and test cases for it beside it, and print what each key means: "
        "JSON has no comments. A file that is there stays as it is, and the exit status is 1.",
    )
    init.add_argument("case", nargs="?", metavar="CASE", help="one of those that are listed")
    init.add_argument(
        "file", nargs="?", metavar="FILE", help="where to write it, - for stdout; else CASE.json"
    )
    init.add_argument("--json", action="store_true", help="print what there is, or was written")
    init.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """List, or write."""
    if options.case is None:
        _list(as_json=options.json)
        return 0
    if options.case not in CASES:
        misuse(f"no case is called {options.case!r:.100} ({did_you_mean(options.case, CASES)})")
    file = Path(options.file or f"{options.case}.json")
    tests = file.with_suffix(".test.json")
    text = (GALLERY / f"{options.case}.json").read_text("utf-8")
    if options.file == "-":
        print(text, end="")
        return 0
    cases = (GALLERY / f"{options.case}.test.json").read_text("utf-8")
    cases = cases.replace(json.dumps(f"{options.case}.json"), json.dumps(file.name))
    _write({file: text, tests: cases})
    if options.json:
        print_json({"written": [str(file), str(tests)]})
    else:
        _explain(options.case, text, file, tests)
    return 0


def _list(*, as_json: bool) -> None:
    if as_json:
        print_json(CASES)
        return
    for name, words in CASES.items():
        print(f"{name:{max(map(len, CASES))}}  {words}")


def _write(contents: dict[Path, str]) -> None:
    """Write new files, all or none."""
    written: list[Path] = []
    try:
        for file, content in contents.items():
            with open(file, "x", encoding="utf-8") as opened:
                written.append(file)
                opened.write(content)
    except (OSError, ValueError) as error:
        for done in written:
            done.unlink()
        if isinstance(error, FileExistsError):
            failure(f"{file}: it is there already; nothing was written")
        reason = error.strerror if isinstance(error, OSError) else str(error)
        failure(f"{file}: cannot be written: {reason}; nothing was written")


def _explain(case: str, text: str, file: Path, tests: Path) -> None:
    print(f"{file}: written: {CASES[case]}")
    print(f"{tests}: written: what is to come of it\n\nWhat stands in it:")
    told = list(dict.fromkeys(_keys(document.load(text), QueueConnectorDescriptor, "")))
    for key, doc in told:
        print(f"\n  {key}")
        print(textwrap.fill(doc, 84, initial_indent="      ", subsequent_indent="      "))
    print("\nNext, put your names in the place of these in both files, then:")
    exchanges = [each for group in document.parse(text).groups.values() for each in group]
    last = "serve" if any(list(exchange.attributes()) for exchange in exchanges) else "run"
    for command in ("validate", "test", "doctor", last):
        name = shlex.quote(str(tests if command == "test" else file))
        print(f"  queue-connector {command} {name}")


def _keys(value: dict[str, Any], cls: type[Descriptor], path: str) -> Iterator[tuple[str, str]]:
    """The keys that are written, as paths without numbers, and what they mean."""
    for field in fields_of(cls):
        if field.name not in value:
            continue
        written, key = value[field.name], f"{path}{field.name}"
        yield key, option_of(field).doc
        for item in written if isinstance(written, list) else [written]:
            for below in descriptors_in(field.type) if isinstance(item, dict) else ():
                described = UNIONS[below].lookup(item["type"]) if below in UNIONS else below
                yield from _keys(item, described, f"{key}.")
