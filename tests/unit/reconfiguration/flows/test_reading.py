"""Views of the database → what is wanted: whatever the order, a flow's fault is its own."""

import itertools
import json
import os
import random

import pytest
from hypothesis import given, settings, strategies as st

from queue_connector.configdb import Versioned, View
from queue_connector.reconfiguration.flows import reading as reading_module
from queue_connector.reconfiguration.flows.mapping import exchange_of
from queue_connector.reconfiguration.flows.reading import FlowReader
from tests.support.flow_entities import DEVICE, EB, PB, attribute, blocks, flow, queue, uri

STATE = "/state"

MUTATIONS = int(os.environ.get("MUTATIONS", "200"))
"""How many databases with something wrong in them are read."""


class Database:
    """Views of what has been written so far, each change with a revision of its own."""

    def __init__(self):
        self.revision = 1
        self.values = {}

    def put(self, entities):
        self.revision += 1
        for path, value in entities.items():
            text = value if isinstance(value, bytes) else json.dumps(value).encode()
            self.values[path] = Versioned(text, self.revision)
        return self

    def delete(self, *paths):
        self.revision += 1
        for path in paths:
            del self.values[path]

    @property
    def view(self):
        return View(self.revision, dict(self.values))


def reader():
    return FlowReader("01", DEVICE)


def names(wanted):
    return {
        group: [published.name for exchange in one.exchanges for published in exchange.attributes()]
        for group, one in wanted.items()
    }


async def test_in_whatever_order_entities_come_what_is_wanted_at_the_end_is_the_same():
    whole = {
        **blocks(),
        uri("q"): flow(queue()),
        uri("x", "tango"): flow(attribute("x"), uri("q")),
    }
    orders = list(itertools.permutations(whole.items()))
    random.Random(1).shuffle(orders)
    for order in orders[:200]:
        database, reading = Database(), reader()
        for path, value in order:
            wanted = await reading.wanted(database.put({path: value}).view)
        assert names(wanted) == {PB: ["x"]}
        assert wanted[PB].notes == ()


async def test_a_flow_that_waits_for_another_says_so_and_begins_when_that_comes():
    database, reading = Database(), reader()
    database.put({**blocks(), uri("x", "tango"): flow(attribute("x"), uri("q"))})
    wanted = await reading.wanted(database.view)
    assert names(wanted) == {PB: []}
    assert wanted[PB].notes == (f"{uri('x', 'tango')} waits for {uri('q')} to be created",)
    wanted = await reading.wanted(database.put({uri("q"): flow(queue())}).view)
    assert (names(wanted), wanted[PB].notes) == ({PB: ["x"]}, ())
    database.delete(uri("q"))
    wanted = await reading.wanted(database.view)
    assert names(wanted) == {PB: []}
    assert "waits for" in wanted[PB].notes[0]


async def test_a_bad_flow_leaves_the_rest_of_its_block_and_what_it_said_before_goes_on():
    database, reading = Database(), reader()
    database.put({**blocks(), uri("q"): flow(queue())})
    database.put({uri(name, "tango"): flow(attribute(name), uri("q")) for name in "ab"})
    assert names(await reading.wanted(database.view)) == {PB: ["a", "b"]}
    database.put({uri("b", "tango"): flow(attribute("b", dtype="DevNothing"), uri("q"))})
    database.put({uri("c", "tango"): b"{no json"})
    database.put({uri("d", "tango"): flow({"kind": "plasma"}, uri("q"))})
    wanted = await reading.wanted(database.view)
    assert names(wanted) == {PB: ["a", "b"]}
    assert len(wanted[PB].notes) == 2  # who does not name us is nobody's business
    assert "as an exchange: $.dtype" in wanted[PB].notes[0]
    assert wanted[PB].notes[0].endswith("; what it said before goes on")
    assert "'plasma'" in wanted[PB].notes[1]
    carried = reading.carried[PB]
    assert {str(key) for key in carried.refusals} == {f"{PB}:tango:b", f"{PB}:tango:d"}
    assert [str(key) for key in carried.keys] == [f"{PB}:tango:a", f"{PB}:tango:b"]


async def test_an_attribute_belongs_to_whichever_flow_had_it():
    database, reading = Database(), reader()
    database.put({**blocks(), uri("q"): flow(queue())})
    database.put({uri("z", "tango"): flow(attribute("Same"), uri("q"))})
    await reading.wanted(database.view)
    other = "pb-test-20260101-b"
    database.put({f"/pb/{other}": {"eb_id": EB}, uri("q", pb=other): flow(queue())})
    database.put({uri("a", "tango", other): flow(attribute("same"), uri("q", pb=other))})
    wanted = await reading.wanted(database.view)
    assert names(wanted) == {PB: ["Same"], other: []}
    assert f"is claimed by {uri('z', 'tango')} too" in wanted[other].notes[0]
    database.delete(uri("z", "tango"))
    assert names(await reading.wanted(database.view)) == {other: ["same"]}


@pytest.mark.parametrize("status", ["FINISHED", "CANCELLED", "finished"])
async def test_a_block_ends_with_its_execution_block(status):
    database, reading = Database(), reader()
    database.put({**blocks(), uri("q"): flow(queue())})
    database.put({uri("x", "tango"): flow(attribute("x"), uri("q"))})
    assert names(await reading.wanted(database.view)) == {PB: ["x"]}
    database.put({f"/eb/{EB}/state": {"status": status}})
    assert await reading.wanted(database.view) == {}
    assert [*reading.left_out().values()] == [f"{EB} is {status.upper()}"]


async def test_an_old_execution_block_has_its_state_inside():
    database, reading = Database(), reader()
    old = {f"/eb/{EB}": {"eb_id": EB, "subarray_id": "01", "status": "FINISHED"}}
    database.put({**blocks(), uri("q"): flow(queue())})
    database.put({uri("x", "tango"): flow(attribute("x"), uri("q"))}).put(old)
    database.delete(f"/eb/{EB}/state")
    assert await reading.wanted(database.view) == {}


@pytest.mark.parametrize("status", ["COMPLETED", "FAILED"])
async def test_a_flow_that_others_have_ended_is_left_out_and_one_of_our_own_failures_is_not(status):
    database, reading = Database(), reader()
    database.put({**blocks(), uri("q"): flow(queue())})
    database.put({uri("x", "tango"): flow(attribute("x"), uri("q"))})
    by_us = [{"error": "e", "parameters": {"device": DEVICE}}]
    path = uri("x", "tango") + STATE
    database.put({path: {"status": "FAILED", "error_state": by_us}})
    assert names(await reading.wanted(database.view)) == {PB: ["x"]}
    database.put({path: {"status": status, "error_state": [{"error": "theirs"}]}})
    assert await reading.wanted(database.view) == {}


async def test_what_has_not_changed_is_not_judged_again(monkeypatch):
    database, reading = Database(), reader()
    database.put({**blocks(), uri("q"): flow(queue())})
    database.put({uri(f"x{n}", "tango"): flow(attribute(f"x{n}"), uri("q")) for n in range(20)})
    first = await reading.wanted(database.view)
    judged = []
    monkeypatch.setattr(
        reading_module,
        "exchange_of",
        lambda flow, *more: judged.append(flow.key.name) or exchange_of(flow, *more),
    )
    database.put({uri("x3", "tango"): flow(attribute("y3"), uri("q"))})
    database.put({uri("x4", "tango") + STATE: {"status": "FLOWING"}})
    second = await reading.wanted(database.view)
    assert judged == ["x3"]
    assert len(second[PB].exchanges) == 20
    assert (
        sum(a is b for a, b in zip(*(w[PB].exchanges for w in (first, second)), strict=True)) == 19
    )


SCRAPS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=6,
)


def places(value, path=()):
    yield path
    if isinstance(value, list):
        value = dict(enumerate(value))
    for key, inner in value.items() if isinstance(value, dict) else ():
        yield from places(inner, (*path, key))


def changed(value, path, scrap):
    if not path:
        return scrap
    first, *rest = path
    made = dict(value) if isinstance(value, dict) else list(value)
    made[first] = changed(value[first], rest, scrap)
    return made


WHOLE = {
    **blocks(),
    uri("q"): flow(queue()),
    uri("x", "tango"): flow(attribute("x"), uri("q")),
    uri("m", "map"): flow(
        {"attributes": [[attribute("m"), {"select": "a.b", "when": "c"}]]}, uri("q"), start="latest"
    ),
    uri("x", "tango") + STATE: {"status": "FLOWING", "error_state": []},
}
GOOD = "pb-test-20260101-good"


@given(st.data())
@settings(deadline=None, max_examples=MUTATIONS)
async def test_whatever_entities_say_no_error_escapes_and_other_blocks_go_on(data):
    mutated = json.loads(json.dumps(WHOLE))
    for _ in range(data.draw(st.integers(1, 3))):
        path = data.draw(st.sampled_from([p for p in places(mutated) if p]))
        mutated = changed(mutated, path, data.draw(SCRAPS))
    database, reading = Database(), reader()
    database.put(blocks("eb-good", GOOD)).put({uri("q", pb=GOOD): flow(queue())})
    database.put({uri("x", "tango", GOOD): flow(attribute("good"), uri("q", pb=GOOD))})
    await reading.wanted(database.view)
    wanted = await reading.wanted(database.put(mutated).view)
    assert names(wanted)[GOOD] == ["good"]
    assert wanted[GOOD].notes == ()
    for one in wanted.values():
        assert all(isinstance(note, str) for note in one.notes)
    assert not any("unexpected" in note for one in wanted.values() for note in one.notes)
