"""What stands at a path, and what a device has told of it: a line each for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import attrs

from ...configdb import ABSENT, Children, Versioned
from ...engine.plan import route
from ...model import texts
from ...model.errors import counted
from ...reconfiguration.children import Child
from ...reconfiguration.flows.reading import Judgement
from ...reconfiguration.reporter import FAULT, STATE


@attrs.frozen
class Entry:
    """What stands at one key, and what a device has told of it."""

    path: str
    revision: int
    child: Child
    state: Mapping[str, Any]
    fault: Mapping[str, Any]

    @classmethod
    def of(cls, path: str, name: str, view: Children) -> Entry:
        """From the view of its own path."""
        own = view.own or Versioned(b"", ABSENT)
        state, fault = object_of(view.values.get(STATE)), object_of(view.values.get(FAULT))
        return cls(path, own.mod_revision, Child.read(name, own), state, fault)

    @property
    def applied(self) -> bool:
        """Whether the state is that of what stands there."""
        revision = self.state.get("revision")
        return isinstance(revision, int) and revision >= self.revision

    def __str__(self) -> str:
        return "  ".join(
            (texts.name(self.path), f"revision {self.revision}", self.judged, self.how)
        )

    @property
    def judged(self) -> str:
        """What it is worth by itself."""
        if self.child.refusal is not None:
            return f"invalid: {counted(len(self.child.refusal.faults), 'fault')}"
        groups = self.child.descriptor.groups if self.child.descriptor is not None else {}
        return counted(sum(map(len, groups.values())), "exchange")

    @property
    def how(self) -> str:
        """What a device has told."""
        if not self.state:
            return "no state: not watched"
        words = [
            str(self.state.get("state")) + (", degraded" if self.state.get("degraded") else "")
        ]
        if not self.applied:
            words.append(f"not applied yet: this is of revision {self.state.get('revision')}")
        if "device" in self.state:
            words.append(f"by {self.state['device']} on {self.state.get('host')}")
        if self.fault:
            words.append(f"{self.fault.get('error')}: {self.fault.get('message')}")
        words += self._waiting()
        return texts.one_line("  ".join(words))

    def _waiting(self) -> list[str]:
        """What the first endpoint waits for that does, and how many more do."""
        waiting = self.state.get("waiting")
        if not (isinstance(waiting, list) and waiting and isinstance(waiting[0], dict)):
            return []
        first = waiting[0]
        told = f"{first.get('exchange')} {first.get('name')} waits for {first.get('waiting_for')}"
        left_out = self.state.get("waiting_left_out")
        more = len(waiting) - 1 + (left_out if isinstance(left_out, int) else 0)
        return [told + (f" and {more} more" if more else "")]

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        refusal = self.child.refusal
        return {
            "path": self.path,
            "revision": self.revision,
            "valid": refusal is None,
            "faults": str(refusal).splitlines() if refusal is not None else [],
            "applied": self.applied,
            "state": dict(self.state) or None,
            "fault": dict(self.fault) or None,
        }


@attrs.frozen
class FlowEntry:
    """A flow, and what a connector has told of it."""

    path: str
    revision: int
    judgement: Judgement
    state: Mapping[str, Any]

    def __str__(self) -> str:
        return "  ".join((self.path, f"revision {self.revision}", self._judged, self._how))

    @property
    def _judged(self) -> str:
        judgement = self.judgement
        if judgement.refusal is not None:
            return f"invalid: {texts.one_line(str(judgement.refusal))}"
        return judgement.waits or (route(judgement.exchange) if judgement.exchange else "")

    @property
    def _how(self) -> str:
        if not self.state:
            return "no state"
        errors = self.state.get("error_state")
        return texts.one_line(f"{self.state.get('status')}" + (f": {errors}" if errors else ""))

    def as_dict(self) -> dict[str, Any]:
        """The same for programs."""
        refusal = self.judgement.refusal
        return {
            "path": self.path,
            "revision": self.revision,
            "valid": refusal is None,
            "faults": [str(fault) for fault in refusal.faults] if refusal is not None else [],
            "waits": self.judgement.waits,
            "state": dict(self.state) or None,
        }


def object_of(value: Versioned | None) -> dict[str, Any]:
    """The JSON object that a value is; an empty one for anything else."""
    try:
        found = json.loads(value.value) if value is not None else {}
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
