"""What is there and what is wanted → which attributes go, come, and stay as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import attrs

from ...model.services import PublishedAttribute
from .current import Current
from .static_attributes import StaticAttribute

STATIC = "the property attributes"
"""Whose the attributes are that no exchange removes."""

Standing = Mapping[str, Current]
"""What is there, by name in lower case."""


@attrs.define
class Differences:
    """What has to be done."""

    stale: list[str] = attrs.field(factory=list)
    """The names of what must go."""
    added: list[Current] = attrs.field(factory=list)
    kept: list[tuple[Current, PublishedAttribute]] = attrs.field(factory=list)
    """What stays, with how it is wanted: of the same type, perhaps with another default."""


def of_owner(standing: Standing, owner: str, wanted: Sequence[PublishedAttribute]) -> Differences:
    """For the attributes of exchanges; static ones are fed, and nothing else."""
    found, same = Differences(), set()
    for attribute in wanted:
        name = attribute.name.lower()
        current = standing.get(name)
        if current is not None and current.static is not None:
            continue
        if current is not None and current.attribute.same_type(attribute):
            same.add(name)
            found.kept.append((current, attribute))
        else:
            found.added.append(Current.new(attribute, owner))
    found.stale += [
        name
        for name, current in standing.items()
        if current.static is None and current.owner == owner and name not in same
    ]
    return found


def of_static(standing: Standing, wanted: Sequence[StaticAttribute]) -> Differences:
    """For static attributes; what an exchange has of such a name becomes one of them."""
    found = Differences()
    names = {static.name.lower(): static for static in wanted}
    for name, current in standing.items():
        static = names.get(name)
        if static is not None and current.static is not None and current.static.alike(static):
            current.static = names.pop(name)
            found.kept.append((current, static.published))
        elif static is not None or current.static is not None:
            found.stale.append(name)
    found.added += [Current.new(static.published, STATIC, static) for static in names.values()]
    return found
