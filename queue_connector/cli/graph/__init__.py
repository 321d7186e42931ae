"""``graph``: the exchanges of a configuration as a picture."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ...configuration import document
from ...model import texts
from ...model.exchanges import QueueConnectorDescriptor
from ..asking import configuration_of
from ..common import Commands, add_device, failure, misuse, read, tell
from . import graphviz, mermaid, sketch
from .chart import chart

FORMATS = ("text", "mermaid", "svg", "png", "json")

ENDINGS = {".mmd": "mermaid", ".svg": "svg", ".png": "png", ".json": "json"}
"""The format that the name of a file asks for."""


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    graph = commands.add_parser(
        "graph",
        help=words,
        description="Draw the exchanges of a configuration, or those of a running device, with the "
        "topics and attributes that they read and write; what one exchange writes and another "
        "reads is one box. Mermaid is what GitHub, GitLab and mermaid.live show as a picture. SVG "
        "and PNG are drawn by the program dot of Graphviz, which is to be installed.",
    )
    graph.add_argument("config", nargs="?", metavar="CONFIG.json", help="a file; - for stdin")
    graph.add_argument("--running", metavar="DEVICE", help="the Tango name of a running device")
    add_device(graph, "of a file: whose the attributes are")
    graph.add_argument(
        "--format",
        choices=FORMATS,
        help="for a terminal, for a page, a picture, or for a program; without it text, or what "
        f"the name of the FILE ends with: {' '.join(ENDINGS)}",
    )
    graph.add_argument(
        "--output",
        default="-",
        metavar="FILE",
        help="where to write it; - for stdout, as without it",
    )
    graph.add_argument(
        "--json",
        dest="format",
        action="store_const",
        const="json",
        help="the same as --format json",
    )
    graph.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Draw."""
    if (options.config is None) is (options.running is None):
        misuse("give one of CONFIG.json and --running DEVICE; see queue-connector graph --help")
    language = options.format or ENDINGS.get(Path(options.output).suffix.lower(), "text")
    if language == "png" and options.output == "-" and sys.stdout.isatty():
        misuse("a PNG is not for a terminal: give --output FILE, or pipe it")
    device = options.device
    if options.running is not None:
        descriptor = configuration_of(options.running, "nothing was drawn")
        device = "/".join(options.running.partition("#")[0].split("/")[-3:])
    else:
        reading = document.examine(read(options.config))
        if reading.descriptor is None:
            return tell(options.config, reading.faults, "nothing was drawn")
        descriptor = reading.descriptor
    _write(_drawn(language, descriptor, device), options.output)
    return 0


def _drawn(language: str, descriptor: QueueConnectorDescriptor, device: str) -> str | bytes:
    if language == "json":
        return json.dumps(sketch.as_json(descriptor, device), indent=2) + "\n"
    if language == "text":
        lines = [*sketch.lines(descriptor, device)] or ["nothing is configured"]
        return "".join(f"{texts.printable(line)}\n" for line in lines)
    if language == "mermaid":
        return "".join(f"{line}\n" for line in mermaid.lines(chart(descriptor, device)))
    return graphviz.picture(chart(descriptor, device), language)


def _write(drawing: str | bytes, output: str) -> None:
    if output != "-":
        content = drawing if isinstance(drawing, bytes) else drawing.encode()
        try:
            Path(output).write_bytes(content)
        except (OSError, ValueError) as error:  # no file has a NUL in its name
            reason = error.strerror if isinstance(error, OSError) else error
            failure(f"{output}: cannot be written: {reason}")
    elif isinstance(drawing, bytes):
        sys.stdout.buffer.write(drawing)
    else:
        print(drawing, end="")
