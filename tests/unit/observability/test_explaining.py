"""Why a stream does not flow: from what a device says, with no device."""

import datetime
import json

import pytest
import trio

from queue_connector.configuration.document import parse
from queue_connector.engine.supervisor import open_supervisor
from queue_connector.observability.explaining import Weight, explain

NOW = datetime.datetime(2026, 11, 26, 12, tzinfo=datetime.UTC)


def group(state="ON", exchanges=("g[0]",), **more):
    return {"state": state, "fault": None, "exchanges": list(exchanges), "notes": [], **more}


def end(name="a", queued=0, **condition):
    waits = {"connected": True, "waiting_for": "", "since": "", "error": "", "last_datum": ""}
    return {"name": name, "queued": queued, "condition": {**waits, **condition}}


def ledger(received=0, sources=None, sinks=None, **counts):
    keys = ("filtered", "failed", "skipped", "dead_lettered", "in_flight")
    made = {"received": received, "delivered": received, **dict.fromkeys(keys, 0)}
    made |= {"dropped": {}, "upstream": {}, "sources": sources or [end()], "sinks": sinks or []}
    return made | counts


def told(groups, statistics=None):
    reasons = explain(groups, statistics or {}, NOW)
    assert [reason.weight for reason in reasons] == sorted(reason.weight for reason in reasons)
    return [(reason.weight.name, str(reason)) for reason in reasons]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("STANDBY", "g: STANDBY: it has no configuration"),
        ("OFF", "g: OFF: it is stopped, or all its sources have ended"),
        ("CLOSE", "g: CLOSE: it is being stopped"),
    ],
)
def test_a_state_in_which_nothing_flows_is_the_reason(state, words):
    ((weight, text),) = told({"g": group(state, exchanges=())})
    assert weight == "STOPS"
    assert text.startswith(words)


def test_a_fault_is_told_with_what_to_do_and_one_that_stopped_nothing_as_that():
    fault = {"error": "ConfigError", "message": "no such topic"}
    first, second = told({"g": group("FAULT", fault=fault)}, {"g[0]": ledger()})
    assert first == ("STOPS", "g: FAULT: no such topic")
    assert "Reset" in second[1]
    reasons = told({"g": group("ON", fault=fault)}, {"g[0]": ledger(1)})
    assert ("COSTS", "g: ON: no such topic; what was configured before goes on") in reasons


def test_what_an_end_waits_for_is_told_first():
    sink = end("b", 3, waiting_for="a broker of h", since="2026-11-26", error="refused")
    reasons = told({"g": group()}, {"g[0]": ledger(5, sinks=[sink], in_flight=3)})
    assert reasons[0] == (
        "STOPS",
        "g[0] sink b: waits for a broker of h since 2026-11-26: refused",
    )
    assert ("TELLS", "g[0] sink b: 3 data wait in its queue") in reasons


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ({"end_offset": 0, "lag": 0}, "the topic is empty"),
        ({"end_offset": 7, "lag": 0}, 'at the end of 7 messages; "start": "earliest"'),
        ({"pending": 0}, "does the device push events of this attribute?"),
        ({}, "connected, and nothing has come yet"),
    ],
)
def test_a_source_of_which_nothing_came_is_told_with_the_likely_cause(condition, words):
    ((weight, text),) = told({"g": group()}, {"g[0]": ledger(sources=[end(**condition)])})
    assert weight == "STOPS"
    assert words in text


def test_what_became_of_data_is_told_and_when_the_last_came():
    source = end(last_datum="2026-11-26T11:58:00Z", lag=0)
    counts = {"failed": 2, "skipped": 2, "dropped": {"inbox full": 1}, "upstream": {"gone": 4}}
    texts = [text for _, text in told({"g": group()}, {"g[0]": ledger(9, [source], **counts)})]
    assert texts == [
        "g[0]: 2 data could not be used: 2 skipped, 0 dead-lettered",
        "g[0]: 1 datum given up: inbox full",
        "g[0]: before its sources: 4 x gone",
        "g[0]: 9 received, 9 delivered; the last came 120 s ago: its sources have sent nothing "
        "since",
    ]


def test_a_pipe_that_leaves_everything_out_keeps_data_from_flowing():
    assert ("STOPS", "g[0]: its pipe has left out every datum until now") in told(
        {"g": group()}, {"g[0]": ledger(3, filtered=3, delivered=0)}
    )


async def test_it_reads_what_a_supervisor_says(autojump_clock):
    described = {
        "dtype": "int64",
        "source": {"type": "InMemorySource", "data": [1, 2, 3], "delay": 10.0},
        "sink": {"type": "InMemorySink", "key": "explained"},
    }
    descriptor = parse(json.dumps({"exchanges": [described]}))
    async with open_supervisor() as supervisor:

        def now():
            return explain(supervisor.as_dict(), supervisor.statistics(), NOW)

        assert now() == []
        await supervisor.configure(descriptor)
        assert [reason.weight for reason in now()] == [Weight.STOPS]
        await supervisor.start()
        await trio.sleep(15)
        (reason,) = now()
        assert str(reason).startswith("default[0]: ")
        assert "received" in str(reason)
        await supervisor.wait_idle()
        assert "all its sources have ended" in str(now()[0])
