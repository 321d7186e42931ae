"""Exchanges that feed themselves are refused; those that feed each other are warned of."""

import time

import pytest

from queue_connector.configuration.reading import MAX_EXCHANGES, read

HOST = "tango://127.0.0.1:10000/a/b/c#dbase=no"


def topic(name, servers="a"):
    return {"servers": servers, "topic": name}


def attribute(name, device="a/b/c"):
    return {"device_name": device, "attribute_name": name}


def consumer(name, **keys):
    return {"type": "KafkaConsumerSource", **topic(name, **keys)}


def producer(name, **keys):
    return {"type": "KafkaProducerSink", **topic(name, **keys)}


def subscription(name, **keys):
    return {"type": "TangoSubscriptionSource", **attribute(name, **keys)}


def remote(name, **keys):
    return {"type": "TangoRemoteAttributeSink", **attribute(name, **keys)}


def exchange(source, sink, **keys):
    return {"dtype": "float64", "source": source, "sink": sink, **keys}


def route(source, sink, **keys):
    return exchange(consumer(source), producer(sink), **keys)


def findings(*exchanges):
    reading = read({"exchanges": list(exchanges)})
    return [str(f) for f in reading.faults], [str(w) for w in reading.warnings]


@pytest.mark.parametrize(
    ("source", "sink", "path"),
    [
        (consumer("t"), producer("t"), "$.exchanges[0].sink.topic"),
        (consumer("t"), producer("t", servers="a:9092"), "$.exchanges[0].sink.topic"),
        (consumer("t", servers=["b", "a"]), producer("t", servers="c,b"), "$.exchanges[0].sink.t"),
        ([consumer("x"), consumer("t")], producer("t"), "$.exchanges[0].sink.topic"),
        (consumer("t"), [producer("x"), producer("t")], "$.exchanges[0].sink[1].topic"),
    ],
)
def test_an_exchange_that_reads_and_writes_one_topic_is_refused(source, sink, path):
    [fault], warnings = findings(exchange(source, sink))
    assert fault.startswith(path)
    assert "reads the topic 't' itself" in fault
    assert not warnings


@pytest.mark.parametrize(
    ("source", "sink"),
    [
        (consumer("t"), producer("u")),
        (consumer("t"), producer("t", servers="b")),
        (consumer("t"), producer("T")),
        (subscription("x"), remote("y")),
        (subscription("x"), remote("x", device="a/b/d")),
        (subscription("x"), producer("x")),
    ],
)
def test_other_places_are_fine(source, sink):
    assert findings(exchange(source, sink)) == ([], [])


def test_exchanges_that_form_a_circle_over_topics_are_warned_of_once():
    for groups in (list, lambda exchanges: {"g": exchanges[:1], "h": exchanges[1:]}):
        exchanges = [route("a", "b"), route("b", "c"), route("c", "a"), route("c", "d")]
        reading = read({"exchanges": groups(exchanges)})
        assert not reading.faults
        assert reading.descriptor is not None
        [warning] = reading.warnings
        assert warning.path == next(path for path, _ in reading.descriptor.placed())
        for name in "abc":
            assert f"the topic '{name}'" in warning.message


def test_two_circles_are_two_warnings_and_a_chain_is_none():
    chain = [route(f"t{i}", f"t{i + 1}") for i in range(20)]
    assert findings(*chain) == ([], [])
    _, warnings = findings(*chain, route("x", "y"), route("y", "x"), route("t20", "t0"))
    assert [warning.split(":")[0] for warning in warnings] == ["$.exchanges[0]", "$.exchanges[20]"]
    assert len(warnings[0]) < 600


def test_dead_letters_may_close_a_circle():
    letters = {"type": "dead_letter", **topic("bad")}
    faults, [warning] = findings(route("a", "b", on_error=letters), route("bad", "a"))
    assert not faults
    assert "the topic 'bad' to $.exchanges[1], the topic 'a' back to it" in warning


def test_attributes_may_close_a_circle_also_of_one_exchange():
    faults, [warning] = findings(exchange(subscription("X"), remote("x", device="A/b/C")))
    assert not faults
    assert "the attribute 'a/b/c/x' back to it" in warning
    faults, [warning] = findings(
        exchange(subscription("x", device=HOST), producer("t")),
        exchange(consumer("t"), remote("x", device=HOST)),
    )
    assert not faults
    assert "$.exchanges[0]: what it writes comes round: by the topic 't'" in warning


def test_a_configuration_of_the_largest_size_is_judged_in_a_moment():
    every = [exchange([consumer("t"), consumer(f"x{i}")], producer("t2")) for i in range(500)]
    back = [exchange(consumer("t2"), producer("t")) for _ in range(MAX_EXCHANGES - 500)]
    began = time.process_time()
    assert len(read({"exchanges": every + back}).warnings) > 0
    assert time.process_time() - began < 3  # measured: 0.3


@pytest.mark.parametrize("name", ["Test/queue/01", "tango://h:1/test/queue/01#dbase=no"])
def test_attributes_of_the_connector_itself_may_close_a_circle(name):
    local = {"type": "TangoLocalAttributeSink", "attribute_name": "X"}
    exchanges = [
        exchange(consumer("t"), local),
        exchange(subscription("x", device=name), producer("t")),
    ]
    [warning] = read({"exchanges": exchanges}, device="test/Queue/01").warnings
    assert "the attribute 'X' to $.exchanges[1], the topic 't' back to it" in warning.message
    assert not read({"exchanges": exchanges}, device="test/queue/02").warnings
    assert not read({"exchanges": exchanges}).warnings
