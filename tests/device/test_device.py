import json
import re
import signal
import threading
import time

import pytest
import tango

from queue_connector import __version__
from tests.device.connector import ARCHIVE, CHANGE, Events, close_events, connector
from tests.device.servers import server
from tests.support.waiting import eventually

DevState = tango.DevState


def memory(data, name="value", *, delay=0.0, dtype="int64", shape=(), default=""):
    return {
        "dtype": dtype,
        "shape": list(shape),
        "source": {"type": "InMemorySource", "data": data, "delay": delay},
        "sink": {
            "type": "TangoLocalAttributeSink",
            "attribute_name": name,
            "default_value": default,
        },
    }


def endless(name="value", delay=0.005, **options):
    return memory(list(range(20_000)), name, delay=delay, **options)


def config(*exchanges):
    return {"exchanges": list(exchanges)}


@pytest.fixture
def idle(tmp_path):
    """A connector with no configuration: STANDBY."""
    with connector(tmp_path, {}) as running:
        yield running


def refusal(call, *args):
    with pytest.raises(tango.DevFailed) as caught:
        call(*args)
    return caught.value.args[0]


def test_a_client_sees_each_state_as_an_event_of_state_and_of_status(idle):
    proxy = idle.proxy()
    states, statuses = Events.each(proxy, "State", "Status")
    archived = Events(proxy, "State", ARCHIVE)
    proxy.Configure(json.dumps(config(memory([1, 2, 3], delay=0.05))))
    assert proxy.State() == DevState.OFF
    proxy.Start()
    expected = ["STANDBY", "OFF", "OPEN", "ON", "CLOSE", "OFF"]
    eventually(lambda: len(states.values) == len(archived.values) == 6)
    assert [str(state) for state in states.values] == expected
    assert [str(state) for state in archived.values] == expected
    told = [f"default: {state}, 1 exchange" for state in expected[1:]]
    eventually(lambda: statuses.values[-5:] == told)
    assert proxy.Status() == "default: OFF, 1 exchange"


def test_each_datum_is_a_change_event_and_an_archive_event(idle):
    proxy = idle.proxy()
    proxy.Configure(json.dumps(config(memory([5, 6, 7], delay=0.02, default=4))))
    assert proxy.value == 4
    changes, archives = Events.each(proxy, "value", kinds=[CHANGE, ARCHIVE])
    proxy.Start()
    eventually(lambda: len(changes.values) == len(archives.values) == 4)
    assert changes.values == archives.values == [4, 5, 6, 7]
    assert proxy.value == 7
    statistics = idle.statistics()["default[0]"]
    assert (statistics["received"], statistics["delivered"]) == (3, 3)


def unreachable_source():
    return {
        "source": {"type": "KafkaConsumerSource", "servers": "127.0.0.1:1", "topic": "t"},
        "sink": {"type": "TangoLocalAttributeSink", "attribute_name": "value"},
    }


def unreachable_sink():
    return {
        "source": {"type": "InMemorySource", "data": ["x"] * 1000, "delay": 0.01},
        "sink": {"type": "KafkaProducerSink", "servers": "127.0.0.1:1", "topic": "t"},
    }


def failing():
    """It cannot start: nobody is there, and it is told not to wait."""
    return {
        "dtype": "int64",
        "source": {
            "type": "TangoSubscriptionSource",
            "device_name": "tango://127.0.0.1:1/no/such/device#dbase=no",
            "attribute_name": "value",
            "stateless": False,
        },
        "sink": {"type": "TangoLocalAttributeSink", "attribute_name": "copy"},
    }


def bring(proxy, state):
    exchange = {
        DevState.OPEN: unreachable_source(),
        DevState.CLOSE: unreachable_sink(),
        DevState.FAULT: memory(["Ω"], dtype="str"),  # which Tango's strings have not
    }.get(state, endless())
    if state == DevState.STANDBY:
        return
    proxy.Configure(json.dumps(config(exchange)))
    if state == DevState.OFF:
        return
    proxy.Start()
    if state == DevState.CLOSE:
        eventually(lambda: json.loads(proxy.statistics)["default[0]"]["in_flight"])
        proxy.Stop()
    eventually(lambda: proxy.State() == state)


ALLOWED = {
    "Configure": {DevState.STANDBY, DevState.OFF},
    "Start": {DevState.OFF},
    "Stop": {DevState.OPEN, DevState.ON},
    "Standby": {DevState.OFF},
    "Abort": {DevState.OPEN, DevState.ON, DevState.CLOSE},
    "Reset": {DevState.FAULT},
}


@pytest.mark.parametrize("state", ["STANDBY", "OFF", "OPEN", "ON", "CLOSE", "FAULT"], ids=str)
def test_a_command_is_done_or_refused_with_the_state_and_the_states_allowed(idle, state):
    proxy = idle.proxy()
    state = getattr(DevState, state)
    for command, allowed in ALLOWED.items():
        bring(proxy, state)
        arguments = ["{}"] if command == "Configure" else []
        if state in allowed:
            proxy.command_inout(command, *arguments)
        else:
            error = refusal(proxy.command_inout, command, *arguments)
            assert error.reason == "StateError"
            assert error.desc.startswith(f"{command} is not allowed in state {state}; it is all")
            assert proxy.State() == state
        if state == DevState.CLOSE and command != "Abort":
            proxy.Abort()
        proxy.Init()
        assert proxy.State() == DevState.STANDBY


def test_a_fault_names_the_exchange_and_leaves_other_groups_alone(idle):
    proxy = idle.proxy()
    proxy.Configure(
        json.dumps(
            {
                "exchanges": {
                    "bad": [memory(["one", "Ω"], dtype="str")],
                    "good": [endless("steady")],
                }
            }
        )
    )
    proxy.Start()
    eventually(lambda: proxy.State() == DevState.FAULT)
    eventually(lambda: idle.groups()["good"]["state"] == "ON")
    fault = idle.groups()["bad"]["fault"]
    assert fault["error"] == "ConformError"
    assert fault["message"].startswith("bad[0]: expected str, found 'Ω': ")
    assert r"bad: FAULT, 1 exchange: bad[0]: expected str, found '\u03a9': " in proxy.Status()
    before = proxy.steady
    eventually(lambda: proxy.steady > before)
    proxy.Reset()
    assert proxy.State() == DevState.ON


def test_commands_do_not_stall_while_every_attribute_is_pushed(idle):
    proxy = idle.proxy()
    proxy.Configure(
        json.dumps(config(*(endless(f"value{number}", delay=0.001) for number in range(8))))
    )
    proxy.Start()
    eventually(lambda: proxy.State() == DevState.ON)
    events = Events.each(proxy, *(f"value{number}" for number in range(8)))
    slowest = 0.0
    for _ in range(100):
        started = time.monotonic()
        assert "default[0]" in json.loads(proxy.statistics)
        refusal(proxy.Start)
        slowest = max(slowest, time.monotonic() - started)
    assert slowest < 1.0
    assert all(len(event.values) > 10 for event in events)


def test_many_clients_may_read_at_once(idle):
    proxy = idle.proxy()
    proxy.Configure(json.dumps(config(*(endless(f"value{number}") for number in range(4)))))
    proxy.Start()
    answers = []

    def read():
        reader = idle.proxy()
        for _ in range(200):
            found = reader.read_attributes(["groups", "statistics", "value0"])
            answers.append([attribute.value for attribute in found])

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(answers) == 800
    for groups, statistics, value in answers:
        assert json.loads(groups)["default"]["state"] in ("OPEN", "ON")
        assert "default[3]" in json.loads(statistics)
        assert value >= 0


def test_init_keeps_attributes_that_the_property_configures_with_their_subscribers(tmp_path):
    with connector(tmp_path, config(endless("kept", delay=0.01))) as running:
        proxy = running.proxy()
        events = Events(proxy, "kept")
        eventually(lambda: len(events.values) > 3)
        before = len(events.values)
        proxy.Init()
        assert "kept" in proxy.get_attribute_list()
        eventually(lambda: len(events.values) > before + 5)
        assert events.errors == []


def test_dev_restart_makes_the_attributes_again_and_streams_on(tmp_path):
    with connector(tmp_path, config(endless("kept", delay=0.01))) as running:
        proxy = running.proxy()
        eventually(lambda: proxy.kept > 3)
        tango.DeviceProxy(proxy.adm_name()).DevRestart("test-sdp/queueconnector/01")
        assert "kept" in proxy.get_attribute_list()
        eventually(lambda: str(proxy.State()) == "ON")
        before = proxy.kept
        eventually(lambda: proxy.kept > before)
        assert running.terminate() == 0


def test_init_drops_what_was_configured_by_command(idle):
    proxy = idle.proxy()
    proxy.Configure(json.dumps(config(endless("gone"))))
    proxy.Start()
    proxy.Init()
    assert proxy.State() == DevState.STANDBY
    assert "gone" not in proxy.get_attribute_list()


def test_a_slice_of_many_inits_and_starts_leaves_nothing_behind(tmp_path):
    cycle(tmp_path, inits=20, starts=50)


def cycle(directory, *, inits, starts):
    """Start, stop and Init with a reading and a subscribed client; nothing may grow."""
    with connector(directory, config(endless("kept"), endless("other"))) as running:
        proxy = running.proxy()
        events = Events(proxy, "kept")
        stop = threading.Event()
        read_errors = []

        def read():
            reader = running.proxy()
            while not stop.is_set():
                try:
                    reader.read_attribute("other")
                except tango.DevFailed as error:
                    read_errors.append(error.args[0].desc)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            sizes = []
            for number in range(inits):
                proxy.Init()
                if number in (inits // 4, inits - 1):
                    eventually(lambda: proxy.State() == DevState.ON)
                    sizes.append(running.resources())
            for number in range(starts):
                eventually(lambda: proxy.State() == DevState.ON)
                proxy.Stop()
                eventually(lambda: proxy.State() == DevState.OFF)
                proxy.Start()
                if number in (starts // 4, starts - 1):
                    eventually(lambda: proxy.State() == DevState.ON)
                    sizes.append(running.resources())
            before = len(events.values)
            eventually(lambda: len(events.values) > before)
        finally:
            stop.set()
            thread.join()
        assert running.running(), running.log()
        threads, descriptors = zip(*sizes, strict=True)
        assert max(threads) - min(threads) <= 2, sizes
        assert max(descriptors) - min(descriptors) <= 2, sizes
        assert read_errors == []
        assert events.errors == []
        close_events()
        assert running.terminate() == 0


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, "Kill"])
def test_it_ends_clean_with_status_0(tmp_path, how):
    with connector(tmp_path, config(endless("value"))) as running:
        proxy = running.proxy()
        events = Events(proxy, "value")
        eventually(lambda: len(events.values) > 3)
        started = time.monotonic()
        if how == "Kill":
            tango.DeviceProxy(proxy.adm_name()).Kill()
        else:
            running.signal(how)
        assert running.wait() == 0
        assert time.monotonic() - started < 5
        assert "OFF" in running.log().splitlines()[-1]
        assert "Traceback" not in running.log()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "line 1"),
        ("[]", "$"),
        ('{"exchange": []}', "did you mean 'exchanges'?"),
        ('{"exchanges": [{"source": {"type": "Nowhere"}}]}', "$.exchanges[0].source.type"),
        (json.dumps(config(memory([1], dtype="flot64"))), "did you mean 'float64'?"),
        (json.dumps(config(memory([1], name="a b"))), "$.exchanges[0].sink.attribute_name"),
        (json.dumps(config(memory([1], "x"), memory([1], "X"))), "claimed"),
        ("\0", "$"),
        ("[" * 100_000, "$"),
    ],
)
def test_a_bad_configuration_is_refused_with_its_path_and_costs_nothing(idle, text, expected):
    proxy = idle.proxy()
    proxy.Configure(json.dumps(config(endless("steady"))))
    error = refusal(proxy.Configure, text)
    assert error.reason == "ConfigError"
    assert expected in error.desc
    assert proxy.State() == DevState.OFF
    proxy.Start()
    eventually(lambda: proxy.steady > 0)


def test_a_bad_property_is_a_fault_that_says_what_is_wrong():
    with server("tests.device.misconfigured") as running:
        proxy = running.proxy()
        assert proxy.State() == DevState.FAULT
        assert "$.exchanges[0].source" in proxy.Status()
        proxy.Reset()
        assert proxy.State() == DevState.STANDBY


def test_its_log_lines_are_in_the_format_of_the_ska(idle):
    pattern = (
        r"1\|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z\|[A-Z]+\|[^|]*\|[^|]*\|[^|]*#\d+"
        r"\|tango-device:test-sdp/queueconnector/01\|.+"
    )
    idle.proxy().Configure(json.dumps(config(endless())))
    lines = eventually(lambda: idle.log().splitlines())
    assert all(re.fullmatch(pattern, line) for line in lines), lines


def test_it_tells_its_version_and_its_groups(idle):
    proxy = idle.proxy()
    assert proxy.versionId == __version__
    proxy.Configure(json.dumps({"exchanges": {"a": [endless("x")], "b": []}}))
    told = json.loads(proxy.groups)
    keys = ("state", "degraded", "revision", "fault", "exchanges", "opening")
    assert {name: [group[key] for key in keys] for name, group in told.items()} == {
        "a": ["OFF", False, 0, None, ["a[0]"], []],
        "b": ["STANDBY", False, 0, None, [], []],
    }
    assert [end["name"] for end in told["a"]["endpoints"]] == [
        "InMemorySource",
        "TangoLocalAttributeSink(x)",
    ]


def test_a_large_configuration_holds_up_no_read(idle):
    """It is as large as is allowed, and takes a second or so to read."""
    proxy, other = idle.proxy(), idle.proxy()
    proxy.set_timeout_millis(20_000)
    other.State()
    slow = {"type": "KafkaConsumerSource", "servers": ["h"] * 200_000, "topic": "t"}
    large = config({**memory([]), "source": slow})
    asked = proxy.command_inout_asynch("Configure", json.dumps(large))
    pauses = []
    deadline = time.monotonic() + 20
    while other.State() != DevState.OFF:
        began = time.monotonic()
        assert began < deadline
        assert other.State() in (DevState.STANDBY, DevState.OFF)
        assert isinstance(other.versionId, str)
        pauses.append(time.monotonic() - began)
    proxy.command_inout_reply(asked, 20_000)
    assert max(pauses) < 0.4, max(pauses)  # two calls
