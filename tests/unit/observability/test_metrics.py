"""The metrics, read back with the parsers of the library that writes them."""

import copy

import pytest
import trio
from prometheus_client.openmetrics.exposition import generate_latest as openmetrics_text
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus

from queue_connector import __version__
from queue_connector.model.latency import Latency
from queue_connector.model.ledger import Batch, Ledger
from queue_connector.model.outcome import SKIPPED
from queue_connector.observability.exposition import MIN_AGE, Exposition, text
from queue_connector.observability.metrics import FAMILIES, Snapshot

PART = {
    "name": "KafkaConsumerSource(offsets)",
    "received": 9,
    "delivered": 3,
    "filtered": 0,
    "dropped": {"aborted": 1, 'a "quoted"\nreason\\': 2},
    "failed": 2,
    "skipped": 1,
    "dead_lettered": 1,
    "in_flight": 1,
    "upstream": {"missed events": 5},
    "queued": 7,
    "condition": {
        "connected": False,
        "waiting_for": "the broker",
        "since": "2026-01-31T12:00:00.000Z",
        "error": "refused",
        "last_datum": "2026-01-31T12:00:01.500Z",
        "end_offset": 40,
        "lag": 12,
        "pending": 3,
        "partitions": 4,
        "rebalances": 2,
    },
}
WELL = {"connected": True, "waiting_for": "", "since": "", "error": "", "last_datum": ""}
SINK_KEYS = ("name", "received", "delivered", "dropped", "failed", "in_flight", "queued")
SINK = {key: PART[key] for key in SINK_KEYS} | {
    "name": "TangoLocalAttributeSink(message)",
    "condition": WELL,
}
STATISTICS = {
    "default[0]": {**PART, "received": 18, "sources": [PART, PART], "sinks": [SINK]},
    "a[b].c[11]": {**PART, "sources": [PART], "sinks": [SINK, SINK]},
}
GROUPS = {
    "default": {"state": "ON", "fault": {"error": "ConfigError"}, "degraded": True},
    "a[b].c": {"state": "FAULT", "fault": None, "degraded": False},
}


def read(text, parser=prometheus):
    """Name of the sample → its labels, sorted → its value; no sample stands there twice."""
    found = {}
    for family in parser(text):
        for sample in family.samples:
            values = found.setdefault(sample.name, {})
            labels = tuple(sorted(sample.labels.items()))
            assert labels not in values, sample
            values[labels] = sample.value
    return found


def labelled(**labels):
    return tuple(sorted(labels.items()))


def test_every_count_of_every_part_is_a_sample_with_its_labels():
    found = read(text(Snapshot(statistics=STATISTICS, groups=GROUPS)))
    prefix = "queue_connector_"
    for exchange, ledger in STATISTICS.items():
        at = {"group": exchange.rpartition("[")[0], "exchange": exchange}
        parts = [("", at, ledger)]
        for kind in ("source", "sink"):
            for index, part in enumerate(ledger[f"{kind}s"]):
                labels = {**at, kind: part["name"], "index": str(index)}
                parts.append((f"{kind}_", labels, part))
        for scope, labels, part in parts:
            for key in ("received", "delivered", "filtered", "failed", "skipped", "dead_lettered"):
                name = f"{prefix}{scope}{key}_total"
                if key in part:
                    assert found[name][labelled(**labels)] == part[key]
                else:
                    assert name not in found
            in_flight = found[f"{prefix}{scope}in_flight"]
            assert in_flight[labelled(**labels)] == part["in_flight"]
            assert found[f"{prefix}{scope}queued"][labelled(**labels)] == part["queued"]
            dropped = found[f"{prefix}{scope}dropped_total"]
            for reason, number in part["dropped"].items():
                assert dropped[labelled(**labels, reason=reason)] == number
    upstream = found[f"{prefix}upstream_trouble_total"]
    at = {"group": "default", "exchange": "default[0]", "kind": "missed events"}
    assert upstream[labelled(**at)] == 5
    assert len(found[f"{prefix}source_received_total"]) == 3  # equal ones stay apart


def test_the_condition_of_each_source_and_sink_is_told_in_numbers():
    found = read(text(Snapshot(statistics={"g[0]": STATISTICS["a[b].c[11]"]})))
    at = {"group": "g", "exchange": "g[0]", "index": "0"}
    source, sink = ({**at, kind: part["name"]} for kind, part in (("source", PART), ("sink", SINK)))
    told = {
        ("source", "connected"): 0,
        ("source", "waiting"): 1,
        ("source", "last_datum_timestamp_seconds"): 1769860801.5,
        ("source", "end_offset"): 40,
        ("source", "lag"): 12,
        ("source", "pending"): 3,
        ("source", "partitions"): 4,
        ("source", "rebalances_total"): 2,
        ("sink", "connected"): 1,
        ("sink", "waiting"): 0,
        ("sink", "last_datum_timestamp_seconds"): 0,
    }
    for (kind, key), number in told.items():
        labels = labelled(**(source if kind == "source" else sink))
        assert found[f"queue_connector_{kind}_{key}"][labels] == number
    assert "queue_connector_sink_lag" not in found


def test_a_group_has_1_for_its_state_only_and_tells_whether_it_has_a_fault():
    found = read(text(Snapshot(statistics={}, groups=GROUPS)))
    states = found["queue_connector_group_state"]
    assert len(states) == 14
    shown = {dict(labels)["group"]: dict(labels)["state"] for labels in states if states[labels]}
    assert shown == {"default": "ON", "a[b].c": "FAULT"}
    degraded = found["queue_connector_group_degraded"]
    assert degraded == {labelled(group="default"): 1, labelled(group="a[b].c"): 0}
    faults = found["queue_connector_group_fault"]
    assert faults == {labelled(group="default"): 1, labelled(group="a[b].c"): 0}


def test_it_tells_of_log_lines_that_nobody_read():
    found = read(text(Snapshot(statistics={}, lost_lines=4)))
    assert found["queue_connector_lost_log_lines_total"] == {(): 4.0}
    assert "queue_connector_lost_log_lines_total" not in read(text(Snapshot(statistics={})))


def test_it_tells_of_subscribers_that_are_slow_and_of_those_that_were_cut_off():
    found = read(text(Snapshot(statistics={}, slow=2, cut=3)))
    assert found["queue_connector_slow_subscribers"] == {(): 2.0}
    assert found["queue_connector_cut_subscribers_total"] == {(): 3.0}


@pytest.mark.parametrize("connected", [None, True, False])
def test_it_tells_whether_the_configuration_database_is_seen_when_one_is_followed(connected):
    found = read(text(Snapshot(statistics={}, connected=connected)))
    shown = found.get("queue_connector_configuration_database_connected")
    assert shown == (None if connected is None else {(): float(connected)})
    assert found["queue_connector_build_info"] == {labelled(version=__version__): 1}


def test_what_a_device_does_not_count_has_no_sample_and_no_zero():
    found = read(text(Snapshot(statistics={"default[0]": {"received": 1}})))
    counted = [name for name in found if not name.startswith("queue_connector_build")]
    assert counted == ["queue_connector_received_total"]


def test_a_real_ledger_is_told_as_it_is():
    ledger = Ledger(["first", "second"], ["sink"])
    batch = Batch([1, 2, 3])
    ledger.sources[0].receive(batch)
    ledger.sources[0].settle(batch, 1, SKIPPED)
    ledger.sources[1].drop("inbox full", 4)
    ledger.sinks[0].hold(1)
    found = read(text(Snapshot(statistics={"default[0]": ledger.as_dict()})))
    at = {"group": "default", "exchange": "default[0]"}
    first = {**at, "source": "first", "index": "0"}
    second = {**at, "source": "second", "index": "1"}
    assert found["queue_connector_received_total"] == {labelled(**at): 7}
    assert found["queue_connector_skipped_total"] == {labelled(**at): 1}
    assert found["queue_connector_source_in_flight"] == {
        labelled(**first): 2,
        labelled(**second): 0,
    }
    assert found["queue_connector_source_dropped_total"] == {
        labelled(**second, reason="inbox full"): 4
    }
    sink = labelled(**at, sink="sink", index="0")
    assert found["queue_connector_sink_in_flight"] == {sink: 1}


def test_names_are_unique_and_in_the_form_that_prometheus_asks_for():
    names = [family.name for family in FAMILIES]
    assert len(set(names)) == len(names)
    for family in FAMILIES:
        assert family.name.startswith("queue_connector_")
        assert family.name.endswith("_total") is (family.kind.__name__ == "CounterMetricFamily")
        assert family.doc.endswith(".")
        assert "{" not in family.doc
    written = text(Snapshot(statistics=STATISTICS, groups=GROUPS, connected=True))
    told = {family.name: family for family in prometheus(written)}
    for family in FAMILIES:
        assert told[family.name.removesuffix("_total")].documentation == family.doc


async def test_a_client_gets_the_format_that_it_asks_for_with_the_same_numbers():
    exposition = Exposition(lambda: Snapshot(statistics=STATISTICS, groups=GROUPS))
    plain_type, plain = await exposition.answer("*/*")
    open_type, opened = await exposition.answer("application/openmetrics-text;version=1.0.0,*/*")
    assert plain_type.startswith("text/plain; version=0.0.4")
    assert open_type.startswith("application/openmetrics-text; version=1.0.0")
    ours = {
        name: values
        for name, values in read(plain.decode()).items()
        if name.startswith("queue_connector_")
    }
    theirs = read(opened.decode(), openmetrics)
    assert len(ours) == len(FAMILIES) - 7
    # no database, two of subscribers, no log, no pause, no restart, no latency
    assert {name: theirs[name] for name in ours} == ours
    assert theirs["process_resident_memory_bytes"][()] > 1e6


async def test_many_who_ask_at_once_cost_one_answer_and_later_ones_get_later_numbers():
    taken = 0

    def snapshot():
        nonlocal taken
        taken += 1
        statistics = copy.deepcopy(STATISTICS)
        statistics["default[0]"]["received"] = taken
        return Snapshot(statistics=statistics)

    exposition = Exposition(snapshot)
    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(exposition.answer, "")
    assert taken == 1
    await trio.sleep(MIN_AGE)
    found = read((await exposition.answer(""))[1].decode())
    at = labelled(group="default", exchange="default[0]")
    assert found["queue_connector_received_total"][at] == taken == 2


async def test_a_large_answer_leaves_the_loop_to_the_streams():
    part = {**PART, "upstream": {}}
    statistics = {
        f"default[{number}]": {**part, "sources": [part] * 25, "sinks": [SINK]}
        for number in range(24)
    }
    exposition = Exposition(lambda: Snapshot(statistics=statistics))
    longest, ended = 0.0, False

    async def stream():
        nonlocal longest
        before = trio.current_time()
        while not ended:
            await trio.lowlevel.checkpoint()
            now = trio.current_time()
            longest, before = max(longest, now - before), now

    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream)
        started = trio.current_time()
        _, written = await exposition.answer("")
        took = trio.current_time() - started
        ended = True
    assert len(written) > 500_000
    assert longest < max(0.05, took / 2), (longest, took)


def test_an_exchange_tells_its_pause_its_restarts_and_when_its_last_datum_came():
    ledger = {**STATISTICS["default[0]"], "paused": "2026-01-31T12:00:00.000Z", "restarts": 2}
    other = {**STATISTICS["a[b].c[11]"], "paused": "", "restarts": 0}
    found = read(text(Snapshot(statistics={"default[0]": ledger, "b[1]": other})))
    first = labelled(group="default", exchange="default[0]")
    second = labelled(group="b", exchange="b[1]")
    assert found["queue_connector_paused"] == {first: 1, second: 0}
    assert found["queue_connector_restarts_total"] == {first: 2, second: 0}
    assert set(found["queue_connector_last_datum_timestamp_seconds"].values()) == {1769860801.5}


@pytest.mark.parametrize("parser", [prometheus, openmetrics])
def test_the_latency_is_a_histogram_that_counts_from_below(parser):
    latency = Latency()
    latency.observe(0.0001, 2)
    latency.observe(0.03, 1000)
    latency.observe(99, 1)
    ledger = {**STATISTICS["default[0]"], "latency": latency.as_dict()}
    snapshot = Snapshot(statistics={"default[0]": ledger})
    written = openmetrics_text(snapshot).decode() if parser is openmetrics else text(snapshot)
    found = read(written, parser)
    at = {"group": "default", "exchange": "default[0]"}
    buckets = found["queue_connector_latency_seconds_bucket"]
    assert buckets[labelled(**at, le="0.0005")] == 2
    assert buckets[labelled(**at, le="0.025")] == 2
    assert buckets[labelled(**at, le="0.05")] == 1002
    assert buckets[labelled(**at, le="30.0")] == 1002
    assert buckets[labelled(**at, le="+Inf")] == 1003
    assert found["queue_connector_latency_seconds_count"] == {labelled(**at): 1003}
    total = found["queue_connector_latency_seconds_sum"][labelled(**at)]
    assert total == pytest.approx(0.0002 + 30 + 99)
