"""What holds requests is tested on a server, in tests/device/test_attributes.py."""

import itertools
import time

import pytest

from queue_connector.connectors.tango import object_adapter
from queue_connector.runtime import threads


@pytest.fixture
def looks(monkeypatch):
    """Sets what the looks at the threads find; counts them."""
    count = itertools.count()

    def set_to(found):
        monkeypatch.setattr(object_adapter, "_awake", lambda: set(found(next(count))))
        return count

    return set_to


def test_all_must_be_asleep_in_two_looks_one_after_the_other(looks):
    count = looks(lambda number: {0: {1}, 1: {}, 2: {2}}.get(number, {}))
    object_adapter._come_to_rest()
    assert next(count) == 5


def test_where_somebody_is_always_awake_it_is_enough_that_each_was_asleep(looks):
    count = looks(lambda number: {number % 2})
    object_adapter._come_to_rest()
    assert next(count) == object_adapter.LOOKS + 1


def test_nobody_is_waited_for_without_end(looks, monkeypatch):
    monkeypatch.setattr(object_adapter, "LONGEST", 0.05)
    looks(lambda number: {1})
    began = time.monotonic()
    object_adapter._come_to_rest()
    assert 0.05 <= time.monotonic() - began < 5


def test_where_requests_cannot_be_held_they_are_given_time(monkeypatch, caplog):
    def loaded(name):
        raise LookupError(f"{name} is not loaded as a library of its own")

    monkeypatch.setattr(object_adapter, "loaded", loaded)
    monkeypatch.setattr(threads, "_TASKS", "/does/not/exist")
    adapter = object_adapter.ObjectAdapter()
    assert [record.getMessage() for record in caplog.records] == [
        "clients are not held back while attributes come and go: "
        "libomniORB4 is not loaded as a library of its own"
    ]
    began = time.monotonic()
    with adapter.requests_held():
        assert time.monotonic() - began >= object_adapter.UNTOLD
        with adapter.let_go():
            pass
