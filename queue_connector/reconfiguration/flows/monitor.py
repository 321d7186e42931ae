"""The flows of a subarray drive the groups, and are told how they are.

* held      the subarray, by one connector: at `HELD`, since flows belong to their pipelines
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from ...configdb import ConfigDatabase
from ...engine.group import Group
from ...engine.plan import same
from ...engine.state import State
from ...engine.supervisor import Supervisor
from ..following import Following
from ..holding import Terms
from .entities import LEVELS, FlowKey
from .reading import Carried, FlowReader
from .states import FAILED, FLOWING, FlowState, FlowStates

HELD = "/component/lmc-queueconnector-{}"
"""The path by which a connector holds the flows of a subarray."""


class FlowMonitor(Following):
    """Follows the flows of *subarray* for one supervisor."""

    _reporting: FlowStates

    def __init__(
        self,
        database: ConfigDatabase,
        subarray: str,
        supervisor: Supervisor,
        on_change: Callable[[], None] = lambda: None,
        *,
        device: str = "",
        standby: bool = False,
        tell_states: bool = True,
        terms: Terms | None = None,
    ) -> None:
        """*tell_states* says whether the states of the flows are written.

        Raises:
            ConfigError: it is no name, or nobody can stand by with this database.
        """
        super().__init__(
            database,
            f"the flows of subarray {subarray}",
            HELD.format(subarray),
            supervisor,
            on_change,
            device=device,
            standby=standby,
            terms=terms,
        )
        self._reader = FlowReader(subarray, device)
        present = self._present if tell_states else dict[FlowKey, FlowState]
        self._reporting = FlowStates(database, present, device=device, on_change=on_change)

    async def _follow(self) -> None:
        async with self._database.watch_levels(
            self._name, LEVELS, on_connected=lambda _: self._on_change()
        ) as self._watch:
            async for view in self._watch:
                wanted = await self._reader.wanted(view)
                await self._holding.decided()
                self._supervisor.follow(wanted)
                flows = self._reader.chosen.values()
                known = {flow.key: flow for found in flows for flow in found}
                self._reporting.know(known, view.revision)

    def _present(self) -> Mapping[FlowKey, FlowState]:
        found: dict[FlowKey, FlowState] = {}
        for pb, carried in self._reader.carried.items():
            for key, refusal in carried.refusals.items():
                found[key] = FlowState(FAILED, tuple(map(str, refusal.faults)))
            group = self._supervisor.groups.get(pb)
            if group is not None and same(group.exchanges, carried.exchanges):
                found |= {k: s for k, s in states_of(group, carried) if k not in found}
        return found


def states_of(group: Group, carried: Carried) -> list[tuple[FlowKey, FlowState]]:
    """How those are that the group has taken on; nothing of one that starts or ends."""
    if group.state is State.FAULT and group.fault is not None:
        failed = FlowState(FAILED, (group.fault.message,))
        return [(key, failed) for key in carried.keys]
    return [
        (key, FlowState(FLOWING))
        for key, stream in zip(carried.keys, group.streams, strict=True)
        if stream.exchange is not None and stream.started.is_set()
    ]
