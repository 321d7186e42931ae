"""Events are made once for all who look, and for nobody when nobody does."""

import json
from contextlib import aclosing

import trio

from queue_connector.observability.page import MAX_EXCHANGES, PERIOD, Look, StatusPage


class Device:
    """What is looked at, and how often it was."""

    def __init__(self, exchanges=1, costs=0.0):
        self.looks = 0
        self._costs = costs
        self._names = [f"g[{number}]" for number in range(exchanges)]

    def look(self):
        self.looks += 1
        if self._costs:  # time that passes while an event is made
            trio.lowlevel.current_clock().jump(self._costs)
        ledger = {
            **dict.fromkeys(("received", "delivered", "filtered", "in_flight", "failed"), 1),
            **dict.fromkeys(("skipped", "dead_lettered"), 0),
            **{"dropped": {}, "upstream": {}, "sources": [], "sinks": [], "paused": ""},
            "latency": {"counts": [1], "sum": 0.002},
        }
        group = {
            **{"state": "OFF", "degraded": False, "fault": None, "notes": []},
            "exchanges": self._names,
        }
        return Look("a/b/c", "OFF", "", {"g": group}, dict.fromkeys(self._names, ledger))


async def listen(page, seconds, found):
    """Take what comes for so long, as a browser that is open."""
    answer = await page.events({})
    with trio.move_on_after(seconds):
        async with aclosing(answer.chunks) as chunks:
            async for chunk in chunks:
                if chunk.startswith(b"data: "):
                    found.append(json.loads(chunk[6:]))


async def test_two_who_look_share_the_events_and_nobody_has_none_made(autojump_clock):
    device = Device()
    page, first, second = StatusPage(device.look), [], []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(listen, page, 10, first)
        nursery.start_soon(listen, page, 10, second)
    assert 10 / PERIOD - 1 <= len(first) == len(second) <= 10 / PERIOD + 1
    assert device.looks == len(first)
    await trio.sleep(100)
    assert device.looks == len(first)


async def test_what_takes_long_to_make_is_made_more_seldom(autojump_clock):
    device = Device(costs=0.1)
    await listen(StatusPage(device.look), 100, [])
    assert 16 <= device.looks <= 21  # a fiftieth of the time


async def test_of_many_exchanges_the_first_are_told_and_how_many_more_there_are(autojump_clock):
    found = []
    await listen(StatusPage(Device(MAX_EXCHANGES + 7).look), 0.1, found)
    (group,) = found[0]["groups"]
    assert len(group["exchanges"]) == MAX_EXCHANGES
    assert group["left_out"] == 7
    assert group["exchanges"][0]["latency"] == 2.0
