"""Flows that nobody carries yet: what is wrong with them, whichever subarray they are for.

A *flow file* is a JSON object of path → entity, as they are to stand in the database.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import attrs

from ...configdb import Versioned, View
from ...configuration import document
from ...model.errors import ConfigError, Fault
from ...model.option import step
from .choosing import our_sources
from .entities import Entities, Entity, FlowKey, is_entity
from .reading import FlowReader, Judgement, judge


def unreadable(entities: Mapping[str, bytes]) -> list[Fault]:
    """Why values are no objects of JSON, each with its path."""
    found = ((path, Entity.of(Versioned(text, 0)).fault) for path, text in entities.items())
    return [attrs.evolve(fault, path=f"{path} {fault.path}") for path, fault in found if fault]


def entities_of(text: bytes) -> dict[str, bytes]:
    """What a flow file holds, as it is written to the database.

    Raises:
        ConfigError: a key is no path of an entity, or a value is no object.
    """
    content = document.load(text)
    faults = [fault for key, value in content.items() for fault in _faults(key, value)]
    if faults:
        raise ConfigError(faults)
    return {path: json.dumps(value).encode() for path, value in content.items()}


def _faults(path: str, value: object) -> list[Fault]:
    if not is_entity(path):
        return [Fault(f"${step(path)}", "it is no path of an entity", _PATHS)]
    if not isinstance(value, dict):
        return [Fault(f"${step(path)}", f"expected an object, found {value!r:.60}")]
    return []


_PATHS = (
    "/flow/{pb}:{kind}:{name}, /pb/{pb}, /eb/{eb}, or /state below a flow or an execution block"
)


def with_entities(view: View, entities: Mapping[str, bytes]) -> View:
    """The database once these are written, in one revision."""
    revision = view.revision + 1
    new = {path: Versioned(text, revision) for path, text in entities.items()}
    return View(revision, {**view.values, **new})


async def examine(view: View, device: str) -> dict[FlowKey, Judgement]:
    """Every flow that names this kind of connector: by itself, and beside those of its subarray.

    *device* is the Tango name of the connector, whose attributes are its own.
    """
    entities = Entities()
    entities.update(view)
    flows = (flow for block in entities.flows.values() for flow in block.values())
    found = {
        flow.key: judge(flow, entities, device)
        for flow in sorted(flows, key=lambda flow: str(flow.key))
        if any(our_sources(flow))
    }
    subarrays = {execution.subarray for execution in entities.executions.values()}
    for subarray in filter(None, subarrays):
        reader = FlowReader(subarray, device)
        await reader.wanted(view)
        for carried in reader.carried.values():
            for key, refusal in carried.refusals.items():
                found[key] = attrs.evolve(found[key], exchange=None, refusal=refusal)
    return found


def faults_of(judged: Mapping[FlowKey, Judgement]) -> list[Fault]:
    """Why flows would be refused, with the flow in each path."""
    return [
        attrs.evolve(fault, path=f"{key.path} {fault.path}")
        for key, judgement in judged.items()
        if judgement.refusal is not None
        for fault in judgement.refusal.faults
    ]
