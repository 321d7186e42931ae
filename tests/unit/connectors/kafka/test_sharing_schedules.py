"""Random schedules of rebalances on a virtual clock, judged by what sharing promises.

Each is named by its seed.
"""

from __future__ import annotations

from unittest import mock

import pytest
import trio
import trio.testing

from tests.schedules import FEWER
from tests.schedules.sharing import Clock, judge, play


@pytest.mark.parametrize("first", range(0, FEWER, 10))
def test_members_keep_what_sharing_promises(first):
    with mock.patch("queue_connector.connectors.kafka.bookmark.time", Clock()):
        for seed in range(first, min(first + 10, FEWER)):
            clock = trio.testing.MockClock(autojump_threshold=0)
            assert (seed, judge(trio.run(play, seed, clock=clock))) == (seed, [])
