"""What is promised of each pair, as assertions on the accounts of a run."""

from __future__ import annotations

from collections.abc import Mapping

from tests.faults.rig import RECOVERY, Account, Rig


def check_pair(
    route: str,
    account: Account,
    *,
    repeats: bool = False,
    outage: tuple[float, float] | None = None,
) -> None:
    """Nothing lost, in order, once.

    *repeats* allows the same number again; *outage* allows what went in between its two times to
    be lost, since nobody but Tango had it.
    """
    row = account.row
    if outage is None:
        assert account.lost == [], (route, row)
    else:
        begin, end = outage
        outside = [n for n in account.lost if not begin <= account.handed[n] <= end]
        assert outside == [], (route, row, outside)
    assert account.in_order, (route, row)
    if not repeats:
        assert account.again == [], (route, row, account.again)
    if row.recovered is not None:
        assert row.recovered <= RECOVERY, (route, row)


def check_streaming(rig: Rig, states: Mapping[str, str] | None = None) -> None:
    """Every group is ON, but for those of which *states* says otherwise."""
    expected = {route.name: "ON" for route in rig.routes} | dict(states or {})
    found = rig.connector.states()
    assert found == expected, rig.report()
    state = "FAULT" if "FAULT" in expected.values() else "ON"
    assert str(rig.connector.proxy().State()) == state
