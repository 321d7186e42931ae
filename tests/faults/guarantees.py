"""What is promised of each pair, as assertions on the accounts of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

import attrs

from tests.faults.rig import RECOVERY, Account, Rig, Route


def check_pair(
    account: Account,
    *,
    repeats: bool = False,
    outages: Sequence[tuple[float, float]] = (),
) -> None:
    """Nothing lost, in order, once.

    *repeats* allows the same number again; *outages* are spans of time: a gap may be there with one
    of them, since nobody but Tango had what went in. Where Tango carries events it may lose some at
    other times too, but not unseen: each gap must have been counted.
    """
    row = account.row
    unexplained = [
        (first, last)
        for first, last in account.gaps()
        if not any(
            account.lost[first] <= end and account.lost[last] >= begin for begin, end in outages
        )
    ]
    counted = sum(row.counted.values()) if account.route.by_events else 0
    assert len(unexplained) <= counted, (
        row,
        [(first, last, account.lost[first]) for first, last in unexplained[:20]],
        outages,
    )
    # The value that a plain client of Tango reads when it subscribes is ahead of events on their
    # way, and is among them once more. The connector's own subscriptions keep the order.
    early = set(account.repeated) if account.route.sink == "local" else set()
    disordered = [number for number, other in account.overtaken if other not in early]
    assert not disordered, (row, disordered[:20])
    assert repeats or not account.repeated, (row, account.repeated[:20])
    assert row.recovered is None or row.recovered <= RECOVERY, row


def check_streaming(rig: Rig, states: Mapping[str, str] | None = None) -> None:
    """Every group is ON, but for those of which *states* says otherwise."""
    expected = {route.name: "ON" for route in rig.routes} | dict(states or {})
    found = rig.connector.states()
    assert found == expected, rig.report()
    state = "FAULT" if "FAULT" in expected.values() else "ON"
    assert str(rig.connector.proxy().State()) == state


def endure(
    rig: Rig,
    fault: str,
    hurt: Callable[[], object],
    *,
    routes: Sequence[Route] | None = None,
    repeats: Sequence[Route] = (),
    gaps: Sequence[Route] = (),
) -> dict[str, Account]:
    """Hurt a rig whose data flow; return the accounts once they flow again and all is quiet.

    What each of *routes* (all, if none are named) has to keep is checked: *repeats* names those
    that may bring a number again, *gaps* those that may lose what went in between the fault's
    beginning and their recovery. The fault is over when *hurt* returns.
    """
    rig.feed()
    begin = time.time()
    hurt()
    over = time.time()
    rig.await_flow(over)
    recovered = time.time()
    rig.settle()
    check_streaming(rig)
    accounts = rig.rows(fault, over, routes)
    for route in routes or rig.routes:
        check_pair(
            accounts[route.name],
            repeats=route in repeats,
            outages=[(begin, recovered)] if route in gaps else [],
        )
    return accounts


def add_bad(accounts: Mapping[str, Account], bad: int) -> list[Account]:
    """The same accounts, with *bad* data that are no numbers: in, and not out."""
    return [
        attrs.evolve(
            account,
            row=attrs.evolve(account.row, sent=account.row.sent + bad, lost=account.row.lost + bad),
        )
        for account in accounts.values()
    ]
