"""Pause, Resume, Restart and ResetStatistics of a real device in a process of its own."""

import json

import pytest
import tango

from queue_connector.demo.embedded_broker import embedded_broker
from tests.device.connector import DEVICE, connector
from tests.device.test_device import DevState, config, endless, refusal
from tests.support.kafka_topics import produce
from tests.support.waiting import eventually

MANY = 30_000


def reading(servers, topic="numbers", name="copy"):
    return {
        "dtype": "int64",
        "source": {
            "type": "KafkaConsumerSource",
            "servers": servers,
            "topic": topic,
            "encoding": "python",
            "start": "earliest",
        },
        "sink": {"type": "TangoLocalAttributeSink", "attribute_name": name, "default_value": -1},
    }


@pytest.fixture
def streaming(tmp_path):
    with connector(tmp_path, config(endless("a"), endless("b"))) as running:
        eventually(lambda: running.proxy().State() == DevState.ON)
        yield running


def delivered(running, exchange):
    return running.statistics()[exchange]["delivered"]


def grows(running, exchange):
    before = delivered(running, exchange)
    eventually(lambda: delivered(running, exchange) > before)


@pytest.mark.parametrize("argument", ["default[1]", '{"exchange": "default[1]"}'])
def test_one_exchange_is_paused_and_goes_on_where_it_was(streaming, argument):
    proxy = streaming.proxy()
    grows(streaming, "default[1]")
    proxy.Pause(argument)
    eventually(lambda: streaming.statistics()["default[1]"]["in_flight"] == 0)
    before = delivered(streaming, "default[1]")
    value = proxy.b
    grows(streaming, "default[0]")
    assert delivered(streaming, "default[1]") == before
    assert proxy.b == value
    assert proxy.State() == DevState.ON
    since = streaming.statistics()["default[1]"]["paused"]
    eventually(lambda: f"\n  default[1] is paused since {since}" in proxy.Status())
    assert streaming.groups()["default"]["paused"] == ["default[1]"]
    proxy.Resume(argument)
    grows(streaming, "default[1]")
    assert "paused" not in proxy.Status()
    proxy.Pause("default[1]")
    proxy.Stop()
    eventually(lambda: proxy.State() == DevState.OFF)
    part = streaming.statistics()["default[1]"]
    assert part["received"] == part["delivered"]
    assert part["paused"] == ""


def test_a_restart_leaves_the_others_alone_and_statistics_can_be_reset(streaming):
    proxy = streaming.proxy()
    grows(streaming, "default[0]")
    before = delivered(streaming, "default[0]")
    proxy.Restart("default[1]")
    eventually(lambda: streaming.statistics()["default[1]"]["restarts"] == 1)
    grows(streaming, "default[1]")
    assert delivered(streaming, "default[0]") > before
    assert proxy.State() == DevState.ON
    proxy.ResetStatistics()
    found = streaming.statistics()
    assert found["default[0]"]["delivered"] < before
    assert found["default[1]"]["restarts"] == 0


def test_what_cannot_be_done_is_one_sentence(streaming):
    proxy = streaming.proxy()
    told = refusal(proxy.Pause, "default[2]")
    assert told.reason == "UnknownExchangeError"
    assert told.desc == "no exchange is called 'default[2]' (did you mean 'default[1]'?)"
    told = refusal(proxy.Restart, '{"exchange": 1}')
    assert told.reason == "ConfigError"
    assert told.desc.startswith("$.exchange: expected str, found 1 (write the name of an exchange")
    assert refusal(proxy.Resume, "{").desc.startswith("$: this is no JSON: ")
    proxy.Stop()
    eventually(lambda: proxy.State() == DevState.OFF)
    told = refusal(proxy.Pause, "default[0]")
    assert told.desc == "Pause is not allowed in state OFF; it is allowed in OPEN, ON"


def test_a_paused_kafka_source_keeps_its_position(tmp_path):
    with embedded_broker(["numbers"]) as servers:
        produce(servers, "numbers", [b"%d" % number for number in range(100)])
        with connector(tmp_path, config(reading(servers), endless("b"))) as running:
            proxy = running.proxy()
            eventually(lambda: delivered(running, "default[0]") == 100)
            proxy.Pause("default[0]")
            produce(servers, "numbers", [b"%d" % number for number in range(100, MANY)])
            eventually(lambda: source(running).get("lag", 0) > 0)
            assert delivered(running, "default[0]") == 100
            assert proxy.copy == 99
            proxy.Restart("default[0]")
            eventually(lambda: delivered(running, "default[0]") == MANY, 30)
            assert proxy.copy == MANY - 1
            part = running.statistics()["default[0]"]
            assert part["received"] == MANY
            assert part["upstream"] == {}


def source(running):
    return running.statistics()["default[0]"]["sources"][0]["condition"]


def test_what_a_paused_tango_source_has_no_room_for_is_counted_meanwhile(tmp_path):
    """Of texts, 1000 events may wait."""
    copied = {
        "dtype": "str",
        "source": {
            "type": "TangoSubscriptionSource",
            "device_name": DEVICE,
            "attribute_name": "a",
        },
        "sink": {"type": "TangoLocalAttributeSink", "attribute_name": "b"},
    }
    texts = {
        "dtype": "str",
        "source": {"type": "InMemorySource", "data": ["x"] * 20_000, "delay": 0.0005},
        "sink": {"type": "TangoLocalAttributeSink", "attribute_name": "a"},
    }
    with connector(tmp_path, {"exchanges": {"to": [texts], "on": [copied]}}) as running:
        grows(running, "on[0]")
        running.proxy().Pause("on[0]")
        before = delivered(running, "on[0]")
        eventually(lambda: running.statistics()["on[0]"]["dropped"].get("inbox full"), timeout=30)
        part = running.statistics()["on[0]"]
        assert part["queued"] == 1000
        assert part["delivered"] <= before + 100
        running.proxy().Resume("on[0]")
        eventually(lambda: delivered(running, "on[0]") >= before + 1000)


def test_many_of_them_in_a_row_are_prompt(streaming):
    proxy = streaming.proxy()
    proxy.set_timeout_millis(1000)
    for _ in range(50):
        proxy.Pause("default[0]")
        proxy.Resume("default[0]")
    assert proxy.State() == tango.DevState.ON
    assert json.loads(proxy.statistics)["default[0]"]["paused"] == ""


def test_a_tap_shows_messages_with_their_positions(tmp_path):
    with (
        embedded_broker(["numbers"]) as servers,
        connector(tmp_path, config({**reading(servers), "on_error": "skip"})) as running,
    ):
        proxy = running.proxy()
        eventually(lambda: proxy.State() == DevState.ON)

        def tap(where="source", after=0):
            request = {"exchange": "default[0]", "where": where, "after": after}
            return json.loads(proxy.Tap(json.dumps(request)))

        assert tap() == tap("pipe") == tap("sink") == {"data": [], "passed": 0}
        produce(servers, "numbers", [b"11", b"bad", b"13"])
        eventually(lambda: tap("sink")["passed"] == 2)
        shown = {each["position"]: each for each in tap()["data"]}
        assert {where: each["value"] for where, each in shown.items()} == {
            "numbers[0]@0": "11",
            "numbers[0]@1": "b'bad'",
            "numbers[0]@2": "13",
        }
        assert "cannot decode 3 B as 'python'" in shown["numbers[0]@1"]["error"]
        assert [each["value"] for each in tap("sink")["data"]] == ["11", "13"]
        assert tap("sink", after=1)["data"][0]["end"] == "TangoLocalAttributeSink(copy)"
        told = refusal(proxy.Tap, '{"exchange": "default[0]", "where": "middle"}')
        assert told.desc == "$.where: 'middle' is no place (write one of source, pipe, sink)"
