"""Tango devices that data come from, or go to, are hurt."""

from __future__ import annotations

import time

import pytest

from tests.faults.guarantees import check_pair, check_streaming, endure
from tests.faults.rig import KAFKA_ROUTES, TANGO_ROUTES, Rig, eventually, routes_to

FLOOD = 60_000
"""Events, some 10 MB: far beyond both high-water marks and what the sockets hold."""


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_source_device(end, kafka, publish):
    """What was pushed while nobody was subscribed is lost, and nothing else."""
    with Rig(kafka.bootstrap_servers) as rig:

        def hurt() -> None:
            getattr(rig.source, end)()
            rig.source.start()
            rig.tango.start()

        fault = {"kill": "source device killed", "stop": "source device restarted"}[end]
        accounts = endure(rig, fault, hurt, repeats=TANGO_ROUTES, gaps=TANGO_ROUTES)
        publish({route.name: accounts[route.name] for route in TANGO_ROUTES})
        for route in TANGO_ROUTES:
            counted = accounts[route.name].row.counted
            assert counted["subscribed again"] >= 1 or not accounts[route.name].lost


def test_source_device_of_another_type(kafka, publish):
    """Text where numbers were is a bad datum: its group stops, and streams again when told to."""
    with Rig(kafka.bootstrap_servers) as rig:
        rig.feed()
        rig.tango.pause()
        eventually(rig.complete, rig.report)
        begin = time.time()
        rig.source.stop()
        rig.source.type = "DevString"
        rig.source.start()
        rig.tango.start()
        wrong = {route.name: "FAULT" for route in TANGO_ROUTES}
        eventually(
            lambda: rig.connector.states() == {**rig.connector.states(), **wrong}, rig.report
        )
        check_streaming(rig, wrong)
        for route in TANGO_ROUTES:
            message = rig.connector.groups()[route.name]["fault"]["message"]
            assert "int64" in message, message
        rig.await_flow(time.time(), KAFKA_ROUTES)  # the others do not notice
        rig.source.stop()
        rig.source.type = "DevLong64"
        rig.source.start()
        rig.reconfigure()
        over = time.time()
        rig.tango.start()
        rig.await_flow(over)
        rig.settle()
        accounts = rig.rows("source device back with another type", over)
        publish({route.name: accounts[route.name] for route in TANGO_ROUTES})
        for route in TANGO_ROUTES:
            account = accounts[route.name]
            check_pair(account, repeats=True, outages=[(begin, over)])
        for route in KAFKA_ROUTES:
            check_pair(accounts[route.name])


def test_target_device(kafka, publish):
    with Rig(kafka.bootstrap_servers) as rig:

        def hurt() -> None:
            rig.target.kill()
            rig.target.start()

        repeats = routes_to("remote")
        accounts = endure(rig, "target device killed", hurt, repeats=repeats)
        publish({route.name: accounts[route.name] for route in repeats})


def test_event_flood(kafka, publish):
    """More events than Tango holds: what it drops it reports, what we drop we count."""
    with Rig(kafka.bootstrap_servers, routes=TANGO_ROUTES) as rig:
        rig.feed()
        rig.tango.pause()
        eventually(rig.complete, rig.report)
        begin = time.time()
        before = rig.tango.handed.next
        rig.connector.freeze()  # so that the machine's speed decides nothing
        try:
            rig.tango.flood(FLOOD)
            eventually(lambda: rig.tango.handed.next == before + FLOOD, "the end of the flood")
        finally:
            rig.connector.thaw()
        over = time.time()
        rig.tango.start()
        rig.await_flow(over)
        rig.settle()
        check_streaming(rig)
        accounts = rig.rows("event flood", over)
        publish(accounts)
        for route, account in accounts.items():
            check_pair(account, repeats=True, outages=[(begin, over + 1.0)])
            assert account.lost
            told = {"missed events", "subscribed again"}
            assert told & account.row.counted.keys(), account.row
            ledger = rig.statistics[f"{route}[0]"]
            if route != "tango_to_local":  # there, the subscriber may miss some too
                arrived = account.row.out + account.row.duplicated
                assert 0 <= ledger["delivered"] - arrived <= 1  # the value before the first number
