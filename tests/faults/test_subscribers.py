"""Clients that subscribe to the connector's attributes are hurt."""

from __future__ import annotations

import time

from tests.faults.guarantees import check_pair, check_streaming, endure
from tests.faults.processes import TelescopeProcess
from tests.faults.rig import Rig, eventually, routes_to

STOPPED = 5.0  # s


def test_subscriber_stopped(kafka, publish):
    """It may miss what Tango does not keep for it; everything else flows as if nothing was."""
    local = routes_to("local")
    with Rig(kafka.bootstrap_servers, kafka_rate=500.0) as rig:

        def hurt() -> None:
            rig.telescope.freeze()
            thaw_at = time.monotonic() + STOPPED
            eventually(lambda: time.monotonic() > thaw_at, "")
            others = [route for route in rig.routes if route not in local]
            rig.await_flow(time.time(), others)
            rig.telescope.thaw()

        accounts = endure(rig, "subscriber stopped", hurt, gaps=local)
        publish({route.name: accounts[route.name] for route in local})
        for route in local:
            account = accounts[route.name]
            if account.lost:
                assert account.row.counted["missed by the subscriber"] >= 1
            ledger = rig.statistics[f"{route.name}[0]"]
            assert ledger["received"] == ledger["delivered"]
            assert ledger["delivered"] >= account.row.sent


def test_subscriber_gone(kafka, publish):
    """One of two subscribers is killed; the other one misses nothing."""
    local = routes_to("local")
    with Rig(kafka.bootstrap_servers) as rig:
        names = [route.name for route in local]
        other = TelescopeProcess(rig.directory / "other", rig.connector.address, names)
        with other:
            accounts = endure(rig, "subscriber gone", other.kill)
        publish({route.name: accounts[route.name] for route in local})


def test_attribute_without_subscribers(kafka, publish):
    """The only subscriber goes and another one comes: the stream does not notice."""
    local = routes_to("local")
    with Rig(kafka.bootstrap_servers, routes=local) as rig:
        rig.feed()
        begin = time.time()
        rig.telescope.kill()
        rig.telescope.start()
        over = time.time()
        rig.await_flow(over)
        rig.settle()
        check_streaming(rig)
        accounts = rig.rows("only subscriber killed and started", over)
        publish(accounts)
        for route, account in accounts.items():
            check_pair(account, repeats=True, outages=[(begin, over)])
            ledger = rig.statistics[f"{route}[0]"]
            assert ledger["received"] == ledger["delivered"] >= account.row.sent
