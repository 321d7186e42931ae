"""The pages that a device serves over HTTP: its numbers, and whether it lives and is ready.

========== =====================================================================================
/          how the device is, for people, live; see `page`
/events    what that page listens to
/metrics   all that is counted, for Prometheus; see `exposition`
/live      200 while the loop in which all streams live answers at all
/ready     200 once the device has begun and while it is not in FAULT, else 503; the text is its
           ``Status``, which names the group at fault
========== =====================================================================================

A device that waits for a broker is ready: to start it again would not bring the broker back.

* source    Kubernetes' manual, "Configure Liveness, Readiness and Startup Probes"
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import trio

from ..engine.state import State
from ..model.datatypes import Data
from .exposition import Exposition
from .http_server import Answer, Page
from .metrics import Snapshot
from .page import Look, StatusPage

NOT_READY = frozenset({State.INIT, State.FAULT})
"""The states in which a device does not do what it is there for."""


def pages(
    name: str,
    snapshot: Callable[[], Snapshot],
    present: Callable[[], tuple[State, str]],
    values: Callable[[], Mapping[str, Data]],
) -> Mapping[str, Page]:
    """All of them by their paths, for the device *name*.

    *present* tells its state and its ``Status``, *values* the last datum of each exchange.
    """
    exposition = Exposition(snapshot)

    def look() -> Look:
        state, status = present()
        seen = snapshot()
        return Look(name, state.value, status, seen.groups, seen.statistics, values())

    status_page = StatusPage(look)

    async def metrics(headers: Mapping[str, str]) -> Answer:
        content_type, body = await exposition.answer(headers.get("accept", ""))
        return Answer(body=body, content_type=content_type)

    async def live(_headers: Mapping[str, str]) -> Answer:
        await trio.lowlevel.checkpoint()
        return Answer(body=b"alive\n")

    async def ready(_headers: Mapping[str, str]) -> Answer:
        await trio.lowlevel.checkpoint()
        state, status = present()
        text = f"{state.value}\n{status}\n"
        return Answer(body=text.encode(), status=503 if state in NOT_READY else 200)

    return {
        "/": status_page.document,
        "/events": status_page.events,
        "/metrics": metrics,
        "/live": live,
        "/ready": ready,
    }
