"""Tells the database which flows are FLOWING, and which have FAILED.

* when      only where the status is another one than stands there
* merged    into what stands there, whose other keys belong to others; by comparing its revision, so
            that nothing which came meanwhile is written over
* failures  are of one flow: the others are written all the same, and it is tried again with pauses
            that grow
* source    SDP configuration database, as of ska-sdp-config 1.x
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence

import attrs
import trio

from ...configdb import ConfigDatabase
from ...model import texts
from ...model.errors import EndpointError, counted
from ...runtime.backoff import Backoff
from ..reporting import FIRST_RETRY, PAUSE, Reporting
from .choosing import DEVICE
from .entities import STATE, Flow, FlowKey

FLOWING, FAILED = "FLOWING", "FAILED"

MAX_RETRY = 10.0
"""Seconds before a write that failed is tried again, at most."""

MAX_ERROR = 1000
"""Characters of an error that are told."""

log = logging.getLogger(__name__)


@attrs.frozen
class FlowState:
    """How a flow is: its status, and why it has failed."""

    status: str
    errors: tuple[str, ...] = ()


class FlowStates(Reporting):
    """Writes the states of one connector's flows; *present* gives those that it knows."""

    def __init__(
        self,
        database: ConfigDatabase,
        present: Callable[[], Mapping[FlowKey, FlowState]],
        *,
        device: str,
        on_change: Callable[[], None],
    ) -> None:
        super().__init__(database, on_change)
        self._present = present
        self._device = device
        self._flows: Mapping[FlowKey, Flow] = {}
        self._revision = 0
        self._written: dict[FlowKey, int] = {}
        """The revisions of what was written and is not in what is known yet."""
        self._refused: dict[FlowKey, str] = {}

    @property
    def problems(self) -> Sequence[str]:
        """What keeps states from being told, for people."""
        if not self._refused:
            return ()
        key, reason = next(iter(self._refused.items()))
        many = counted(len(self._refused), "flow")
        return (f"the states of {many} cannot be told: {key.path}: {reason}",)

    def know(self, flows: Mapping[FlowKey, Flow], revision: int) -> None:
        """How these flows stand in the database, as of a revision of it."""
        restored = revision < self._revision  # what was written since is gone
        waiting = {} if restored else self._written
        self._written = {key: written for key, written in waiting.items() if written > revision}
        self._flows, self._revision = flows, revision
        self.changed()

    async def run(self) -> None:
        """Write until cancelled."""
        backoff = Backoff(FIRST_RETRY, MAX_RETRY)
        while True:
            await self._changed.wait()
            self._changed = trio.Event()
            refused = await self._write_all()
            if refused != self._refused:
                self._refused = refused
                self._on_change()
            if not refused:
                backoff.reset()
                if not self._changed.is_set():
                    self._up_to_date.set()
                await trio.sleep(PAUSE)
                continue
            with trio.move_on_after(backoff.next()):  # sooner when there is news
                await self._changed.wait()
            self._changed.set()

    async def _write_all(self) -> dict[FlowKey, str]:
        """Write what is another way than it stands; what was refused, and why."""
        refused: dict[FlowKey, str] = {}
        for key, wanted in self._present().items():
            flow = self._flows.get(key)
            if flow is None or key in self._written or flow.status == wanted.status:
                continue
            try:
                await self._write(flow, wanted)
            except EndpointError as error:
                refused[key] = error.reason
        return refused

    async def _write(self, flow: Flow, wanted: FlowState) -> None:
        errors = [
            {"error": texts.shortened(error, MAX_ERROR), "parameters": {DEVICE: self._device}}
            for error in wanted.errors
        ]
        told = {"status": wanted.status, "last_updated": time.time(), "error_state": errors}
        revision = await self._database.compare_and_swap(
            f"{flow.key.path}/{STATE}",
            json.dumps({**flow.state.body, **told}),
            flow.state.revision,
        )
        if revision is not None:  # else the next view tells what came meanwhile
            self._written[flow.key] = revision
            log.info("%s is %s", flow.key.path, wanted.status)
