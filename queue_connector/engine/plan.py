"""What a change of configuration means: what is added, kept, changed and removed.

The groups themselves ask `same`, `match` and `kept_attributes` when they change, so what
``queue-connector plan`` foretells by `compare` is what happens.

* exchanges   one that is wanted as it is goes on untouched, wherever in its group it stands; one
              that is changed is stopped in order and another is started
* attributes  those of each group by themselves: one that is wanted again with the same type and
              shape stays, with its subscribers and its last value
* equality    of what is written: NaN is the same as NaN
"""

from __future__ import annotations

import enum
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import attrs

from ..model.exchanges import ExchangeDescriptor
from ..model.services import PublishedAttribute

T = TypeVar("T")

Groups = Mapping[str, Sequence[ExchangeDescriptor]]
"""Name of each group → its exchanges."""


class Change(enum.Enum):
    """What becomes of something; the value is how a plan marks it."""

    ADDED = "+"
    KEPT = "="
    CHANGED = "~"
    REMOVED = "-"


@attrs.frozen
class Item:
    """An exchange or an attribute, and what becomes of it."""

    change: Change
    name: str
    what: str
    before: str = ""
    """What it was, where it is changed."""

    def __str__(self) -> str:
        was = f" (was {self.before})" if self.before and self.before != self.what else ""
        return f"{self.change.value} {self.name}: {self.what}{was}"


@attrs.frozen
class GroupPlan:
    """What becomes of a group."""

    change: Change
    name: str
    exchanges: tuple[Item, ...] = ()
    attributes: tuple[Item, ...] = ()


@attrs.frozen
class Plan:
    """What becomes of all groups, in the order of their names."""

    groups: tuple[GroupPlan, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether nothing would change."""
        return all(group.change is Change.KEPT for group in self.groups)

    def lines(self) -> Iterator[str]:
        """The plan for people: a line for each group, exchange and attribute, and a sum."""
        for group in self.groups:
            yield f"{group.change.value} group {group.name}"
            yield from (
                f"  {item.change.value} exchange {str(item)[2:]}" for item in group.exchanges
            )
            yield from (
                f"  {item.change.value} attribute {str(item)[2:]}" for item in group.attributes
            )
        if self.groups:
            yield ""
        if self.empty:
            yield "nothing changes"
            return
        for what, items in self._kinds():
            counts = {change: sum(item is change for item in items) for change in Change}
            told = [f"{n} {change.name.lower()}" for change, n in counts.items() if n]
            yield f"{what}: {', '.join(told) or 'none'}"

    def _kinds(self) -> Iterator[tuple[str, list[Change]]]:
        yield "groups", [group.change for group in self.groups]
        yield "exchanges", [item.change for group in self.groups for item in group.exchanges]
        yield "attributes", [item.change for group in self.groups for item in group.attributes]

    def as_dict(self) -> dict[str, Any]:
        """The plan for programs."""

        def told(items: Iterable[Item]) -> list[dict[str, str]]:
            return [{**attrs.asdict(i), "change": i.change.name.lower()} for i in items]

        return {
            group.name: {
                "change": group.change.name.lower(),
                "exchanges": told(group.exchanges),
                "attributes": told(group.attributes),
            }
            for group in self.groups
        }


# -- what the groups ask when they change ----------------------------------------------------------


def same(present: Sequence[ExchangeDescriptor], wanted: Sequence[ExchangeDescriptor]) -> bool:
    """Whether these are written alike, in the same order."""
    return len(present) == len(wanted) and all(map(_alike, present, wanted))


def match(
    present: Iterable[T],
    wanted: Iterable[ExchangeDescriptor],
    descriptor_of: Callable[[T], ExchangeDescriptor],
) -> list[T | None]:
    """For each exchange that is wanted, the one of those *present* that is the same already."""
    left = list(present)
    wanted = list(wanted)
    matched: list[T | None] = [None] * len(wanted)
    for equal in (operator.eq, _alike):  # the second one is slow, and rarely has any work to do
        for place, exchange in enumerate(wanted):
            if matched[place] is None:
                for index, item in enumerate(left):
                    if equal(descriptor_of(item), exchange):
                        matched[place] = left.pop(index)
                        break
    return matched


def kept_attributes(
    present: Iterable[PublishedAttribute], wanted: Sequence[PublishedAttribute]
) -> list[PublishedAttribute]:
    """Those *present* that can stay as they are."""
    return [old for old in present if any(old.same_type(new) for new in wanted)]


def published(exchanges: Iterable[ExchangeDescriptor]) -> list[PublishedAttribute]:
    """Every attribute that these exchanges publish."""
    return [attribute for exchange in exchanges for attribute in exchange.attributes()]


def _alike(one: ExchangeDescriptor, other: ExchangeDescriptor) -> bool:
    """Equal, but for NaN, which is no number equal to itself."""
    if one == other:
        return True
    written = repr(one)
    return "nan" in written and written == repr(other)


# -- the whole of it, for people -------------------------------------------------------------------


def compare(present: Groups, wanted: Groups) -> Plan:
    """What becomes of the groups *present* when others are *wanted*."""
    return Plan(
        tuple(
            _compare_group(name, present.get(name), wanted.get(name))
            for name in sorted({*present, *wanted})
        )
    )


def _compare_group(
    name: str,
    present: Sequence[ExchangeDescriptor] | None,
    wanted: Sequence[ExchangeDescriptor] | None,
) -> GroupPlan:
    if wanted is None:
        change = Change.REMOVED
    elif present is None:
        change = Change.ADDED
    else:
        change = Change.KEPT if same(present, wanted) else Change.CHANGED
    return GroupPlan(
        change,
        name,
        tuple(_compare_exchanges(name, present or (), wanted or ())),
        tuple(_compare_attributes(published(present or ()), published(wanted or ()))),
    )


def _compare_exchanges(
    group: str, present: Sequence[ExchangeDescriptor], wanted: Sequence[ExchangeDescriptor]
) -> Iterator[Item]:
    """In the order that is wanted; then those that end without another in their place."""
    matched = match(range(len(present)), wanted, lambda index: present[index])
    leaving = [index for index in range(len(present)) if index not in matched]
    for index, (exchange, stays) in enumerate(zip(wanted, matched, strict=True)):
        name, what = f"{group}[{index}]", route(exchange)
        if stays is not None:
            yield Item(Change.KEPT, name, what)
            continue
        replaced = next((old for old in leaving if _related(present[old], exchange)), None)
        if replaced is None:
            yield Item(Change.ADDED, name, what)
        else:
            leaving.remove(replaced)
            yield Item(Change.CHANGED, name, what, route(present[replaced]))
    for index in leaving:
        yield Item(Change.REMOVED, f"{group}[{index}]", route(present[index]))


def _related(one: ExchangeDescriptor, other: ExchangeDescriptor) -> bool:
    """Whether people would say that one has been made out of the other."""
    if any(source in other.sources for source in one.sources):
        return True
    if any(sink in other.sinks for sink in one.sinks):
        return True
    claimed = {claim.key for claim in one.claims()}
    return any(claim.key in claimed for claim in other.claims())


def _compare_attributes(
    present: Sequence[PublishedAttribute], wanted: Sequence[PublishedAttribute]
) -> Iterator[Item]:
    before = {attribute.name.lower(): attribute for attribute in present}
    kept = {attribute.name.lower() for attribute in kept_attributes(present, wanted)}
    for attribute in wanted:
        key = attribute.name.lower()
        old = before.pop(key, None)
        if old is None:
            yield Item(Change.ADDED, attribute.name, str(attribute.spec))
        elif key in kept:
            yield Item(Change.KEPT, attribute.name, str(attribute.spec))
        else:
            yield Item(Change.CHANGED, attribute.name, str(attribute.spec), str(old.spec))
    for attribute in before.values():
        yield Item(Change.REMOVED, attribute.name, str(attribute.spec))


def route(exchange: ExchangeDescriptor) -> str:
    """An exchange in a few words: ``float64 [3], KafkaConsumerSource(offsets) -> …``."""
    sources = ", ".join(source.label for source in exchange.sources)
    sinks = ", ".join(sink.label for sink in exchange.sinks)
    share = f"{exchange.share} of {len(exchange.listed)}: " if exchange.share else ""
    return f"{exchange.spec}, {share}{sources} -> {sinks}"
