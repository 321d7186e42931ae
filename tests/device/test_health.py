"""What the device tells of ends that cannot go on, and that they hold up nobody else."""

import json
import signal
import socket

import tango

from queue_connector.engine.state import Health
from tests.device.connector import ARCHIVE, CHANGE, Events, connector
from tests.device.test_device import endless, memory
from tests.support.waiting import eventually

DevState = tango.DevState


def unreachable():
    """A port where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{taken.getsockname()[1]}"


def from_kafka(servers, name):
    return {
        "dtype": "int64",
        "source": {"type": "KafkaConsumerSource", "servers": servers, "topic": "t"},
        "sink": {"type": "TangoLocalAttributeSink", "attribute_name": name},
    }


def test_one_dead_broker_holds_up_its_own_exchange_alone_and_is_told(tmp_path):
    exchanges = [endless("alive"), from_kafka(unreachable(), "dead")]
    with connector(tmp_path, {"exchanges": exchanges}) as running:
        proxy = running.proxy()
        healths, values = Events.each(proxy, "healthState", "alive")
        eventually(lambda: len(values.values) > 100)
        eventually(lambda: healths.values[-1:] == [Health.DEGRADED])
        assert proxy.healthState == Health.DEGRADED
        assert proxy.State() == DevState.OPEN
        assert "default: OPEN, degraded, 2 exchanges" in proxy.Status()
        assert "\n  default[1]" in proxy.Status()
        # It is said to wait as soon as it does, and to be opening when that has taken a while.
        eventually(lambda: running.groups()["default"]["opening"] == ["default[1]"])
        assert running.groups()["default"]["degraded"] is True
        proxy.Stop()
        eventually(lambda: proxy.State() == DevState.OFF)
        statistics = running.statistics()["default[0]"]
        assert statistics["delivered"] == statistics["received"] > 100
        eventually(lambda: healths.values[-1] == Health.OK)
        running.signal(signal.SIGTERM)
        assert running.wait() == 0


def test_health_is_failed_with_the_state_and_an_event_tells(tmp_path):
    with connector(tmp_path, {}) as running:
        proxy = running.proxy()
        healths, archived = Events.each(proxy, "healthState", kinds=[CHANGE, ARCHIVE])
        assert proxy.healthState == Health.OK
        assert list(proxy.get_attribute_config("healthState").enum_labels) == [
            health.name for health in Health
        ]
        bad = memory([json.dumps({"value": 1})], dtype="object")
        bad["sink"] = {
            "type": "TangoObjectScatterAttributeSink",
            "attributes": [{"attribute_name": "x", "dtype": "int64", "path": "value"}],
        }
        bad["source"]["data"] = [{"value": "no number"}]
        proxy.Configure(json.dumps({"exchanges": [bad]}))
        proxy.Start()
        eventually(lambda: proxy.State() == DevState.FAULT)
        proxy.Reset()
        eventually(lambda: healths.values == [Health.OK, Health.FAILED, Health.OK])
        eventually(lambda: archived.values == healths.values)


def test_a_sink_whose_broker_is_away_is_told_everywhere_and_hides_no_other(tmp_path):
    exchange = endless("alive")
    dead = {"type": "KafkaProducerSink", "servers": unreachable(), "topic": "t"}
    exchange["sink"] = [exchange["sink"], dead]
    with connector(tmp_path, {"exchanges": [exchange]}) as running:
        proxy = running.proxy()
        eventually(lambda: proxy.State() == DevState.ON)
        eventually(lambda: proxy.healthState == Health.DEGRADED)
        first, line = proxy.Status().splitlines()
        assert first == "default: ON, degraded, 1 exchange"
        assert line.startswith("  default[0]: KafkaProducerSink(t) waits for a broker of ")
        waiting = running.groups()["default"]["endpoints"][0]
        assert (waiting["kind"], waiting["connected"]) == ("sink", False)
        assert waiting["waiting_for"] in line
        assert waiting["since"] in line
        eventually(lambda: running.statistics()["default[0]"]["sinks"][0]["delivered"] > 200)
        told = running.statistics()["default[0]"]
        local, remote = told["sinks"]
        assert local["in_flight"] <= 2
        assert (remote["delivered"], remote["in_flight"]) == (0, remote["received"])
        assert told["delivered"] == 0
        assert local["condition"]["last_datum"] > waiting["since"]
        assert remote["condition"]["last_datum"] == ""
        proxy.Abort()
        assert proxy.State() == DevState.OFF
