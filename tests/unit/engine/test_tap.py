"""What a tap shows of an exchange, and what it costs."""

import numpy as np
import pytest
import trio

import queue_connector.connectors.pipes.default  # noqa: F401 - registers the default pipe
from queue_connector.engine import tap
from queue_connector.engine.following import Wanted
from queue_connector.engine.operations import MOST_TAPS
from queue_connector.engine.state import State
from queue_connector.engine.tap import LEASE, MAX_VALUE, MOST, RATE, Tap, rendered
from queue_connector.model.errors import StateError
from queue_connector.model.ledger import Account, Batch, Refusal
from queue_connector.model.stream import DataSource
from tests.unit.engine.test_reconfigure import World, settles


class Clock:
    def __init__(self):
        self.now = 1000.0

    def monotonic(self):
        return self.now

    def time(self):
        return 1769860801.5


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(tap, "time", clock)
    return clock


class Silent(DataSource):
    async def start(self):
        raise NotImplementedError

    async def stop(self):
        raise NotImplementedError

    async def receive(self):
        raise NotImplementedError

    def position(self, raw):
        return f"t[0]@{raw}"


def of(*values, refused=()):
    batch = Batch(list(values), refused, raw=list(range(len(values))))
    batch.account = Account("source")
    return batch


def test_it_tells_time_place_size_and_value_of_each(clock):
    shown = Tap()
    refusal = Refusal(ValueError("is bad"), b"x!", "t[0]@7")
    assert shown.handed_over(Silent(), of("text", np.arange(3.0), refused=[refusal]))
    assert shown.tell(0) == {
        "passed": 3,
        "data": [
            {
                "number": 1,
                "time": "2026-01-31T12:00:01.500Z",
                "end": "source",
                "position": "t[0]@0",
                "size": 4,
                "value": "'text'",
            },
            {
                "number": 2,
                "time": "2026-01-31T12:00:01.500Z",
                "end": "source",
                "position": "t[0]@1",
                "size": 24,
                "value": "[0.0, 1.0, 2.0]",
            },
            {
                "number": 3,
                "time": "2026-01-31T12:00:01.500Z",
                "end": "source",
                "position": "t[0]@7",
                "size": 2,
                "value": "b'x!'",
                "error": "is bad",
            },
        ],
    }
    assert [each["number"] for each in shown.tell(2)["data"]] == [3]
    assert len(shown.tell(99)["data"]) == 3  # another tap was here before


def test_a_flood_is_sampled_and_what_is_not_shown_is_counted(clock):
    shown = Tap()
    for _ in range(100):
        shown.handed_on(of(*range(1000)))
        clock.now += 0.1
    told = shown.tell(0)
    assert told["passed"] == 100_000
    assert len(told["data"]) == MOST
    written = sum(1 for each in told["data"] if each["number"] > 100_000 - 20_000)
    assert written <= 2 * RATE + RATE
    clock.now += 5
    shown.handed_on(of(1, 2, 3))
    assert [each["number"] for each in shown.tell(100_000)["data"]] == [100_001, 100_002, 100_003]


def test_it_closes_when_nobody_asks(clock):
    shown = Tap()
    clock.now += LEASE - 0.1
    assert shown.handed_on(of(1))
    shown.tell(0)
    clock.now += LEASE - 0.1
    assert shown.handed_on(of(1))
    clock.now += 0.2
    assert not shown.handed_on(of(1))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(5), "5"),
        (np.array(2.5), "2.5"),
        (np.zeros((2, 2), "i2"), "[0, 0, 0, 0] [2, 2]"),
        (np.arange(1000), f"[{', '.join(map(str, range(32)))}, … 968 more] [1000]"),
        (np.array([(1, "a")], [("n", "i4"), ("s", "U4")])[0], "(1, 'a')"),
        ("line\nbreak\x1b[31m", "'line\\nbreak\\x1b[31m'"),
        (("json", b"[1]"), "('json', b'[1]')"),
        ({"a": [1, 2]}, "{'a': [1, 2]}"),
        (b"x" * 5000, f"b'{'x' * 998}… (3 more characters) … 4000 more"),
    ],
)
def test_a_value_is_one_line(value, expected):
    assert rendered(value) == expected


@pytest.mark.parametrize(
    "make",
    [  # not before the test, nor for longer: some take up a gigabyte
        lambda: np.zeros((4000, 4000)).T,
        lambda: "Ω" * 10**8,
        lambda: {str(key): ["x" * 10**6] * 10 for key in range(1000)},
        lambda: np.array(["x" * 10**6] * 3),
    ],
    ids=["array", "text", "mapping", "array of text"],
)
def test_what_is_told_of_a_large_value_is_bounded(make):
    assert len(rendered(make())) < 2 * MAX_VALUE + 100


async def test_each_place_shows_what_passes_there(autojump_clock, nursery):
    world = World()
    async with world.open() as supervisor:
        supervisor.follow({"g": Wanted(1, [world.exchange("a", batch=3, bad=[4])])})
        await settles(supervisor, g=State.ON)
        do = supervisor.operations
        places = ("source", "pipe", "sink")
        for where in places:
            assert do.tap("g[0]", where, 0) == {"data": [], "passed": 0}
        await trio.sleep(1.5)
        told = {where: do.tap("g[0]", where, 0)["data"] for where in places}
        for where in places:
            assert [each["value"] for each in told[where]] == ["0", "1", "2"], where
        assert told["source"][0]["end"] == "Given"
        assert told["sink"][0]["end"] == "Taken"


async def test_too_many_taps_are_refused_until_others_have_closed(clock, autojump_clock, nursery):
    world = World()
    async with world.open() as supervisor:
        many = [world.exchange(f"a{number}") for number in range(MOST_TAPS + 1)]
        supervisor.follow({"g": Wanted(1, many)})
        await settles(supervisor, g=State.ON)
        do = supervisor.operations
        for number in range(MOST_TAPS):
            do.tap(f"g[{number}]", "source", 0)
            do.tap(f"g[{number}]", "source", 0)
        with pytest.raises(StateError, match="16 taps"):
            do.tap(f"g[{MOST_TAPS}]", "source", 0)
        clock.now += LEASE + 1
        do.tap(f"g[{MOST_TAPS}]", "source", 0)
        await trio.sleep(2)
        assert [
            stream.exchange.inlets.tap is None for stream in supervisor.groups["g"].streams
        ] == [
            *[True] * MOST_TAPS,
            False,
        ]
