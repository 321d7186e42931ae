"""A configuration as lines for a terminal, and as an object for a program."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from ...model.exchanges import QueueConnectorDescriptor
from ...model.services import Place
from .chart import pipe_names


def lines(descriptor: QueueConnectorDescriptor, device: str) -> Iterator[str]:
    """A line for each exchange, and one for each of its ends where there are several."""
    for group, exchanges in descriptor.groups.items():
        yield group
        for place, exchange in enumerate(exchanges):
            sources = [source.label for source in exchange.sources]
            sinks = [sink.label for sink in exchange.sinks]
            way = "─→ ".join(("", *(f"{pipe} " for pipe in pipe_names(exchange)), ""))
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
                "pipes": pipe_names(exchange),
                "sources": [
                    end(each.label, filter(None, [each.place])) for each in exchange.sources
                ],
                "sinks": [end(each.label, each.places(device)) for each in exchange.sinks],
            }
            for exchange in exchanges
        ]
        for group, exchanges in descriptor.groups.items()
    }
