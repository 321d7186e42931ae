"""``config check``: whether the devices that share lists of sources read each source once."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

import attrs

from ...configdb import Children, ConfigDatabase
from ...model import texts
from ...model.division import Share
from ...model.errors import counted
from ...model.exchanges import ExchangeDescriptor
from ...reconfiguration.children import Reader
from ..common import Commands, path, print_json, with_database

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
    check.add_argument("--json", action="store_true", help="print a JSON list, an object a list")
    check.set_defaults(run=_check)


def _check(options: argparse.Namespace) -> int:
    async def check(database: ConfigDatabase) -> int:
        views = {where: await database.children(where) for where in options.paths}
        lists = divided(views)
        if options.json:
            print_json([each.as_json() for each in lists])
        elif not lists:
            print("no exchange with the key 'share' stands there")
        else:
            for each in lists:
                print("\n".join(map(texts.printable, each.lines())))
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
                found[position].append(f"{where} ({share})")
        return found

    @property
    def wrong(self) -> bool:
        """Whether a source is not read once."""
        return any(len(readers) != 1 for readers in self.readers())

    @property
    def gaps(self) -> list[str]:
        """The sources that nobody reads."""
        return [label for label, who in zip(self.labels, self.readers(), strict=True) if not who]

    @property
    def overlaps(self) -> dict[tuple[str, ...], list[str]]:
        """The sources that several read, by who they are."""
        found: dict[tuple[str, ...], list[str]] = {}
        for label, who in zip(self.labels, self.readers(), strict=True):
            if len(who) > 1:
                found.setdefault(tuple(who), []).append(label)
        return found

    def as_json(self) -> dict[str, Any]:
        """How it is divided, for programs."""
        return {
            "sources": self.labels,
            "shares": [
                {"exchange": where, "share": str(share), "reads": share.of(self.labels)}
                for where, share in self.shares
            ],
            "gaps": self.gaps,
            "overlaps": [
                {"exchanges": list(who), "sources": labels} for who, labels in self.overlaps.items()
            ],
        }

    def lines(self) -> Iterator[str]:
        """How it is divided, for people."""
        yield f"{counted(len(self.labels), 'source')}, {self.labels[0]} …"
        for where, share in self.shares:
            many = len(share.of(self.labels))
            yield f"  {share}: {where} reads {many}"
        if self.gaps:
            yield f"  gap: nobody reads {_named(self.gaps)}"
        for who, labels in self.overlaps.items():
            all_of_them = "both" if len(who) == 2 else "all"
            yield f"  overlap: {' and '.join(who)} {all_of_them} read {_named(labels)}"


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
