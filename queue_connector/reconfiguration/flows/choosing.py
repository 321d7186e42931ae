"""Which flows a subarray's connector carries, and why it leaves out the others.

* ours      one of its sources names `FUNCTION`, and its processing block belongs to an execution
            block of the subarray that has not ended
* ended     a flow that others have called COMPLETED or FAILED; what this connector has called
            FAILED itself is tried again
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from .entities import Entities, Flow, FlowKey, Json, same_subarray

FUNCTION = "ska-sdp-lmc-queue-connector:exchange"
"""What a source of a flow names as its function when this connector is to carry it."""

DEVICE = "device"
"""The key of an error's parameters that says which connector has found it."""

COMPLETED, FAILED = "COMPLETED", "FAILED"


Chosen = Mapping[str, tuple[Flow, ...]]
"""Processing block → its flows that a connector carries, by key."""


def chosen(entities: Entities, subarray: str, device: str) -> Chosen:
    """What the connector of a subarray whose Tango name is *device* is to carry."""
    found: dict[str, tuple[Flow, ...]] = {}
    for pb_id in sorted(entities.blocks):
        if _why_no_block(pb_id, entities, subarray):
            continue
        flows = entities.flows.get(pb_id, {})
        mine = [
            flow
            for flow in flows.values()
            if any(our_sources(flow)) and not _why_ended(flow, device)
        ]
        if mine:
            found[pb_id] = tuple(sorted(mine, key=lambda flow: str(flow.key)))
    return found


def left_out(entities: Entities, subarray: str, device: str) -> dict[FlowKey, str]:
    """Flows that name this kind of connector and are not for this one → why."""
    found: dict[FlowKey, str] = {}
    for pb_id, flows in sorted(entities.flows.items()):
        reason = _why_no_block(pb_id, entities, subarray)
        for key in sorted(flows, key=str):
            why = reason or _why_ended(flows[key], device)
            if why and any(our_sources(flows[key])):
                found[key] = why
    return found


def our_sources(flow: Flow) -> Iterator[tuple[int, Json]]:
    """The sources that this kind of connector is to read, with their places."""
    sources = flow.entity.body.get("sources")
    for place, source in enumerate(sources if isinstance(sources, list) else ()):
        if isinstance(source, dict) and source.get("function") == FUNCTION:
            yield place, source


def _why_no_block(pb_id: str, entities: Entities, subarray: str) -> str:
    if pb_id not in entities.blocks:
        return f"there is no processing block {pb_id}"
    if (eb_id := entities.blocks[pb_id]) is None:
        return f"the processing block {pb_id} has no execution block"
    if (execution := entities.executions.get(eb_id)) is None:
        return f"there is no execution block {eb_id}"
    if not same_subarray(execution.subarray, subarray):
        return f"{eb_id} runs on subarray {execution.subarray or 'none'}, not on {subarray}"
    return f"{eb_id} is {execution.status}" if execution.ended else ""


def _why_ended(flow: Flow, device: str) -> str:
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
