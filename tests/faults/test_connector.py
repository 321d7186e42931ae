"""The connector itself is ended, by itself and by force, and started again under load."""

from __future__ import annotations

import time

import pytest

from tests.faults.guarantees import check_pair, check_streaming, endure
from tests.faults.rig import KAFKA_ROUTES, ROUTES, TANGO_ROUTES, Rig, routes_to

BOUNCED = [route for route in KAFKA_ROUTES if route.sink != "local"]
"""Pairs whose far end keeps what it got, whatever becomes of the connector."""


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_connector(end, kafka, publish):
    """A consumer group goes on where it was; Tango's data of meanwhile, nobody has."""
    # A subscriber is brought back by Tango after seconds, with the value of that moment.
    gaps = [*TANGO_ROUTES, *(route for route in routes_to("local") if route in KAFKA_ROUTES)]
    repeats = gaps if end == "stop" else ROUTES
    with Rig(kafka.bootstrap_servers) as rig:

        def hurt() -> None:
            getattr(rig.connector, end)()
            rig.connector.start()

        fault = f"connector {'terminated' if end == 'stop' else 'killed'} and started"
        publish(endure(rig, fault, hurt, repeats=repeats, gaps=gaps))


def test_bounce(kafka, publish):
    """Connector and broker in turn, cleanly and by force, three times, under load."""
    with Rig(kafka.bootstrap_servers, routes=BOUNCED) as rig:
        rig.feed()

        def repeated() -> set[tuple[str, int]]:
            return {(route.name, n) for route in BOUNCED for n in rig.tally(route).repeated()}

        for _ in range(3):
            for process, end in (
                (rig.connector, rig.connector.stop),
                (kafka, kafka.stop),
                (rig.connector, rig.connector.kill),
                (kafka, kafka.kill),
            ):
                before = repeated()
                end()
                process.start()
                over = time.time()
                rig.await_flow(over)
                if end != rig.connector.kill:
                    assert repeated() == before
        rig.settle()
        check_streaming(rig)
        accounts = rig.rows("bounce: connector and broker, three rounds", over)
        publish(accounts)
        for account in accounts.values():
            check_pair(account, repeats=True)
