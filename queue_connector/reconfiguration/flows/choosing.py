"""Which flows a subarray's connector carries, and why it leaves out the others.

* ours      one of its sources names `FUNCTION`, and its processing block belongs to an execution
            block of the subarray that has not ended
* ended     a flow that others have called COMPLETED or FAILED; what this connector has called
            FAILED itself is tried again
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import attrs

from .entities import Entities, Flow, FlowKey, Json, same_subarray

FUNCTION = "ska-sdp-lmc-queue-connector:exchange"
"""What a source of a flow names as its function when this connector is to carry it."""

DEVICE = "device"
"""The key of an error's parameters that says which connector has found it."""

COMPLETED, FAILED = "COMPLETED", "FAILED"


@attrs.frozen
class Choice:
    """What of a database is for one connector."""

    flows: Mapping[str, tuple[Flow, ...]]
    """Processing block → its flows, by key."""
    left_out: Mapping[FlowKey, str]
    """Flows that name this kind of connector and are not for this one → why."""


def chosen(entities: Entities, subarray: str, device: str) -> Choice:
    """What of *entities* is for the connector of a subarray whose Tango name is *device*."""
    flows: dict[str, list[Flow]] = {}
    left_out: dict[FlowKey, str] = {}
    for key in sorted(entities.flows, key=str):
        flow = entities.flows[key]
        if not any(our_sources(flow)):
            continue
        if reason := _why_not(flow, entities, subarray, device):
            left_out[key] = reason
        else:
            flows.setdefault(key.pb_id, []).append(flow)
    return Choice({pb: tuple(found) for pb, found in flows.items()}, left_out)


def our_sources(flow: Flow) -> Iterator[tuple[int, Json]]:
    """The sources that this kind of connector is to read, with their places."""
    sources = flow.entity.body.get("sources")
    for place, source in enumerate(sources if isinstance(sources, list) else ()):
        if isinstance(source, dict) and source.get("function") == FUNCTION:
            yield place, source


def _why_not(flow: Flow, entities: Entities, subarray: str, device: str) -> str:
    pb_id = flow.key.pb_id
    if pb_id not in entities.blocks:
        return f"there is no processing block {pb_id}"
    if (eb_id := entities.blocks[pb_id]) is None:
        return f"the processing block {pb_id} has no execution block"
    if (execution := entities.executions.get(eb_id)) is None:
        return f"there is no execution block {eb_id}"
    if not same_subarray(execution.subarray, subarray):
        return f"{eb_id} runs on subarray {execution.subarray or 'none'}, not on {subarray}"
    if execution.ended:
        return f"{eb_id} is {execution.status}"
    if flow.status == COMPLETED or (flow.status == FAILED and not is_own_failure(flow, device)):
        return f"its state says {flow.status}"
    return ""


def is_own_failure(flow: Flow, device: str) -> bool:
    """Whether the connector of this name has called the flow FAILED, and nobody else."""
    errors = flow.state.body.get("error_state")
    return (
        isinstance(errors, list)
        and bool(errors)
        and all(
            isinstance(error, dict)
            and isinstance(error.get("parameters"), dict)
            and error["parameters"].get(DEVICE) == device
            for error in errors
        )
    )
