"""Random writes to a configuration database, and a model of what must come of them.

A `Model` makes up writes to the children of a watched path: add, change, remove, empty, break,
mend, rewrite identical. Each child has attribute names of its own, which its groups trade, and
which change their type. What must be true once a burst of writes has settled, it tells by
`groups`, `attributes` and `children`.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import attrs

from queue_connector.engine.state import State, aggregate

Exchange = dict[str, Any]

DTYPES = ("int64", "float64", "str")
NAMES = 5
BROKEN = ("{", '{"exchanges": [{"sink": 1}]}', '{"exchange": []}', "[]", "\0", "null")
EMPTY = ("{}", '{"exchanges": []}', '{"exchanges": null}', '{"exchanges": {}}')


@attrs.define
class Child:
    """One key: what was accepted of it last, and what stands there now."""

    text: str
    revision: int = 0
    accepted: str | None = None
    groups: dict[str, list[Exchange]] = attrs.field(factory=dict)
    broken: bool = False

    def state(self, group: str) -> State:
        if self.groups[group]:
            return State.ON
        return State.FAULT if self.broken else State.STANDBY


def idle(name: str, dtype: str, rng: random.Random) -> Exchange:
    """An exchange that says little and does not end during a test."""
    data = [str(number) if dtype == "str" else number for number in range(50)]
    return exchange(name, dtype, {"type": "InMemorySource", "data": data, "delay": 30})


def exchange(name: str, dtype: str, source: Any) -> Exchange:
    sink = {"type": "TangoLocalAttributeSink", "attribute_name": name}
    return {"dtype": dtype, "source": source, "sink": sink}


class Model:
    """What a connector that watches the children must make of the writes so far."""

    def __init__(
        self,
        seed: int,
        *,
        children: int = 4,
        make: Callable[[str, str, random.Random], Exchange] = idle,
    ) -> None:
        self.written: dict[str, Child] = {}
        self.counts: dict[str, int] = {}
        self._rng = random.Random(seed)
        self._names = [f"child{number}" for number in range(children)]
        self._make = make

    def burst(self) -> dict[str, str | None]:
        """The next writes, to one or a few children; None deletes."""
        many = self._rng.choice([1, 1, 1, 2, len(self._names)])
        return {name: self._next(name) for name in self._rng.sample(self._names, many)}

    def _next(self, name: str) -> str | None:
        child = self.written.get(name)
        acts = ["change"] * 4 + ["empty", "break", "break"]
        if child is not None:
            acts += ["remove", "rewrite"]
        if child is not None and child.broken and child.accepted is not None:
            acts += ["mend"] * 4
        act = "add" if child is None else ""
        chosen = self._rng.choice(acts)
        if chosen != "change":
            act = chosen
        elif not act:
            act = "change"
        self.counts[act] = self.counts.get(act, 0) + 1
        if act == "remove":
            return None
        if act == "rewrite":
            assert child is not None
            return child.text
        if act == "mend":
            assert child is not None
            return child.accepted
        if act == "empty":
            return self._rng.choice(EMPTY)
        if act == "break":
            return self._rng.choice(BROKEN)
        return self._configuration(name)

    def _configuration(self, name: str) -> str:
        rng = self._rng
        names = rng.sample([f"{name}_{number}" for number in range(NAMES)], rng.randint(1, NAMES))
        made = [self._make(each, rng.choice(DTYPES[:2]), rng) for each in names]
        if rng.random() < 0.5:
            return json.dumps({"exchanges": made})
        half = rng.randint(0, len(made))
        return json.dumps({"exchanges": {"one": made[:half], "two": made[half:]}})

    def wrote(self, name: str, text: str | None, revision: int) -> None:
        """A write was done."""
        if text is None:
            self.written.pop(name)
            return
        child = self.written.setdefault(name, Child(text))
        child.text, child.revision = text, revision
        child.broken = text in BROKEN
        if child.broken:
            child.groups = child.groups or {name: []}
            return
        child.accepted = text
        exchanges = json.loads(text).get("exchanges")
        if isinstance(exchanges, dict) and exchanges:
            child.groups = {f"{name}.{inner}": found for inner, found in exchanges.items()}
        else:
            child.groups = {name: exchanges or []}

    # -- what must be true -------------------------------------------------------------------------

    def groups(self) -> dict[str, tuple[str, int, bool]]:
        """Name → state, revision, and whether it has a fault."""
        return {
            group: (child.state(group).value, child.revision, child.broken)
            for child in self.written.values()
            for group in child.groups
        }

    def configuration(self) -> dict[str, list[Exchange]]:
        return {g: found for child in self.written.values() for g, found in child.groups.items()}

    def attributes(self) -> dict[str, str]:
        """Name → dtype."""
        return {
            each["sink"]["attribute_name"]: each["dtype"]
            for found in self.configuration().values()
            for each in found
        }

    def children(self) -> dict[str, tuple[str, int, bool]]:
        """Name → what its key ``state`` says, and whether it has a key ``fault``."""
        return {
            name: (aggregate(map(child.state, child.groups)).value, child.revision, child.broken)
            for name, child in self.written.items()
        }
