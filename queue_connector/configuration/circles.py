"""Exchanges of one configuration that feed each other in a circle.

What goes round never ends unless a filter, or a device that sends no event for a value that it
has, stops it. Nothing is refused for it; the exchange that feeds itself through a topic is, by
`ExchangeDescriptor.faults`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Iterator

from ..model.errors import ConfigWarning
from ..model.exchanges import ExchangeDescriptor
from ..model.services import Place

Exchanges = dict[str, ExchangeDescriptor]
"""Exchanges by their path."""


def circles(
    placed: Iterable[tuple[str, ExchangeDescriptor]], device: str = ""
) -> Iterator[ConfigWarning]:
    """One warning for each circle, at the first exchange of it; paths are those of *placed*.

    *device* is the connector's own name, where it is known.
    """
    exchanges = dict(placed)
    readers: dict[Hashable, list[str]] = {}
    for path, exchange in exchanges.items():
        for source in exchange.sources:
            for key in source.place.keys if source.place else ():
                readers.setdefault(key, []).append(path)
    told: set[str] = set()
    for path in exchanges:
        if path not in told and (way := _way_round(path, exchanges, readers, device)):
            told.update(step for step, _ in way)
            if len(way) > 1 or not way[0][1].passes_all:
                yield _warning(path, way)


Way = list[tuple[str, Place]]
"""Where data come to, step by step: the exchange, and the place that it reads them from."""


def _way_round(
    start: str, exchanges: Exchanges, readers: dict[Hashable, list[str]], device: str
) -> Way:
    """The shortest way by which what an exchange writes comes back to it; empty: none."""
    came: dict[str, tuple[str, Place]] = {}
    used: set[Hashable] = set()
    pending = deque([start])
    while pending and start not in came:
        here = pending.popleft()
        for place in _written(exchanges[here], device):
            for key in place.keys - used:
                used.add(key)
                for reader in readers.get(key, ()):
                    if reader not in came:
                        came[reader] = (here, place)
                        pending.append(reader)
    if start not in came:
        return []
    way: Way = []
    here = start
    while not way or here != start:
        before, place = came[here]
        way.append((here, place))
        here = before
    return way[::-1]


def _written(exchange: ExchangeDescriptor, device: str) -> Iterator[Place]:
    for sink in exchange.sinks:
        yield from sink.places(device)
    if exchange.error_policy.place is not None:
        yield exchange.error_policy.place


def _warning(path: str, way: Way) -> ConfigWarning:
    steps = [f"{place.what} to {step}" for step, place in way[:-1][:5]]
    more = [f"{len(way) - 6} more"] if len(way) > 6 else []
    told = ", ".join([*steps, *more, f"{way[-1][1].what} back to it"])
    hint = "make sure that something ends it, or write elsewhere"
    return ConfigWarning(path, f"what it writes comes round: by {told}", hint)
