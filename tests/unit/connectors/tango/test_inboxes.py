"""How many events may wait for each subscription: together they stay within a bound."""

import math

import pytest
import trio
from hypothesis import given, strategies as st

from queue_connector.connectors.tango.inboxes import (
    INBOX_BYTES,
    MOST_EVENTS,
    UNSIZED_EVENTS,
    Inboxes,
    size_of,
)
from queue_connector.model.datatypes import DataSpec
from queue_connector.runtime.inbox import Inbox, Mailbox

POINTING = size_of(DataSpec("float64", (3,)))


def mailbox(limit=1):
    return Mailbox(Inbox(math.inf), limit, lambda: None)


@pytest.mark.parametrize("spec", [DataSpec("str"), DataSpec("bytes"), DataSpec("int64", (-1,))])
async def test_of_what_has_no_known_size_a_thousand_may_wait(spec):
    inboxes, one = Inboxes(), mailbox()
    inboxes.add(one, size_of(spec))
    assert one.limit == UNSIZED_EVENTS


async def test_of_one_pointing_as_many_may_wait_as_of_anything_and_of_many_dishes_fewer():
    inboxes, boxes = Inboxes(), [mailbox() for _ in range(591)]
    inboxes.add(boxes[0], POINTING)
    assert boxes[0].limit == MOST_EVENTS
    for box in boxes[1:]:
        inboxes.add(box, POINTING)
    (limit,) = {box.limit for box in boxes}
    assert 100 * 10 <= limit < MOST_EVENTS  # 100 s at 10 Hz
    assert 591 * limit * POINTING <= INBOX_BYTES
    for box in boxes[:588]:
        inboxes.remove(box)
    assert {box.limit for box in boxes[588:]} == {MOST_EVENTS}


async def test_a_lower_limit_drops_the_oldest_with_the_next_event():
    box = mailbox(10)
    for number in range(8):
        box.put(number)
    box.limit = 3
    assert len(box) == 8
    box.put(8)
    assert (box.take(10), box.overflowed) == ([6, 7, 8], 6)


SIZES = st.integers(100, 10_000_000)


@given(st.lists(SIZES, max_size=60), st.data())
def test_together_they_have_room_whoever_comes_and_goes(sizes, data):
    async def come_and_go():
        inboxes, there = Inboxes(), {}
        for size in sizes:
            box = mailbox()
            inboxes.add(box, size)
            there[box] = size
            if there and data.draw(st.booleans()):
                gone = data.draw(st.sampled_from(list(there)))
                inboxes.remove(gone)
                del there[gone]
            taken = sum(box.limit * size for box, size in there.items() if box.limit > 2)
            assert taken <= INBOX_BYTES
            assert all(box.limit >= 2 for box in there)

    trio.run(come_and_go)
