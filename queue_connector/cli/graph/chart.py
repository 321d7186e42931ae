"""What a picture shows: a box for each exchange, in its group, and for what it reads and writes.

What one exchange writes and another reads is one box, whatever language the picture is written in.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterator

import attrs

from ...model import texts
from ...model.exchanges import ExchangeDescriptor, QueueConnectorDescriptor
from ...model.services import Place

MOST_ENDS = 12
"""Topics, attributes and the like on either side of an exchange that are drawn; first those that it
has in common with others. Of more it is said how many there are."""


@attrs.frozen
class Box:
    """A box, with a name that only this one has, and its text.

    No line is longer than `texts.MAX_NAME` and a few characters, and all are printable.
    """

    name: str
    lines: tuple[str, ...]


@attrs.define
class Chart:
    """The boxes, and the arrows between them by their names."""

    groups: list[tuple[str, list[Box]]] = attrs.field(factory=list)
    """Those of exchanges, with the name of their group: printable, and alike where shortened."""
    ends: dict[str, Box] = attrs.field(factory=dict)
    """Those of what is read and written, by their names, in the order of the arrows."""
    arrows: list[tuple[str, str]] = attrs.field(factory=list)


@attrs.define
class _Places:
    """The boxes of places, and how many ends each of them has."""

    boxes: list[Box] = attrs.field(factory=list)
    numbers: dict[Hashable, int] = attrs.field(factory=dict)
    ends: Counter[str] = attrs.field(factory=Counter)

    def box(self, place: Place) -> Box:
        """Its box; another one's if both are the same place."""
        known = [self.numbers[key] for key in place.keys if key in self.numbers]
        number = min(known, default=len(self.boxes))
        if not known:
            self.boxes.append(Box(f"p{number}", (texts.name(place.what),)))
        for key in place.keys:
            self.numbers.setdefault(key, number)
        box = self.boxes[number]
        self.ends[box.name] += 1
        return box


def pipe_names(exchange: ExchangeDescriptor) -> list[str]:
    """The names of the pipes that do anything."""
    return [
        type(pipe).__name__.removesuffix("Descriptor")
        for pipe, built in zip(exchange.pipes, exchange.build_pipes(), strict=True)
        if not built.transparent
    ]


def chart(descriptor: QueueConnectorDescriptor, device: str) -> Chart:
    """The chart of a configuration; *device* has the attributes that it publishes."""
    places, made = _Places(), Chart()
    sides: list[tuple[Box, list[Box], list[Box]]] = []
    for group, exchanges in descriptor.groups.items():
        boxes: list[Box] = []
        made.groups.append((texts.name(group), boxes))
        for index, exchange in enumerate(exchanges):
            words = [str(exchange.spec), *pipe_names(exchange)]
            lines = (f"{texts.name(group)}[{index}]", *map(texts.name, words))
            box = Box(f"e{len(sides)}", lines)
            boxes.append(box)
            read = list(_read(exchange, box, places))
            sides.append((box, read, list(_written(exchange, box, places, device))))
    for box, read, written in sides:
        for end in _most(read, places, f"{box.name}r"):
            made.ends[end.name] = end
            made.arrows.append((end.name, box.name))
        for end in _most(written, places, f"{box.name}w"):
            made.ends[end.name] = end
            made.arrows.append((box.name, end.name))
    return made


def _read(exchange: ExchangeDescriptor, box: Box, places: _Places) -> Iterator[Box]:
    for number, source in enumerate(exchange.sources):
        if source.place is not None:
            yield places.box(source.place)
        else:
            yield Box(f"{box.name}r{number}", (texts.name(source.label),))


def _written(exchange: ExchangeDescriptor, box: Box, places: _Places, device: str) -> Iterator[Box]:
    for number, sink in enumerate(exchange.sinks):
        found = list(sink.places(device))
        yield from map(places.box, found)
        if not found:
            yield Box(f"{box.name}w{number}", (texts.name(sink.label),))


def _most(boxes: list[Box], places: _Places, rest: str) -> Iterator[Box]:
    """As many as are drawn, in their order; *rest* is the name of the box for the others."""
    each = list(dict.fromkeys(boxes))
    shared_first = sorted(each, key=lambda box: places.ends[box.name] < 2)
    drawn = {*shared_first[:MOST_ENDS]}
    yield from (box for box in each if box in drawn)
    if len(each) > len(drawn):
        yield Box(rest, (f"and {len(each) - len(drawn)} more",))
