"""``graph``: the exchanges of a configuration as a picture."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import attrs

from ..configuration import document
from ..model import texts
from ..model.exchanges import ExchangeDescriptor, QueueConnectorDescriptor
from ..model.services import Place
from .common import add_device, configuration_of, misuse, print_json, read, tell

if TYPE_CHECKING:
    from .common import Commands

MOST_PLACES = 12
"""Attributes or topics of one end that are drawn; of more it is said how many there are."""


def add_to(commands: Commands, words: str) -> None:
    """Declare the command."""
    graph = commands.add_parser(
        "graph",
        help=words,
        description="Draw the exchanges of a configuration, or those of a running device, with the "
        "topics and attributes that they read and write; what one exchange writes and another "
        "reads is one box. Mermaid is what GitHub, GitLab and mermaid.live show as a picture.",
    )
    graph.add_argument("config", nargs="?", metavar="CONFIG.json", help="a file; - for stdin")
    graph.add_argument("--running", metavar="DEVICE", help="the Tango name of a running device")
    add_device(graph, "of a file: whose the attributes are")
    graph.add_argument(
        "--format",
        choices=("text", "mermaid", "json"),
        default="text",
        help="for a terminal, for a page, or for a program: %(default)s",
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
    device = options.device
    if options.running is not None:
        descriptor = configuration_of(options.running, "nothing was drawn")
        device = "/".join(options.running.partition("#")[0].split("/")[-3:])
    else:
        reading = document.examine(read(options.config))
        if reading.descriptor is None:
            return tell(options.config, reading.faults, "nothing was drawn")
        descriptor = reading.descriptor
    if options.format == "json":
        print_json(as_json(descriptor, device))
        return 0
    draw = mermaid if options.format == "mermaid" else sketch
    for line in draw(descriptor, device):
        print(texts.printable(line))
    return 0


def sketch(descriptor: QueueConnectorDescriptor, device: str) -> Iterator[str]:
    """A line for each exchange, and one for each of its ends where there are several."""
    for group, exchanges in descriptor.groups.items():
        yield group
        for place, exchange in enumerate(exchanges):
            sources = [source.label for source in exchange.sources]
            sinks = [sink.label for sink in exchange.sinks]
            way = "─→ ".join(("", *(f"{pipe} " for pipe in _pipes(exchange)), ""))
            widest = max(map(len, sources))
            yield f"  [{place}] {exchange.spec}"
            for number, source in enumerate(sources[:-1]):
                yield f"      {source:{widest}} ─{'┤' if number else '┐'}"
            begin = f"      {sources[-1]:{widest}} {'─┴' if len(sources) > 1 else ''}{way}"
            yield begin + sinks[0]
            for sink in sinks[1:]:
                yield f"{'':{len(begin) - 4}}└─→ {sink}"


def as_json(descriptor: QueueConnectorDescriptor, device: str) -> dict[str, Any]:
    """Group → its exchanges: what they carry, their pipes, and what their ends read and write."""

    def end(label: str, places: Iterable[Place]) -> dict[str, Any]:
        return {"label": label, "places": [place.what for place in places]}

    return {
        group: [
            {
                "data": str(exchange.spec),
                "pipes": _pipes(exchange),
                "sources": [
                    end(each.label, filter(None, [each.place])) for each in exchange.sources
                ],
                "sinks": [end(each.label, each.places(device)) for each in exchange.sinks],
            }
            for exchange in exchanges
        ]
        for group, exchanges in descriptor.groups.items()
    }


def _pipes(exchange: ExchangeDescriptor) -> list[str]:
    """The names of those that do anything."""
    return [
        type(pipe).__name__.removesuffix("Descriptor")
        for pipe, built in zip(exchange.pipes, exchange.build_pipes(), strict=True)
        if not built.transparent
    ]


@attrs.define
class _Boxes:
    """The boxes of what is read and written, each with a name of its own."""

    boxes: list[Place] = attrs.field(factory=list)

    def of(self, place: Place) -> str:
        """The name of its box; another one's if both are the same place."""
        for number, known in enumerate(self.boxes):
            if known.keys & place.keys:
                return f"p{number}"
        self.boxes.append(place)
        return f"p{len(self.boxes) - 1}"


def mermaid(descriptor: QueueConnectorDescriptor, device: str) -> Iterator[str]:
    """A flow chart in the language of Mermaid."""
    boxes, arrows, number = _Boxes(), list[str](), 0
    yield "flowchart LR"
    for group, exchanges in descriptor.groups.items():
        yield f"  subgraph {_quoted(group)}"
        for index, exchange in enumerate(exchanges):
            words = [f"{group}[{index}]", str(exchange.spec), *_pipes(exchange)]
            yield f"    e{number}[{_quoted('<br>'.join(words))}]"
            arrows += _arrows(exchange, f"e{number}", boxes, device)
            number += 1
        yield "  end"
    for place, box in enumerate(boxes.boxes):
        yield f"  p{place}([{_quoted(box.what)}])"
    yield from arrows


def _arrows(exchange: ExchangeDescriptor, name: str, boxes: _Boxes, device: str) -> Iterator[str]:
    for number, source in enumerate(exchange.sources):
        if source.place is not None:
            yield f"  {boxes.of(source.place)} --> {name}"
        else:
            yield f"  {name}s{number}([{_quoted(source.label)}]) --> {name}"
    for number, sink in enumerate(exchange.sinks):
        places = list(sink.places(device))
        for place in places[:MOST_PLACES]:
            yield f"  {name} --> {boxes.of(place)}"
        if len(places) > MOST_PLACES:
            more = f"{len(places) - MOST_PLACES} more of {sink.label}"
            yield f"  {name} --> {name}m{number}([{_quoted(more)}])"
        elif not places:
            yield f"  {name} --> {name}k{number}([{_quoted(sink.label)}])"


def _quoted(text: str) -> str:
    """As Mermaid takes any text."""
    return '"' + text.replace('"', "#quot;") + '"'
