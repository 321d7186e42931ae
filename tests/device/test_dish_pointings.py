"""The pointings of several dishes, from their events to windows in a topic."""

import io
import json
import time

import numpy as np
import pytest
import tango
from confluent_kafka import Consumer, TopicPartition

from queue_connector.demo.embedded_broker import embedded_broker
from queue_connector.model.timescale import SKA_EPOCH, tai_of_ska, unix_ms
from tests.device.connector import connector
from tests.device.dish_device import DISHES
from tests.device.servers import ROOT, pack, server
from tests.support.waiting import eventually

MODULE = "tests.device.dish_device"
TOPIC = "dish-pointings"
NOW = 848_448_037.25  # SKA time of 2026-11-20T00:00:00.25 UTC
DTYPE = [("antenna_name", "<U8"), ("ts", "<M8[ns]"), ("az", "<f8"), ("el", "<f8")]


@pytest.fixture
def broker():
    with embedded_broker([TOPIC]) as servers:
        yield servers


@pytest.fixture
def dishes():
    with server(MODULE, next(iter(DISHES))) as running:
        # One that is given its port can have it again at once after a kill.
        running.kill()
        running.start()
        yield running


def address(dishes, name):
    return f"tango://127.0.0.1:{dishes.port}/{name}#dbase=no"


def configuration(servers, dishes, **changes):
    text = (ROOT / "examples" / "dish-pointings.json").read_text()
    text = text.replace('"localhost:9092"', json.dumps(servers))
    for name in DISHES:
        assert f'"{name}"' in text
        text = text.replace(f'"{name}"', json.dumps(address(dishes, name)))
    wanted = json.loads(text)
    wanted["exchanges"][0].update(changes)
    return wanted


class Topic:
    """Reads a topic from its beginning: (timestamp, array) of each message."""

    def __init__(self, servers):
        settings = {"bootstrap.servers": servers, "group.id": "t", "fetch.wait.max.ms": 10}
        self._consumer = Consumer(settings)
        self._consumer.assign([TopicPartition(TOPIC, number, 0) for number in range(4)])
        self.messages = []

    def poll(self):
        while (message := self._consumer.poll(0.05)) is not None:
            assert message.error() is None
            array = np.load(io.BytesIO(message.value()), allow_pickle=False)
            self.messages.append((message.timestamp()[1], array))

    def of(self, dish):
        """All pointings of a dish, in order."""
        self.poll()
        rows = [row for _, array in self.messages for row in array if row["antenna_name"] == dish]
        return np.array(rows, DTYPE)

    def close(self):
        self._consumer.close()


@pytest.fixture
def topic(broker):
    reader = Topic(broker)
    yield reader
    reader.close()


def point(dishes, name, *pointing):
    proxy = tango.DeviceProxy(address(dishes, name))

    def do():
        try:
            proxy.command_inout("Do", pack(*pointing))
        except tango.DevFailed as error:  # Tango connects to a restarted server once per second
            assert error.args[0].reason == "API_CantConnectToDevice"
            return False
        return True

    eventually(do)


def subscribed(running, topic):
    """All dishes have sent the pointing that was current when they were subscribed to."""
    eventually(lambda: str(running.proxy().State()) == "ON", 30)
    eventually(lambda: all(len(topic.of(dish)) for dish in DISHES.values()), 30)


def test_every_pointing_of_every_dish_arrives_in_windows_with_its_time(
    tmp_path, broker, dishes, topic
):
    count = 40
    with connector(tmp_path, configuration(broker, dishes)) as running:
        subscribed(running, topic)
        for number in range(count):
            for offset, name in enumerate(DISHES):
                point(dishes, name, NOW + number / 10, 180.0 + number + offset / 4, 45.0)
            time.sleep(0.02)
        eventually(lambda: all(len(topic.of(d)) == count + 1 for d in DISHES.values()), 30)
        ledger = eventually(lambda: settled(running), 10)
        assert ledger["received"] == ledger["delivered"] == (count + 1) * len(DISHES)
        assert str(running.proxy().State()) == "ON"

    for offset, dish in enumerate(DISHES.values()):
        found = topic.of(dish)
        assert found["ts"][0] == SKA_EPOCH
        assert found["az"][1:].tolist() == [180.0 + n + offset / 4 for n in range(count)]
        assert found["ts"][1:].tolist() == tai_of_ska(NOW + np.arange(count) / 10).tolist()
        assert set(found["el"][1:].tolist()) == {45.0}
    for timestamp, array in topic.messages:
        assert array.dtype == np.dtype(DTYPE)
        assert timestamp == unix_ms(array["ts"].min())
    assert 946_684_768_000 in {timestamp for timestamp, _ in topic.messages}  # 1999, 28 s early
    # Windows collect: far fewer messages than pointings.
    assert len(topic.messages) < (count + 1) * len(DISHES) / 2


def settled(running):
    ledger = running.statistics()["default[0]"]
    return ledger if not ledger["in_flight"] else None


def test_a_dish_without_a_time_and_dishes_that_restart_cost_nothing_of_the_others(
    tmp_path, broker, dishes, topic
):
    first, second, _ = DISHES
    wanted = configuration(broker, dishes)
    del wanted["exchanges"][0]["sink"]["timestamp_options"]  # a window without times has none
    with connector(tmp_path, wanted) as running:
        subscribed(running, topic)
        point(dishes, second, NOW, 1.0, 2.0)
        point(dishes, first, float("nan"), float("nan"), 3.0)
        eventually(lambda: len(topic.of(DISHES[first])) == 2, 30)
        lost = topic.of(DISHES[first])[-1]
        assert np.isnat(lost["ts"])
        assert np.isnan(lost["az"])
        assert lost["el"] == 3.0

        dishes.kill()
        dishes.start()
        eventually(lambda: len(topic.of(DISHES[second])) == 3, 30)  # its current pointing again
        point(dishes, second, NOW + 60, 4.0, 5.0)
        eventually(lambda: topic.of(DISHES[second])["az"].tolist()[-1] == 4.0, 30)
        assert str(running.proxy().State()) == "ON"


def test_what_is_collected_when_the_group_stops_is_delivered(tmp_path, broker, dishes, topic):
    pipe = {"type": "BufferWithTimePipe", "timespan": 3600}
    with connector(tmp_path, configuration(broker, dishes, pipe=pipe)) as running:
        proxy = running.proxy()
        eventually(lambda: str(proxy.State()) == "ON", 30)
        eventually(lambda: running.statistics()["default[0]"]["received"] == len(DISHES), 30)
        assert topic.of("SKA001").size == 0
        proxy.Stop()
        eventually(lambda: str(proxy.State()) == "OFF", 30)
        ledger = running.statistics()["default[0]"]
        assert ledger["delivered"] == ledger["received"] == len(DISHES)
    eventually(lambda: len(topic.of("SKA001")) == 1, 30)
    assert [len(array) for _, array in topic.messages] == [len(DISHES)]
