"""``config check``: whether the devices that share lists of sources read each source once."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import attrs

from ...configdb import Children, ConfigDatabase
from ...model import texts
from ...model.division import Share
from ...model.errors import counted
from ...model.exchanges import ExchangeDescriptor
from ...reconfiguration.children import Reader
from ..common import path, with_database

if TYPE_CHECKING:
    from ..common import Commands

MAX_NAMED = 3
"""Sources that are named of those that nobody, or several read."""


def add_to(actions: Commands) -> None:
    """Declare the command."""
    check = actions.add_parser(
        "check",
        help="say whether devices that share lists of sources read each source once",
        description="Exchanges with the key 'share' whose lists of sources are the same belong "
        "together, at whichever of the paths they stand. A line for each such list, and one for "
        "what nobody reads, and what several read. Exit status 0 when each source is read once.",
    )
    check.add_argument(
        "paths", nargs="+", type=path, metavar="PATH", help="what a device watches, of each device"
    )
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    async def check(database: ConfigDatabase) -> int:
        views = {where: await database.children(where) for where in options.paths}
        lists = divided(views)
        for each in lists:
            print("\n".join(map(texts.printable, each.lines())))
        if not lists:
            print("no exchange with the key 'share' stands there")
        return 1 if any(each.wrong for each in lists) else 0

    return with_database(check)


@attrs.define
class Division:
    """One list of sources, and the exchanges that share it."""

    labels: list[str]
    shares: list[tuple[str, Share]] = attrs.field(factory=list)
    """Where an exchange stands, and its part."""

    def readers(self) -> list[list[str]]:
        """Who reads each of the sources."""
        found: list[list[str]] = [[] for _ in self.labels]
        for where, share in self.shares:
            for position in share.of(range(len(self.labels))):
                found[position].append(f"{where} ({share.number}/{share.count})")
        return found

    @property
    def wrong(self) -> bool:
        """Whether a source is not read once."""
        return any(len(readers) != 1 for readers in self.readers())

    def lines(self) -> Iterator[str]:
        """How it is divided, for people."""
        yield f"{counted(len(self.labels), 'source')}, {self.labels[0]} …"
        for where, share in self.shares:
            many = len(share.of(self.labels))
            yield f"  {share.number}/{share.count}: {where} reads {many}"
        gaps: list[str] = []
        overlaps: dict[str, list[str]] = {}
        for label, readers in zip(self.labels, self.readers(), strict=True):
            if not readers:
                gaps.append(label)
            elif len(readers) > 1:
                overlaps.setdefault(" and ".join(readers), []).append(label)
        if gaps:
            yield f"  gap: nobody reads {_named(gaps)}"
        for who, labels in overlaps.items():
            yield f"  overlap: {who} both read {_named(labels)}"


def _named(labels: list[str]) -> str:
    shown = ", ".join(labels[:MAX_NAMED])
    more = len(labels) - MAX_NAMED
    return f"{shown} and {counted(more, 'other')}" if more > 0 else shown


def divided(views: Mapping[str, Children]) -> list[Division]:
    """What is shared by the configurations below some paths; what is refused is not among them."""
    found: dict[str, Division] = {}
    for where, view in views.items():
        for name, wanted in Reader().wanted(view).items():
            for number, exchange in enumerate(wanted.exchanges):
                if share := Share.parse(exchange.share):
                    division = found.setdefault(_list(exchange), Division(_labels(exchange)))
                    division.shares.append((f"{where} {name}[{number}]", share))
    return list(found.values())


def _list(exchange: ExchangeDescriptor) -> str:
    """What the lists of sources of exchanges that belong together have in common."""
    return repr(exchange.listed)


def _labels(exchange: ExchangeDescriptor) -> list[str]:
    return [source.label for source in exchange.listed]
