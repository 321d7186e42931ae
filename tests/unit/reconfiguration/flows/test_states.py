"""What is told of flows, where a view has not caught up or the database was restored."""

import json
import uuid

import trio

from queue_connector.configdb.memory import MemoryDatabase
from queue_connector.engine.supervisor import open_supervisor
from queue_connector.model.errors import EndpointError
from queue_connector.reconfiguration.flows.choosing import is_own_failure
from queue_connector.reconfiguration.flows.entities import Entity, Flow, FlowKey
from queue_connector.reconfiguration.flows.monitor import states_of
from queue_connector.reconfiguration.flows.reading import Carried
from queue_connector.reconfiguration.flows.states import FAILED, FLOWING, FlowState, FlowStates
from tests.support.flow_entities import DEVICE, PB

KEY = FlowKey(PB, "tango", "x")
STATE = f"{KEY.path}/state"


async def test_a_state_is_written_once_and_again_where_the_database_was_restored(autojump_clock):
    database = MemoryDatabase(uuid.uuid4().hex)
    flows = {KEY: Flow(KEY, Entity(1), Entity(0))}
    states = FlowStates(
        database, lambda: {KEY: FlowState(FLOWING)}, device=DEVICE, on_change=lambda: None
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(states.run)
        states.know(flows, 1)
        await states.reported()
        written = await database.get(STATE)
        states.know(flows, written.mod_revision - 1)  # a view from before it was written
        await states.reported()
        assert (await database.get(STATE)).mod_revision == written.mod_revision
        await database.delete(STATE)
        states.know(flows, 0)
        await states.reported()
        assert json.loads((await database.get(STATE)).value)["status"] == FLOWING
        nursery.cancel_scope.cancel()


async def test_what_others_wrote_meanwhile_is_not_written_over(autojump_clock):
    database = MemoryDatabase(uuid.uuid4().hex)
    theirs = await database.put(STATE, '{"status": "PENDING", "theirs": 1}')
    states = FlowStates(
        database,
        lambda: {KEY: FlowState(FAILED, ("why",))},
        device=DEVICE,
        on_change=lambda: None,
    )
    async with trio.open_nursery() as nursery:
        nursery.start_soon(states.run)
        states.know({KEY: Flow(KEY, Entity(1), Entity(0))}, theirs - 1)
        await states.reported()
        assert (await database.get(STATE)).mod_revision == theirs
        known = Entity(theirs, {"status": "PENDING", "theirs": 1})
        states.know({KEY: Flow(KEY, Entity(1), known)}, theirs)
        await states.reported()
        found = json.loads((await database.get(STATE)).value)
        assert (found["status"], found["theirs"]) == (FAILED, 1)
        assert found["error_state"] == [{"error": "why", "parameters": {"device": DEVICE}}]
        nursery.cancel_scope.cancel()


async def test_a_group_that_was_refused_says_why_so_that_its_flows_are_tried_again(autojump_clock):
    database = MemoryDatabase(uuid.uuid4().hex)
    async with open_supervisor() as supervisor, trio.open_nursery() as nursery:
        supervisor.refuse(PB, EndpointError("group", "change", "unexpected"))
        group = supervisor.groups[PB]
        states = FlowStates(
            database,
            lambda: dict(states_of(group, Carried((KEY,), [], {}))),
            device=DEVICE,
            on_change=lambda: None,
        )
        nursery.start_soon(states.run)
        states.know({KEY: Flow(KEY, Entity(1), Entity(0))}, 1)
        await states.reported()
        told = Entity(2, json.loads((await database.get(STATE)).value))
        assert "unexpected" in told.body["error_state"][0]["error"]
        assert is_own_failure(Flow(KEY, Entity(1), told), DEVICE)
        nursery.cancel_scope.cancel()
