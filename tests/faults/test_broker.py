"""Faults of the broker and of the topics, with numbers under way on all pairs."""

from __future__ import annotations

import time

import pytest

from tests.faults.guarantees import check_pair, check_streaming
from tests.faults.rig import Rig, eventually

FROZEN = 4.0  # s


def stop(kafka):
    kafka.stop()
    kafka.start()


def kill(kafka):
    kafka.kill()
    kafka.start()


def freeze(kafka):
    kafka.freeze()
    thaw_at = time.monotonic() + FROZEN
    eventually(lambda: time.monotonic() > thaw_at, "")
    kafka.thaw()
    kafka.wait_ready()


@pytest.mark.parametrize(
    ("fault", "hurt"),
    [("broker stopped", stop), ("broker killed", kill), ("broker frozen", freeze)],
)
def test_broker(fault, hurt, kafka, rows):
    with Rig(kafka.bootstrap_servers) as rig:
        rig.feed()
        hurt(kafka)
        over = time.time()
        rig.await_flow(over)
        rig.settle()
        accounts = rig.rows(fault, over)
        rows.extend(account.row for account in accounts.values())
        check_streaming(rig)
        for route, account in accounts.items():
            check_pair(route, account)
