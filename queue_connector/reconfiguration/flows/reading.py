"""Views of the database → what is wanted of each group: a group for each processing block.

* judged    a flow alone first, then against the others: an attribute belongs to whoever had it
* kept      what streamed goes on while what its flow says now cannot be used
* errors    none: what is wrong with a flow is a note of its group, and stops no other flow
"""

from __future__ import annotations

import itertools
import logging
from collections.abc import Hashable, Mapping

import attrs
import trio

from ...configdb import View
from ...configuration.reading import read
from ...engine.following import Wanted
from ...model.errors import ConfigError, Fault, counted
from ...model.exchanges import ExchangeDescriptor
from ...model.services import Claim
from ..children import unreadable
from .choosing import Chosen, chosen, left_out, our_sources
from .entities import Entities, Entity, Flow, FlowKey
from .mapping import NotThereError, exchange_of, find

AT_ONCE = 10
"""Flows that are judged before others have their turn: some milliseconds of work."""

_PREFIX = "$.exchanges[0]"

log = logging.getLogger(__name__)


@attrs.frozen
class Judgement:
    """A flow as an exchange, or why it is none: it waits for another flow, or is refused."""

    basis: tuple[Entity | None, ...]
    """What it was made of: of the flow, and of those that it reads from."""
    exchange: ExchangeDescriptor | None = None
    waits: str = ""
    refusal: ConfigError | None = None
    claims: tuple[Claim, ...] = ()

    @property
    def revision(self) -> int:
        """The latest of what it was made of."""
        return max(entity.revision for entity in self.basis if entity is not None)


@attrs.frozen
class Carried:
    """What a group carries, and what it cannot."""

    keys: tuple[FlowKey, ...]
    """The flows of its exchanges, in their order."""
    exchanges: list[ExchangeDescriptor]
    refusals: Mapping[FlowKey, ConfigError]


class FlowReader:
    """For one subarray and the connector with this Tango name."""

    def __init__(self, subarray: str, device: str) -> None:
        self._subarray = subarray
        self._device = device
        self._entities = Entities()
        self._judged: dict[FlowKey, Judgement] = {}
        self._accepted: dict[FlowKey, Judgement] = {}
        self.chosen: Chosen = {}
        """What the last view has for this connector."""
        self.carried: dict[str, Carried] = {}
        """Processing block → what is wanted of its group."""

    async def wanted(self, view: View) -> dict[str, Wanted]:
        """What *view* wants of each group; others have their turn between."""
        entities = self._entities
        entities.update(view)
        self.chosen = chosen(entities, self._subarray, self._device)
        flows = {flow.key: flow for found in self.chosen.values() for flow in found}
        judged: dict[FlowKey, Judgement] = {}
        for number, (key, flow) in enumerate(flows.items(), 1):
            judged[key] = judge(flow, entities, self._device, self._judged.get(key))
            if not number % AT_ONCE:
                await trio.lowlevel.checkpoint()
        self._judged = judged
        self._accepted = {key: self._accepted[key] for key in judged if key in self._accepted}
        refusals = self._settle_claims()
        self.carried = {
            pb: self._carried([flow.key for flow in found], refusals)
            for pb, found in self.chosen.items()
        }
        return {pb: self._wanted(pb) for pb in self.carried}

    def left_out(self) -> Mapping[FlowKey, str]:
        """Flows of the last view that name such a connector, and are not for this one → why."""
        return left_out(self._entities, self._subarray, self._device)

    def _settle_claims(self) -> dict[FlowKey, ConfigError]:
        """What each flow is refused for; those that were accepted come first, then older ones."""

        def seniority(item: tuple[FlowKey, Judgement]) -> tuple[bool, int, str]:
            key, judgement = item
            return (self._accepted.get(key) is not judgement, judgement.revision, str(key))

        refusals: dict[FlowKey, ConfigError] = {}
        claimed: dict[Hashable, FlowKey] = {}
        for key, judgement in sorted(self._judged.items(), key=seniority):
            faults = [
                _as_exchange(claim.conflict(f"by {claimed[claim.key].path}"))
                for claim in judgement.claims
                if claim.key in claimed
            ]
            if judgement.refusal is not None:
                refusals[key] = judgement.refusal
            elif faults:
                refusals[key] = ConfigError(faults)
            elif judgement.exchange is not None:
                self._accepted[key] = judgement
            else:
                self._accepted.pop(key, None)  # what it read from is gone
            if (standing := self._accepted.get(key)) is not None:
                claimed.update(dict.fromkeys((claim.key for claim in standing.claims), key))
        return refusals

    def _carried(self, keys: list[FlowKey], refusals: Mapping[FlowKey, ConfigError]) -> Carried:
        standing = {key: self._accepted[key].exchange for key in keys if key in self._accepted}
        found = {key: exchange for key, exchange in standing.items() if exchange is not None}
        mine = {key: refusals[key] for key in keys if key in refusals}
        return Carried(tuple(found), list(found.values()), mine)

    def _wanted(self, pb: str) -> Wanted:
        flows = self.chosen[pb]
        carried = self.carried[pb]
        notes = []
        for flow in flows:
            if (refusal := carried.refusals.get(flow.key)) is not None:
                first, *others = refusal.faults
                more = f" (and {counted(len(others), 'more fault')})" if others else ""
                going_on = "; what it said before goes on" if flow.key in carried.keys else ""
                notes.append(f"{flow.key.path} is refused: {first}{more}{going_on}")
            elif waits := self._judged[flow.key].waits:
                notes.append(f"{flow.key.path} {waits}")
        revision = max(self._judged[flow.key].revision for flow in flows)
        return Wanted(revision, carried.exchanges, notes=tuple(notes))


def judge(
    flow: Flow, entities: Entities, device: str, before: Judgement | None = None
) -> Judgement:
    """A flow by itself, unless *before* still holds.

    *device* is the Tango name of the connector that is to carry it.
    """
    basis = basis_of(flow, entities)
    if before is not None and before.basis == basis:
        return before
    try:
        exchange = _exchange(flow, entities, device)
    except NotThereError as error:
        return Judgement(basis, waits=str(error))
    except ConfigError as error:
        return Judgement(basis, refusal=error)
    except Exception as error:  # of this flow, whatever it is: the others go on
        return Judgement(basis, refusal=unreadable(f"the flow {flow.key}", error))
    return Judgement(basis, exchange, claims=tuple(exchange.claims()))


def basis_of(flow: Flow, entities: Entities) -> tuple[Entity | None, ...]:
    """What a flow's exchange is made of: the flow, and those that it reads from, if they exist."""
    found: list[Entity | None] = [flow.entity]
    for _, source in our_sources(flow):
        uri = source.get("uri")
        key = FlowKey.parse(uri) if isinstance(uri, str) else None
        other = find(key, entities) if key is not None else None
        found.append(other.entity if other is not None else None)
    return tuple(found)


def _exchange(flow: Flow, entities: Entities, device: str) -> ExchangeDescriptor:
    reading = read({"exchanges": [exchange_of(flow, entities, device)]}, device)
    for warning in reading.warnings:
        log.warning("%s as an exchange: %s", flow.key.path, warning)
    if reading.descriptor is None:
        raise ConfigError([_as_exchange(fault) for fault in reading.faults])
    (exchange,) = itertools.chain.from_iterable(reading.descriptor.groups.values())
    return exchange


def _as_exchange(fault: Fault) -> Fault:
    """A fault of the exchange that a flow means, which stands in no flow as such."""
    return attrs.evolve(fault, path="as an exchange: " + fault.path.replace(_PREFIX, "$", 1))
