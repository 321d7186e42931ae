"""What must have arrived: predictions from the schedule and from what the ends saw, and laws.

A session is *unexcused* when nothing happened to it that allows a loss: no crash or abort while it
lasted, none of its ends failed for good, and its stop did not take the whole stop grace. Of such a
session everything is predicted: what each sink was told, in which order; which data were left out
or set aside and which ended it; what the ledger says; where the position of each source stands. Of
any other session it is predicted what may not happen, and what the later ones must make up for.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from tests.schedules.plan import STOP_GRACE, SetAside, Skip
from tests.schedules.run import Run
from tests.schedules.simulated import Session, SimulatedSink, SimulatedSource, place

END_GRACE = 15.0
"""Seconds that each end has to stop."""

SLACK = 1e-6

LEGAL = {
    ("STANDBY", "OFF"), ("OFF", "STANDBY"), ("OFF", "OPEN"), ("OPEN", "ON"), ("OPEN", "CLOSE"),
    ("OPEN", "OFF"), ("ON", "CLOSE"), ("ON", "OFF"), ("CLOSE", "OFF"), ("FAULT", "STANDBY"),
}  # fmt: skip


def judge(run: Run) -> list[str]:
    """All that is against the model; nothing, if all is well."""
    model = _Model(run)
    return [*run.world.violations, *model.faults()]


def stops_within(session: Session) -> float:
    """Seconds that the ends of a session take to stop, one after the other."""
    return sum(min(_stop_delay(end.plan), END_GRACE) for end in session.ends)


def _stop_delay(plan: Any) -> float:
    return float(plan.stop_delay)


class _Model:
    def __init__(self, run: Run) -> None:
        self._run = run
        self._world = run.world
        self._excuses = {session: self._excuse(session) for session in run.world.sessions}

    def faults(self) -> Iterator[str]:
        """Each law in turn."""
        yield from self._states()
        yield from self._bounds()
        for session in self._world.sessions:
            excuse = self._excuses[session]
            laws = [self._ends, self._order, self._faulted]
            if not excuse:
                laws += [self._arrived, self._dropped, self._positions]
            for law in laws:
                for fault in law(session):
                    yield f"{session.name} ({excuse or 'unexcused'}): {fault}"
        yield from self._accounts()
        yield from self._repetitions()
        yield from self._at_rest()

    # -- what excuses a session --------------------------------------------------------------------

    def _excuse(self, session: Session) -> str:
        if session.failures:
            return f"failed: {session.failures}"
        life = self._run.lives[session.life]
        if life.crashed and session.first_stop >= life.ended:
            return "crashed"
        for issued in self._run.issued:
            mine = issued.life == session.life and not issued.refused
            lasted = session.built <= issued.done and issued.called <= session.first_stop
            if mine and lasted and issued.command.name == "abort":
                return "aborted"
        met = self._met(session, {"reconfigured"})
        possibly = min([self._asked(session), *met, *self._taken_out(session)])
        if session.first_stop >= possibly + STOP_GRACE - SLACK:
            return "cut off"
        return ""

    def _asked(self, session: Session) -> float:
        """When a session was asked to stop, at the latest."""
        finishes = [source.finished_at for source in session.sources]
        return min([math.inf, *finishes, *self._met(session, {"CLOSE", "FAULT", "OFF"})])

    def _taken_out(self, session: Session) -> Iterator[float]:
        """When a configuration came in which its exchange is not, or not as it is."""
        for issued in self._run.issued:
            mine = issued.life == session.life and issued.called >= session.built
            configures = issued.command.name in ("follow", "configure") and not issued.refused
            if mine and configures and session.plan not in issued.command.exchanges:
                yield issued.called

    def _met(self, session: Session, what: set[str]) -> Iterator[float]:
        """When this happened to the group of a session after it was built."""
        for seen in self._run.seen:
            mine = seen.life == session.life and seen.group == session.plan.group
            if mine and seen.event > session.event and seen.what in what:
                yield seen.time

    # -- states and times --------------------------------------------------------------------------

    def _states(self) -> Iterator[str]:
        for seen in self._run.seen:
            if seen.what == "reconfigured":
                continue
            if seen.what != "FAULT" and (seen.before, seen.what) not in LEGAL:
                yield f"{seen.time:g}: {seen.group} went from {seen.before} to {seen.what}"
            if seen.what == "FAULT" and not any(self._causes(seen.life, seen.group, seen.time)):
                yield f"{seen.time:g}: {seen.group} went to FAULT without a cause"

    def _causes(self, life: int, group: str, time: float) -> Iterator[bool]:
        """For each failure and fault of a group, whether it may have caused a FAULT at *time*."""
        for session in self._world.sessions:
            if session.life == life and session.plan.group == group:
                for then, _ in session.failures:
                    yield then <= time <= then + stops_within(session) + SLACK
                for then, _ in session.faults:
                    yield then <= time <= max(then, session.last_stop) + SLACK

    def _faulted(self, session: Session) -> Iterator[str]:
        """What should take the group to FAULT did so."""
        excuse = self._excuses[session]
        causes = [then for then, _ in session.failures] or [then for then, _ in session.faults]
        if not causes or excuse in ("crashed", "aborted", "cut off"):
            return
        life = self._run.lives[session.life]
        if session.failures and (life.crashed and session.last_stop >= life.ended):
            return
        if any(
            issued.command.name == "abort" and issued.called <= session.last_stop
            for issued in self._run.issued
            if issued.life == session.life and not issued.refused and session.failures
        ):
            return
        for seen in self._run.seen:
            if (seen.life, seen.group, seen.what) == (session.life, session.plan.group, "FAULT"):
                if min(causes) - 1e-9 <= seen.time <= session.last_stop + SLACK:
                    return
                if seen.time <= min(causes) and self._in_fault(seen, min(causes)):
                    return  # it was there already
        yield f"should have taken its group to FAULT at {min(causes)}: {session.faults}"

    def _in_fault(self, entered: Any, time: float) -> bool:
        return not any(
            entered.event < seen.event and seen.time < time and seen.before == "FAULT"
            for seen in self._run.seen
            if (seen.life, seen.group) == (entered.life, entered.group)
        )

    def _bounds(self) -> Iterator[str]:
        for life in self._run.lives:
            stops = max(
                (stops_within(s) for s in self._world.sessions if s.life == life.number), default=0
            )
            if life.crashed:
                if life.gone > life.ended + stops + SLACK:
                    yield f"life {life.number} took {life.gone - life.ended:g} s to be cancelled"
            elif life.ended > life.closing + STOP_GRACE + stops + SLACK:
                yield f"life {life.number} took {life.ended - life.closing:g} s to close"
        for session in self._world.sessions:
            asked = self._asked(session)
            if session.last_stop > asked + STOP_GRACE + stops_within(session) + SLACK:
                yield f"{session.name} was asked to stop at {asked}, ended {session.last_stop}"

    # -- one session -------------------------------------------------------------------------------

    def _ends(self, session: Session) -> Iterator[str]:
        for end in session.ends:
            if end.start_called and not end.stop_called:
                yield f"{end.name} was never stopped"

    def _good(self, session: Session, source: SimulatedSource) -> list[int]:
        """What should reach the sinks of what a source has handed over."""
        spoilt = set(session.spoilt)
        return [value for value in source.good if value not in spoilt]

    @staticmethod
    def _told(sink: SimulatedSink, source: SimulatedSource) -> list[int]:
        number = source.plan.number
        return [value for value in sink.told if value // 1000 == number]

    def _order(self, session: Session) -> Iterator[str]:
        """Each source's data reach each sink in order, once; none are invented."""
        for sink in session.sinks:
            known: set[int] = set()
            for source in session.sources:
                told = self._told(sink, source)
                if any(one >= other for one, other in itertools.pairwise(told)):
                    yield f"{sink.name} was told {told}, which is not in order"
                known.update(self._good(session, source))
            if foreign := set(sink.told) - known:
                yield f"{sink.name} was told {sorted(foreign)}, which no source had for it"
            both = set(sink.refused) & set(sink.accepted)
            if both:
                yield f"{sink.name} was told {sorted(both)} again, after it had refused them"

    def _arrived(self, session: Session) -> Iterator[str]:
        """Without a buffer that drops, each sink was told all that is good."""
        if session.plan.lossy:
            return
        for sink in session.sinks:
            for source in session.sources:
                told, good = self._told(sink, source), self._good(session, source)
                if told != good:
                    yield f"{sink.name} was told {told} by {source.name}, expected {good}"

    def _dropped(self, session: Session) -> Iterator[str]:
        """What a buffer may not drop arrived, and nothing was dropped where nothing waited."""
        buffer = session.plan.buffer
        if buffer is None or buffer.policy == "block":
            return
        for sink in session.sinks:
            if sink.told != session.sinks[0].told:
                yield f"{sink.name} was told something else than the first sink"
            alone = len(session.sources) == 1
            for source in session.sources:
                told, good = set(self._told(sink, source)), source.good
                safe: list[int] = []
                if buffer.policy == "latest":
                    safe = good[-1:]
                elif alone and buffer.policy == "drop_oldest":
                    safe = good[-buffer.size :]
                elif alone:
                    safe = good[: buffer.size]
                    first = next((g for _, _, g in source.history if g), [])
                    safe = first[: buffer.size]
                missing = [v for v in safe if v not in told and v not in session.spoilt]
                if missing:
                    yield f"{sink.name} misses {missing}, which {buffer} keeps of {good}"
                if alone and self._prompt(session, source):
                    exact = [value for _, _, good in source.history for value in kept(buffer, good)]
                    if sink.told != exact:
                        yield f"{sink.name} was told {sink.told}, expected exactly {exact}"

    @staticmethod
    def _prompt(session: Session, source: SimulatedSource) -> bool:
        """Whether the sinks were done with each batch before the next one came."""
        times = [time for time, _, _ in source.history]
        return (
            session.plan.pipe is None
            and not isinstance(session.plan.on_error, SetAside)
            and len(set(times)) == len(times)
            and not any(sink.plan.delay or sink.plan.outages for sink in session.sinks)
        )

    def _positions(self, session: Session) -> Iterator[str]:
        """A position stands before the first batch that should come again, else at the end."""
        if session.ambiguous:
            return
        ending = {value for _, value in session.faults}
        for source in session.sources:
            expected = source.first
            for _, values, _ in source.history:
                if ending.intersection(values):
                    break
                expected = place(values[-1]) + 1
            if source.position != expected:
                yield f"{source.name} stands at {source.position}, expected {expected}"

    # -- the ledger --------------------------------------------------------------------------------

    def _accounts(self) -> Iterator[str]:
        accounts: dict[Any, list[Any]] = {}
        for session in self._world.sessions:
            for end in [*session.sources, *session.sinks]:
                accounts.setdefault(end.account, []).append(end)
        for account, ends in accounts.items():
            found = {
                "received": account.received,
                "delivered": account.delivered,
                "failed": account.failed,
                "skipped": account.skipped,
                "dead_lettered": account.dead_lettered,
                "in_flight": account.in_flight,
                **account.dropped,
            }
            if isinstance(ends[0], SimulatedSink):
                yield from self._sink_account(found, ends)
            else:
                yield from self._source_account(found, ends)

    def _sink_account(self, found: dict[str, int], sinks: list[SimulatedSink]) -> Iterator[str]:
        """What is handed on to a sink is in its account, whether it has begun with it or not."""
        counts: Counter[str] = sum((sink.counts for sink in sinks), Counter())
        most = sum(len(source.good) for sink in sinks for source in sink.session.sources)
        if not counts["received"] <= found["received"] <= most:
            seen = f"{counts['received']} to {most}"
            yield f"{sinks[0].name}: {found['received']} received, expected {seen}"
        for key in ("delivered", "failed"):
            if found[key] < counts[key] and any(self._late(sink.session) for sink in sinks):
                counts[key] = found[key]
        lost = found["received"] - counts["delivered"] - counts["failed"]
        expected = {**counts, "received": found["received"], "aborted": lost}
        yield from _compare(sinks[0].name, found, expected)
        if lost and not any(self._excuses[sink.session] for sink in sinks):
            yield f"{sinks[0].name} lost {lost}, and there is no excuse"

    def _late(self, session: Session) -> bool:
        """Whether a sink may have accepted something after the exchange was cut off."""
        return bool(self._excuses[session]) and any(s.plan.under_way for s in session.sinks)

    def _source_account(
        self, found: dict[str, int], sources: list[SimulatedSource]
    ) -> Iterator[str]:
        expected: Counter[str] = Counter()
        excused = ambiguous = False
        for source in sources:
            session = source.session
            mine = set(source.handed)
            everywhere = set.intersection(mine, *(set(s.accepted) for s in session.sinks))
            expected["received"] += len(source.handed)
            expected["delivered"] += len(everywhere)
            if session.policy is not None:
                expected["dead_lettered"] += sum(v in mine for v in session.policy.kept)
            bad = mine - set(source.good) | mine.intersection(session.spoilt)
            bad |= {v for sink in session.sinks for v in sink.refused if v in mine}
            expected["failed"] += len(bad)
            if isinstance(session.plan.on_error, Skip):
                expected["skipped"] += sum(v in mine for v in session.allowed)
            excused |= bool(self._excuses[session])
            ambiguous |= session.ambiguous
        name = sources[0].name
        exact = ["received", "delivered", "dead_lettered"]
        most = ["failed", "skipped"]
        if any(self._late(source.session) for source in sources):
            exact.remove("delivered")
            most.append("delivered")
        if not excused:
            exact += ["failed"] if ambiguous else most
        if ambiguous:
            most.remove("skipped")
        yield from _compare(name, {key: found[key] for key in exact}, expected, exact)
        for key in most:
            if found[key] > expected[key]:
                yield f"{name}: {found[key]} {key}, expected at most {expected[key]}"
        lost = found["received"] - found["delivered"] - found["failed"]
        plan = sources[0].session.plan
        reasons = {"aborted"} if excused else set()
        if plan.lossy and plan.buffer is not None:
            reasons.add("superseded" if plan.buffer.policy == "latest" else "buffer full")
        dropped = {key: n for key, n in found.items() if key in DROPPED and n}
        if sum(dropped.values()) != lost or not set(dropped) <= reasons:
            yield f"{name}: dropped {dropped}, expected {lost} for {sorted(reasons)}"
        if found["in_flight"]:
            yield f"{name}: {found['in_flight']} in flight after the end"
        silent = sum(
            not source.session.fates_known(source.plan.value(n))
            for source in sources
            for batch in source.acknowledged
            for n in batch.token
        )
        allowed = dropped.get("superseded", 0) + dropped.get("buffer full", 0)
        if silent > allowed and not ambiguous:
            yield f"{name}: {silent} acknowledged that did not arrive, {allowed} were dropped"

    # -- all sessions together ---------------------------------------------------------------------

    def _repetitions(self) -> Iterator[str]:
        """Nothing comes again that a session has ended well with."""
        handed: dict[int, list[Session]] = {}
        for session in self._world.sessions:
            for source in session.sources:
                for value in source.handed:
                    handed.setdefault(value, []).append(session)
        for value, sessions in handed.items():
            for session in sessions[:-1]:
                if not self._excuses[session] and not session.faults:
                    yield f"{value} came again after {session.name} had ended well with it"

    def _at_rest(self) -> Iterator[str]:
        """In the last life all that is durable arrived."""
        for plan in self._run.schedule.exchanges:
            mine = [s for s in self._world.sessions if s.plan.number == plan.number]
            lossy = any(session.plan.lossy for session in mine)
            state = self._run.at_rest.get(plan.group)
            mates = [p for p in self._run.schedule.exchanges if p.group == plan.group]
            over = all(source.ends for mate in mates for source in mate.sources)
            if state != ("OFF" if over else "ON"):
                yield f"in the last life, group {plan.group} is {state}"
            for source in plan.sources:
                if not source.durable:
                    continue
                end = len(source.data)
                if (found := self._world.log(source.number).position) != end:
                    yield f"the position of source {source.number} is {found}, expected {end}"
                if lossy:
                    continue
                spoilt = {value for session in mine for value in session.spoilt}
                for index, sink in enumerate(plan.sinks):
                    behind = set(self._world.delivered.get((plan.number, index), ()))
                    refused = {v for s in mine for v in s.sinks[index].refused}
                    if plan.pipe is None:
                        refused = {v for v in source.data if place(v) in sink.refuses}
                    good = {v for v in source.data if place(v) not in source.bad}
                    if missing := good - behind - refused - spoilt:
                        yield f"sink {index} of {plan.number} never had {sorted(missing)}"


DROPPED = ("aborted", "buffer full", "superseded")


def kept(buffer: Any, good: list[int]) -> list[int]:
    """What a buffer keeps of a batch that comes when nothing waits."""
    match buffer.policy:
        case "drop_oldest":
            return good[-buffer.size :]
        case "drop_newest":
            return good[: buffer.size]
        case _:
            return good[-1:]


def _compare(
    name: str, found: dict[str, int], expected: dict[str, int], keys: Iterable[str] = ()
) -> Iterator[str]:
    for key in keys or {*found, *expected}:
        if found.get(key, 0) != expected.get(key, 0):
            yield f"{name}: {found.get(key, 0)} {key}, expected {expected.get(key, 0)}"
