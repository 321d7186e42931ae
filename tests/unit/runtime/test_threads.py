import threading

import pytest

from queue_connector.runtime import threads
from queue_connector.runtime.worker import current_thread


@pytest.fixture
def waiting():
    """A thread that was started under a name, and waits in Python."""
    go, there = threading.Event(), threading.Event()

    def wait() -> None:
        there.set()
        go.wait()

    with threads.named("some name"):
        thread = threading.Thread(target=wait)
        thread.start()
    there.wait()
    yield thread
    go.set()
    thread.join()


def test_a_thread_has_the_name_of_the_one_that_started_it_and_sleeps_while_it_waits(waiting):
    found = {thread.number: thread for thread in threads.others()}
    assert current_thread() not in found
    assert found[waiting.native_id].name == "some name"
    while not found[waiting.native_id].asleep:
        found = {thread.number: thread for thread in threads.others()}
    assert waiting.native_id in threads.in_python()


def test_who_names_others_has_its_own_name_again():
    before = threads._look(current_thread())
    with threads.named("another"):
        assert threads._look(current_thread()).name == "another"
    assert threads._look(current_thread()).name == before.name


def test_a_thread_that_has_ended_is_none():
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    assert thread.native_id not in {each.number for each in threads.others()}
    assert threads._look(thread.native_id) is None


def test_where_the_system_does_not_tell_there_are_none(monkeypatch):
    monkeypatch.setattr(threads, "_TASKS", "/does/not/exist")
    assert not threads.are_known()
    assert list(threads.others()) == []
    with threads.named("nobody sees it"):
        pass
