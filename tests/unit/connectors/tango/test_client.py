"""What is read at a subscription among the events that were on their way."""

from queue_connector.connectors.tango.client import InOrder, Reading


def in_order(*steps):
    """The values that are handed on; a step is a method and, for a value, when it was so."""
    handed = []
    values = InOrder(lambda reading: handed.append(reading.value))
    for step in steps:
        if step == "settle":
            values.settle()
        else:
            kind, when = step
            getattr(values, kind)(Reading(f"{kind} {when}"), when)
    return handed


def test_what_was_read_comes_behind_events_that_are_older():
    steps = [("read", 5.0), ("event", 3.0), ("event", 4.0), "settle", ("event", 6.0)]
    assert in_order(*steps) == ["event 3.0", "event 4.0", "read 5.0", "event 6.0"]


def test_what_was_read_comes_before_events_that_are_younger():
    steps = [("event", 4.0), ("read", 5.0), ("event", 6.0), ("event", 7.0), "settle"]
    assert in_order(*steps) == ["event 4.0", "read 5.0", "event 6.0", "event 7.0"]


def test_without_events_it_comes_when_none_is_awaited_any_more():
    assert in_order(("read", 5.0)) == []
    assert in_order(("read", 5.0), "settle", "settle") == ["read 5.0"]


def test_an_event_of_the_same_moment_comes_first():
    assert in_order(("read", 5.0), ("event", 5.0), "settle") == ["event 5.0", "read 5.0"]
