"""A schedule as data, and how schedules are drawn.

All times are seconds of a virtual clock that begins at 0 with the first life of the connector.
"""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import strategies as st

STOP_GRACE = 4.0
"""Of the connector under test."""

REST = 200.0
"""Seconds of the last life, in which nothing goes wrong: enough to deliver everything."""


class Terse:
    """Shows only what differs from the default, so that a shrunk schedule can be read."""

    def __repr__(self) -> str:
        shown = (
            f"{field.name}={getattr(self, field.name)!r}"
            for field in attrs.fields(type(self))
            if getattr(self, field.name) != field.default
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # as hypothesis prints it
        name = type(self).__name__
        with printer.group(4, f"{name}(", ")"):
            first = True
            for field in attrs.fields(type(self)):
                value = getattr(self, field.name)
                if value == field.default:
                    continue
                if not first:
                    printer.text(",")
                    printer.breakable()
                first = False
                printer.text(f"{field.name}=")
                printer.pretty(value)


@attrs.frozen(repr=False)
class SourcePlan(Terse):
    """``arrivals``: (pause before, how many data); ``bad``: which of them cannot be used.

    A *durable* source replays from a log with a committed position, as Kafka does with a group.
    Another one has what comes while it is open, as Tango's events.
    """

    number: int
    arrivals: tuple[tuple[float, int], ...] = ((1.0, 1),)
    bad: frozenset[int] = frozenset()
    durable: bool = True
    ends: bool = False
    most: int = 3
    outages: tuple[tuple[float, float], ...] = ()
    breaks: tuple[float, ...] = ()
    start_delay: float = 0.0
    start_failures: int = 0
    finish_delay: float = 0.0
    stop_delay: float = 0.0
    commit_delay: float = 0.0

    @property
    def times(self) -> list[float]:
        """When each datum comes."""
        times: list[float] = []
        now = 0.0
        for pause, count in self.arrivals:
            now += pause
            times += [now] * count
        return times

    def value(self, n: int) -> int:
        """The datum with this place in the log."""
        return self.number * 1000 + n

    @property
    def data(self) -> list[int]:
        """All data, oldest first."""
        return [self.value(n) for n in range(sum(count for _, count in self.arrivals))]


@attrs.frozen(repr=False)
class SinkPlan(Terse):
    """``refuses``: places in a log whose data it does not take.

    A *bulk* sink accepts what is written together at once, at the end. One with deliveries
    *under_way* takes so many on before it makes the engine wait, and accepts them one by one.
    """

    delay: float = 0.0
    bulk: bool = False
    under_way: int = 0
    refuses: frozenset[int] = frozenset()
    outages: tuple[tuple[float, float], ...] = ()
    breaks: tuple[float, ...] = ()
    start_delay: float = 0.0
    start_failures: int = 0
    stop_delay: float = 0.0


@attrs.frozen(repr=False)
class Window(Terse):
    """Joins what comes within ``span``, in tuples of ``size``; ``bad`` data spoil their window."""

    span: float = 0.0
    size: int = 2
    bad: frozenset[int] = frozenset()


@attrs.frozen(repr=False)
class BreakerPlan(Terse):
    errors: int = 2
    seconds: float = 5.0


@attrs.frozen(repr=False)
class Skip(Terse):
    breaker: BreakerPlan | None = None


@attrs.frozen(repr=False)
class SetAside(Terse):
    """``refusals``: which of its calls in a session fail."""

    breaker: BreakerPlan | None = None
    delay: float = 0.0
    refusals: frozenset[int] = frozenset()
    stop_delay: float = 0.0


@attrs.frozen(repr=False)
class BufferPlan(Terse):
    policy: str = "block"
    size: int = 2


@attrs.frozen(repr=False)
class ExchangePlan(Terse):
    """``version`` tells it from what it was before a reconfiguration; ``on_error`` None: fault."""

    number: int
    sources: tuple[SourcePlan, ...]
    sinks: tuple[SinkPlan, ...] = (SinkPlan(),)
    group: str = "a"
    pipe: Window | None = None
    on_error: Skip | SetAside | None = None
    buffer: BufferPlan | None = None
    version: int = 0

    @property
    def lossy(self) -> bool:
        """Whether the buffer may drop."""
        return self.buffer is not None and self.buffer.policy != "block"


@attrs.frozen(repr=False)
class Command(Terse):
    """``exchanges``: what `follow` and `configure` want."""

    at: float
    name: str
    exchanges: tuple[ExchangePlan, ...] = ()


@attrs.frozen(repr=False)
class Schedule(Terse):
    exchanges: tuple[ExchangePlan, ...]
    commands: tuple[Command, ...] = ()
    followed: bool = False
    """Whether a configuration database is followed, else commands configure and start."""
    rest: float = 10.0
    """Seconds from the last command to the close."""
    window: int = 10_000
    """Data that may be under way in an exchange."""


# -- how they are drawn ----------------------------------------------------------------------------

PLACES = st.frozensets(st.integers(0, 9), min_size=1, max_size=3)
MOMENTS = st.integers(0, 40).map(lambda halves: halves / 2 + 0.125)
STOP_DELAYS = st.sampled_from([1.0, 3.0, 20.0])
BREAKER = st.builds(
    BreakerPlan, errors=st.sampled_from([2, 1, 3]), seconds=st.sampled_from([1.0, 0.25, 3.0])
)
BREAKERS = st.none() | BREAKER
TROUBLES = {
    "outages": st.tuples(
        st.tuples(MOMENTS, st.sampled_from([1.0, 3.0, 30.0])).map(lambda o: (o[0], o[0] + o[1]))
    ),
    "breaks": st.tuples(MOMENTS),
    "start_delay": st.sampled_from([0.5, 2.0]),
    "start_failures": st.just(1),
    "stop_delay": STOP_DELAYS,
}
SOURCE_TRAITS = {
    **TROUBLES,
    "bad": PLACES,
    "durable": st.just(False),
    "ends": st.just(True),
    "most": st.sampled_from([1, 10]),
    "finish_delay": st.sampled_from([0.5, 2.0]),
    "commit_delay": st.just(1.0),
}
SINK_TRAITS = {
    **TROUBLES,
    "delay": st.sampled_from([0.1, 1.0]),
    "bulk": st.just(True),
    "under_way": st.sampled_from([2, 1, 5]),
    "refuses": PLACES,
}
EXCHANGE_TRAITS = {
    "group": st.just("b"),
    "pipe": st.builds(
        Window,
        span=st.sampled_from([0.0, 0.6, 2.0]),
        size=st.integers(1, 4),
        bad=st.just(frozenset()) | PLACES,
    ),
    "on_error": st.builds(Skip, breaker=BREAKERS)
    | st.builds(
        SetAside,
        breaker=BREAKERS,
        delay=st.sampled_from([0.0, 1.0]),
        refusals=st.just(frozenset()) | st.frozensets(st.integers(0, 3), min_size=1, max_size=1),
        stop_delay=st.just(0.0) | STOP_DELAYS,
    ),
    "buffer": st.builds(
        BufferPlan,
        policy=st.sampled_from(["block", "drop_oldest", "drop_newest", "latest"]),
        size=st.sampled_from([1, 2, 3, 5]),
    ),
}
ARRIVALS = st.lists(
    st.tuples(st.sampled_from([0.25, 1.0, 0.0, 0.5, 3.0]), st.integers(1, 5)), max_size=8
).map(tuple)


def traits(strategies: dict[str, Any], most: int) -> st.SearchStrategy[dict[str, Any]]:
    """Some of what is out of the ordinary; the rest stays at its default."""
    names = st.lists(st.sampled_from(sorted(strategies)), unique=True, max_size=most)
    return names.flatmap(lambda names: st.fixed_dictionaries({n: strategies[n] for n in names}))


SINKS = traits(SINK_TRAITS, 3).map(lambda found: SinkPlan(**found))


@st.composite
def sources(draw, number: int) -> SourcePlan:
    return SourcePlan(number, draw(ARRIVALS), **draw(traits(SOURCE_TRAITS, 4)))


@st.composite
def exchanges(draw, number: int) -> ExchangePlan:
    count = draw(st.sampled_from([1, 1, 2, 3]))
    found = draw(traits(EXCHANGE_TRAITS, 4))
    made = [draw(sources(10 * number + place)) for place in range(1, count + 1)]
    if "on_error" in found and not made[0].bad:  # so that it has something to do
        made[0] = attrs.evolve(made[0], bad=draw(PLACES))
    sinks = draw(st.lists(SINKS, min_size=1, max_size=2))
    if "buffer" in found and not sinks[0].delay:  # likewise
        sinks[0] = attrs.evolve(sinks[0], delay=draw(st.sampled_from([0.0, 1.0, 0.1])))
    return ExchangePlan(number, tuple(made), tuple(sinks), **found)


@st.composite
def variations(draw, present: tuple[ExchangePlan, ...], version: int) -> tuple[ExchangePlan, ...]:
    """Another set of exchanges: some as they are, some changed, some gone, in another order."""
    wanted = []
    for exchange in present:
        match draw(st.sampled_from(["keep", "change", "drop"])):
            case "keep":
                wanted.append(exchange)
            case "change":
                change = {name: EXCHANGE_TRAITS[name] for name in ("on_error", "buffer")}
                wanted.append(attrs.evolve(exchange, version=version, **draw(traits(change, 2))))
    return tuple(draw(st.permutations(wanted)) if len(wanted) > 1 else wanted)


ANY = [
    "stop",
    "stop",
    "start",
    "crash",
    "abort",
    "reset",
    "standby",
    "configure",
    "follow",
    "follow",
]
LIKELY = {
    "stop": ["start", "start", "standby", "configure", *ANY],
    "abort": ["start", "start", "standby", "configure", *ANY],
    "configure": ["start", "start", "start", *ANY],
    "reset": ["configure", "follow", *ANY],
    "standby": ["configure", "follow", *ANY],
}
"""What often comes after a command, so that not most of them are refused."""


@st.composite
def schedules(draw) -> Schedule:
    count = draw(st.sampled_from([1, 2, 3, 1]))
    present = tuple(draw(exchanges(number)) for number in range(1, count + 1))
    commands = []
    now, name = 0.0, ""
    for version in range(1, draw(st.integers(0, 7)) + 1):
        now += draw(st.sampled_from([2.0, 0.0, 0.25, 5.0, 10.0]))
        name = draw(st.sampled_from(LIKELY.get(name, ANY)))
        if name in ("follow", "configure"):
            commands.append(Command(now, name, draw(variations(present, version))))
        else:
            commands.append(Command(now, name))
    rest = draw(st.sampled_from([10.0, 0.0, 30.0]))
    window = draw(st.sampled_from([10_000, 1, 3]))
    return Schedule(present, tuple(commands), draw(st.booleans()), rest, window)


@st.composite
def poisonings(draw) -> Schedule:
    """One exchange with many bad data and a breaker, left alone."""
    seconds = st.sampled_from([1.0, 0.25])
    breaker = draw(st.builds(BreakerPlan, errors=st.sampled_from([2, 3]), seconds=seconds))
    policy = draw(st.sampled_from([Skip(breaker), SetAside(breaker)]))
    pauses = st.sampled_from([1.0, 0.25, 3.0, 4.0])
    arrivals = draw(st.lists(pauses, min_size=4, max_size=12))
    bad = draw(st.lists(st.booleans(), min_size=len(arrivals), max_size=len(arrivals)))
    places = frozenset(n for n, is_bad in enumerate(bad) if is_bad)
    source = SourcePlan(11, tuple((pause, 1) for pause in arrivals), places)
    exchange = ExchangePlan(1, (source,), (draw(SINKS),), on_error=policy)
    return Schedule((exchange,), (Command(50.0, "stop"),), draw(st.booleans()))


anything = schedules() | schedules() | poisonings()
