"""What is promised of each pair, as assertions on the accounts of a run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from tests.faults.rig import RECOVERY, Account, Rig, Route


def check_pair(
    route: str,
    account: Account,
    *,
    repeats: bool = False,
    outages: Sequence[tuple[float, float]] = (),
) -> None:
    """Nothing lost, in order, once.

    *repeats* allows the same number again; *outages* are spans of time: what went in during one
    may be lost, since nobody but Tango had it.
    """
    row = account.row
    lost = [
        number
        for number, when in account.lost.items()
        if not any(begin <= when <= end for begin, end in outages)
    ]
    assert not lost, (route, row, lost[:20])
    assert not account.disordered, (route, row, account.disordered[:20])
    assert repeats or not account.repeated, (route, row, account.repeated[:20])
    assert row.recovered is None or row.recovered <= RECOVERY, (route, row)


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
            route.name,
            accounts[route.name],
            repeats=route in repeats,
            outages=[(begin, recovered)] if route in gaps else [],
        )
    return accounts
