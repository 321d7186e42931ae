"""What the configuration database holds of flows: keys and values, read leniently.

* keys      ``/flow/{pb}:{kind}:{name}`` with ``state`` below, ``/pb/{pb}``, ``/eb/{eb}`` with
            ``state`` below
* lenient   unknown fields are left alone, and what cannot be read is a fault of its own entity
* source    SDP configuration database, as of ska-sdp-config 1.x; what is not certain of it stands
            on the page "To check against a live system"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from ...configdb import Level, Versioned, View
from ...configuration import document
from ...model.errors import ConfigError, Fault

FLOWS, BLOCKS, EXECUTIONS, STATE = "/flow", "/pb", "/eb", "state"

LEVELS = (
    Level(FLOWS),
    Level(FLOWS, 2),
    Level(BLOCKS),
    Level(EXECUTIONS),
    Level(EXECUTIONS, 2),
)
"""All that is read and followed."""

ENDED = frozenset({"FINISHED", "CANCELLED"})
"""States of an execution block whose flows do not run any more."""

Json = Mapping[str, Any]


@attrs.frozen
class FlowKey:
    """The name of a flow: of one processing block, kind and name together are unique."""

    pb_id: str
    kind: str
    name: str

    @classmethod
    def parse(cls, text: str) -> FlowKey | None:
        """What ``{pb}:{kind}:{name}`` says; None where it is something else."""
        parts = text.removeprefix(f"{FLOWS}/").split(":")
        if len(parts) != 3 or not all(parts) or "/" in text.removeprefix(f"{FLOWS}/"):
            return None
        return cls(*parts)

    def __str__(self) -> str:
        return f"{self.pb_id}:{self.kind}:{self.name}"

    @property
    def path(self) -> str:
        """Where it stands in the database."""
        return f"{FLOWS}/{self}"


@attrs.frozen
class Entity:
    """A value of the database: what it says, or why that cannot be read."""

    revision: int
    body: Json = attrs.field(factory=dict)
    fault: Fault | None = None

    @classmethod
    def of(cls, stored: Versioned) -> Entity:
        """Read one; whatever it holds is no error."""
        try:
            return cls(stored.mod_revision, document.load(stored.value or b"{}"))
        except ConfigError as error:
            return cls(stored.mod_revision, {}, error.faults[0])


@attrs.frozen
class Flow:
    """A flow and its state."""

    key: FlowKey
    entity: Entity
    state: Entity

    @property
    def status(self) -> str:
        """What its state says, in capitals; empty where it says nothing."""
        return _status(self.state.body)


@attrs.frozen
class ExecutionBlock:
    """An observation: whose subarray it runs on, and whether it does."""

    subarray: str | None
    status: str

    @property
    def ended(self) -> bool:
        """Whether its flows do not run any more."""
        return self.status in ENDED


class Entities:
    """All of it, as of the latest view: what a view costs follows what has changed since the last.

    ``blocks`` says of each processing block to which execution block it belongs, if to one.
    """

    def __init__(self) -> None:
        self.flows: dict[str, dict[FlowKey, Flow]] = {}
        self.blocks: dict[str, str | None] = {}
        self.executions: dict[str, ExecutionBlock] = {}
        self._values: Mapping[str, Versioned] = {}
        self._read: dict[str, Entity] = {}

    def flow(self, key: FlowKey) -> Flow | None:
        """The flow of this key, if there is one."""
        return self.flows.get(key.pb_id, {}).get(key)

    def update(self, view: View) -> None:
        """Be what *view* says."""
        before, self._values = self._values, view.values
        gone = before.keys() - view.values.keys()
        changed = [path for path, found in view.values.items() if before.get(path) is not found]
        for path in gone:
            del self._read[path]
        for path in changed:
            self._read[path] = Entity.of(view.values[path])
        for family, name in {_named(path) for path in (*gone, *changed)}:
            self._take(family, name)

    def _take(self, family: str, name: str) -> None:
        """Be what the values of one entity say."""
        path = f"{family}/{name}"
        entity, state = self._read.get(path), self._read.get(f"{path}/{STATE}", _NOTHING)
        if family == FLOWS and (key := FlowKey.parse(name)) is not None:
            flows = self.flows.setdefault(key.pb_id, {})
            if entity is not None:
                flows[key] = Flow(key, entity, state)
            elif flows.pop(key, None) and not flows:
                del self.flows[key.pb_id]
        elif family == BLOCKS and entity is not None:
            self.blocks[name] = _text(entity.body.get("eb_id"))
        elif family == BLOCKS:
            self.blocks.pop(name, None)
        elif family == EXECUTIONS and entity is not None:
            self.executions[name] = _execution_block(entity.body, state.body)
        elif family == EXECUTIONS:
            self.executions.pop(name, None)


def is_entity(path: str) -> bool:
    """Whether an entity that is read stands at a path, or the state of one."""
    match path.split("/"):
        case ["", "flow", name, *below]:
            return FlowKey.parse(name) is not None and below in ([], [STATE])
        case ["", "eb", _, *below]:
            return below in ([], [STATE])
        case ["", "pb", _]:
            return True
    return False


def _named(path: str) -> tuple[str, str]:
    """The family and the name of the entity that a path belongs to."""
    _, family, name, *_ = path.split("/")
    return f"/{family}", name


_NOTHING = Entity(0)


def same_subarray(one: str | None, other: str) -> bool:
    """Whether two names mean one subarray: ``1`` is ``01``."""
    return one is not None and (one.lstrip("0") or "0") == (other.lstrip("0") or "0")


def _execution_block(body: Json, state: Json) -> ExecutionBlock:
    """Older databases hold the state inside the block itself."""
    inner = body.get("state")
    status = _status(state) or _status(body) or _status(inner if isinstance(inner, dict) else {})
    return ExecutionBlock(_text(body.get("subarray_id")), status)


def _status(state: Json) -> str:
    return (_text(state.get("status")) or "").upper()


def _text(value: object) -> str | None:
    """A text as it stands; what is something else counts as nothing."""
    if isinstance(value, str):
        return value
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None
