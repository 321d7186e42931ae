"""Many lives of one device, with a client that reads and one that is subscribed."""

import pytest

from tests.device.connector import connector
from tests.device.test_device import config, cycle, endless
from tests.support.waiting import eventually


@pytest.mark.timeout(600)
def test_500_starts_and_200_inits_leave_nothing_behind(tmp_path):
    cycle(tmp_path, inits=200, starts=500)


@pytest.mark.timeout(300)
def test_40_servers_come_up_with_attributes_that_are_pushed_from_the_start(tmp_path):
    for _ in range(40):
        with connector(tmp_path, config(*(endless(f"v{n}", delay=0.001) for n in range(5)))) as one:
            eventually(lambda: one.proxy().v4 > 0)
            assert one.terminate() == 0
