"""The laws of the bridges; the real clock, since `autojump_clock` jumps while threads work."""

import contextlib
import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import trio
import trio.testing

from queue_connector.runtime import loop as loop_module
from queue_connector.runtime.inbox import Bell, Inbox, Mailbox
from queue_connector.runtime.lane import Lane
from queue_connector.runtime.loop import LoopStoppedError, Renewal, TrioThread
from queue_connector.runtime.worker import Worker, check_cancelled, current_thread
from tests.support.waiting import until


@pytest.fixture(autouse=True)
def no_thread_left():
    """Trio keeps idle worker threads for a while; named threads are ours and must be gone."""
    yield
    assert not [t.name for t in threading.enumerate() if t.name.startswith("test-")]


class Recorder:
    """A context that counts how often a thread entered and left it."""

    def __init__(self):
        self.entered, self.left = [], []

    @contextlib.contextmanager
    def __call__(self):
        self.entered.append(threading.current_thread().name)
        try:
            yield
        finally:
            self.left.append(threading.current_thread().name)


# Worker


def test_no_thread_is_taken_for_one_that_has_ended():
    """Such as one of Tango's that ends a device, for that of the client that was last inside it."""
    seen = []
    for _ in range(50):
        thread = threading.Thread(target=lambda: seen.append(current_thread()))
        thread.start()
        thread.join()
    assert len(set(seen)) == 50


async def test_a_worker_runs_one_call_at_a_time_inside_its_context():
    recorder, worker, running, most = Recorder(), None, 0, 0
    worker = Worker(recorder)

    def call(number):
        nonlocal running, most
        running += 1
        most = max(most, running)
        time.sleep(0.01)
        running -= 1
        return number

    found = []

    async def ask(number):
        found.append(await worker.run(call, number))

    async with trio.open_nursery() as nursery:
        for number in range(5):
            nursery.start_soon(ask, number)
    assert sorted(found) == list(range(5))
    assert most == 1
    assert len(recorder.entered) == len(recorder.left) == 5


async def test_a_worker_gives_back_what_its_function_raises():
    with pytest.raises(ZeroDivisionError):
        await Worker().run(lambda: 1 // 0)


async def test_a_call_that_has_begun_is_waited_for_and_its_result_is_not_lost():
    begun = threading.Event()

    def call():
        begun.set()
        time.sleep(0.2)
        return "result"

    with trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def cancel():
                await trio.to_thread.run_sync(begun.wait)
                scope.cancel()

            nursery.start_soon(cancel)
            assert await Worker().run(call) == "result"


async def test_a_cancelled_call_that_looks_for_cancellation_ends_soon():
    def call():
        while True:
            time.sleep(0.01)
            check_cancelled()

    started = time.monotonic()
    with trio.move_on_after(0.1) as scope:
        await Worker().run(call)
    assert scope.cancelled_caught
    assert time.monotonic() - started < 1


# Lane


async def test_a_lane_does_jobs_in_the_order_in_which_they_were_given():
    done = []
    async with Lane("test-lane") as lane, trio.open_nursery() as nursery:
        for number in range(200):
            nursery.start_soon(lane.run, done.append, number)
            await trio.lowlevel.checkpoint()
    assert done == list(range(200))


async def test_a_lane_gives_back_results_and_errors():
    async with Lane("test-lane") as lane:
        assert await lane.run(lambda a, b: a + b, 1, 2) == 3
        with pytest.raises(KeyError):
            await lane.run({}.__getitem__, "x")
        assert await lane.run(lambda: threading.current_thread().name) == "test-lane"


async def test_a_lane_does_its_jobs_inside_its_context():
    recorder = Recorder()
    async with Lane("test-lane", recorder) as lane:
        await lane.run(lambda: None)
        assert recorder.entered
    assert set(recorder.entered) == {"test-lane"}
    assert recorder.entered == recorder.left


async def test_a_job_cancelled_before_its_turn_is_not_done():
    gate, done = threading.Event(), []
    async with Lane("test-lane") as lane, trio.open_nursery() as nursery:
        nursery.start_soon(lane.run, gate.wait)
        await trio.sleep(0.05)
        with trio.move_on_after(0.05) as scope:
            await lane.run(done.append, "withdrawn")
        assert scope.cancelled_caught
        nursery.start_soon(lane.run, done.append, "after")
        await trio.sleep(0.05)
        gate.set()
    assert done == ["after"]


async def test_a_job_cancelled_after_it_began_is_waited_for_and_its_result_is_not_lost():
    found = []
    async with Lane("test-lane") as lane:
        with trio.move_on_after(0.05):
            found.append(await lane.run(lambda: time.sleep(0.2) or "result"))
    assert found == ["result"]


async def test_a_job_given_by_a_cancelled_task_is_not_done():
    done = []
    async with Lane("test-lane") as lane:
        with trio.CancelScope() as scope:
            scope.cancel()
            await lane.run(done.append, 1)
    assert done == []


async def test_a_lane_that_ends_does_the_jobs_that_were_given():
    done = []
    async with trio.open_nursery() as nursery:
        async with Lane("test-lane") as lane:
            nursery.start_soon(lane.run, time.sleep, 0.1)
            nursery.start_soon(lane.run, done.append, 1)
            await trio.sleep(0.02)
        assert done == [1]
        with pytest.raises(trio.ClosedResourceError):
            await lane.run(done.append, 2)


async def test_a_lane_ends_in_a_cancelled_scope():
    with trio.CancelScope() as scope:
        async with Lane("test-lane") as lane:
            await lane.run(lambda: None)
            scope.cancel()
            await trio.sleep_forever()
    assert scope.cancelled_caught


# Inbox


async def test_an_inbox_keeps_the_order_of_each_thread_that_puts():
    inbox = Inbox(100_000)

    def put(who):
        for number in range(5000):
            inbox.put((who, number))

    threads = [threading.Thread(target=put, args=(who,)) for who in range(3)]
    for thread in threads:
        thread.start()
    found = []
    with trio.fail_after(20):
        while len(found) < 15_000:
            found.extend(await inbox.receive(700))
    for thread in threads:
        thread.join()
    for who in range(3):
        assert [n for w, n in found if w == who] == list(range(5000))


async def test_an_inbox_takes_puts_from_the_trio_thread():
    inbox = Inbox(10)
    inbox.put(1)
    assert await inbox.receive(10) == [1]

    async def put_later():
        await trio.sleep(0.05)
        inbox.put(2)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put_later)
        with trio.fail_after(5):
            assert await inbox.receive(10) == [2]


async def test_an_inbox_gives_at_most_what_is_asked_for():
    inbox = Inbox(10)
    for number in range(5):
        inbox.put(number)
    assert await inbox.receive(3) == [0, 1, 2]
    assert await inbox.receive(3) == [3, 4]


async def test_an_inbox_beyond_its_limit_drops_the_oldest_and_counts_them():
    inbox = Inbox(3)
    for number in range(10):
        inbox.put(number)
    assert inbox.overflowed == 7
    assert await inbox.receive(10) == [7, 8, 9]


async def test_a_closed_inbox_gives_what_it_holds_and_then_ends():
    inbox = Inbox(10)
    inbox.put(1)
    inbox.close()
    inbox.put(2)
    assert await inbox.receive(10) == [1]
    with pytest.raises(trio.EndOfChannel):
        await inbox.receive(10)


async def test_closing_an_inbox_ends_a_receive_that_waits():
    inbox = Inbox(10)
    async with trio.open_nursery() as nursery:

        async def close():
            await trio.sleep(0.05)
            inbox.close()

        nursery.start_soon(close)
        with trio.fail_after(5), pytest.raises(trio.EndOfChannel):
            await inbox.receive(10)


async def test_a_cancelled_receive_loses_nothing():
    inbox, found, end = Inbox(100_000), [], 2000

    def put():
        for number in range(end):
            inbox.put(number)
            if number % 20 == 0:
                time.sleep(0.001)

    thread = threading.Thread(target=put)
    thread.start()
    with trio.fail_after(20):
        turn = 0
        while len(found) < end:
            turn += 1
            with trio.move_on_after(0.0003 * (turn % 4)):
                found.extend(await inbox.receive(50))
    thread.join()
    assert found == list(range(end))


def test_a_put_after_the_loop_is_over_does_nothing():
    inboxes = []

    async def main():
        inboxes.append(Inbox(10))

    trio.run(main)
    inboxes[0].put(1)


async def test_an_inbox_wakes_its_receiver_once_for_what_comes_together():
    inbox, woken = Inbox(1000), []
    inbox._wake = lambda: (woken.append(1), inbox._arrived.set())
    async with trio.open_nursery() as nursery:
        found = []

        async def receive():
            found.extend(await inbox.receive(1000))

        nursery.start_soon(receive)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(100):
            inbox.put(number)
    assert found == list(range(100))
    assert len(woken) == 1
    inbox.put(100)  # nobody waits for it
    assert len(woken) == 1


# Mailbox


def mailboxes(bell, count, limit=10):
    arrived = []
    return [
        Mailbox(bell, limit, lambda number=number: arrived.append(number))
        for number in range(count)
    ], arrived


async def test_a_mailbox_rings_once_however_much_comes_until_it_is_heard():
    bell = Inbox(math.inf)
    (first, second), arrived = mailboxes(bell, 2)
    for number in range(3):
        first.put(number)
        second.put(-number)
    rung = await bell.receive(100)
    assert rung == [first, second]
    assert [box.heard() for box in rung] == [True, True]
    assert arrived == [0, 1]
    assert (first.take(2), len(first), first.take(10)) == ([0, 1], 1, [2])
    assert first.take(10) == []
    first.put(3)
    assert await bell.receive(100) == [first]
    assert first.heard() is False


async def test_a_mailbox_beyond_its_limit_drops_the_oldest_and_counts_them():
    (box,), _ = mailboxes(Inbox(math.inf), 1, limit=3)
    for number in range(10):
        box.put(number)
    box.close()
    box.put(10)
    assert box.overflowed == 7
    assert box.take(10) == [7, 8, 9]


async def test_mailboxes_lose_nothing_between_threads():
    bell, found, end = Inbox(math.inf), [], 3000
    boxes, _ = mailboxes(bell, 3, limit=end)

    def put(box):
        for number in range(end):
            box.put(number)

    threads = [threading.Thread(target=put, args=(box,)) for box in boxes]
    for thread in threads:
        thread.start()
    with trio.fail_after(20):
        while len(found) < 3 * end:
            for box in await bell.receive(100):
                box.heard()
                found.extend((box, number) for number in box.take(end))
    for thread in threads:
        thread.join()
    for box in boxes:
        assert [number for owner, number in found if owner is box] == list(range(end))


# TrioThread


async def until_stopped(ready, stopping):
    ready()
    await stopping.wait()


def loop_of(main=until_stopped, **keys):
    crashes = []
    loop = TrioThread(main, name="test-trio", on_crash=crashes.append, **keys)
    return loop, crashes


def test_a_loop_answers_calls_of_many_threads():
    loop, crashes = loop_of()
    loop.start()

    async def double(number):
        await trio.sleep(0.01)
        return 2 * number

    found = {}
    threads = [
        threading.Thread(target=lambda n=n: found.update({n: loop.call(double, n)}))
        for n in range(10)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {n: 2 * n for n in range(10)}
    assert loop.stop(5)
    assert crashes == []


def test_a_call_raises_what_its_function_raises():
    loop, _ = loop_of()
    loop.start()

    async def fail():
        raise KeyError("x")

    with pytest.raises(KeyError):
        loop.call(fail)
    assert loop.stop(5)


def test_a_call_to_a_loop_that_is_stopped_under_it_is_told_so():
    loop, _ = loop_of()
    loop.start()
    found = []

    def call():
        try:
            loop.call(trio.sleep_forever)
        except LoopStoppedError as error:
            found.append(error)

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(0.1)
    assert loop.stop(5)
    thread.join(5)
    assert not thread.is_alive()
    assert len(found) == 1
    with pytest.raises(LoopStoppedError):
        loop.call(trio.sleep, 0)


def test_a_loop_runs_inside_its_context():
    recorder = Recorder()
    loop, _ = loop_of(context=recorder)
    loop.start()
    assert recorder.entered == ["test-trio"]
    assert loop.stop(5)
    assert recorder.left == ["test-trio"]


def test_a_stop_is_in_order_first_and_cancels_after_its_grace():
    seen = []

    async def slow(ready, stopping):
        ready()
        await stopping.wait()
        seen.append("stopping")
        try:
            await trio.sleep_forever()
        finally:
            seen.append("cancelled")

    loop, crashes = loop_of(slow)
    loop.start()
    started = time.monotonic()
    assert loop.stop(0.2)
    assert 0.2 <= time.monotonic() - started < 2
    assert seen == ["stopping", "cancelled"]
    assert crashes == []


def test_a_stop_that_does_not_come_to_its_end_in_time_says_so(monkeypatch):
    monkeypatch.setattr(loop_module, "CANCEL_GRACE", 0.1)
    release = threading.Event()

    async def stubborn(ready, stopping):
        ready()
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(release.wait)

    loop, _ = loop_of(stubborn)
    loop.start()
    started = time.monotonic()
    assert not loop.stop(0.1)
    assert time.monotonic() - started < 2
    release.set()
    for thread in threading.enumerate():
        if thread.name == "test-trio":
            thread.join(5)
    assert loop.stop(0)


def test_a_loop_that_crashes_reports_it_and_answers_no_more():
    async def crash(ready, stopping):
        ready()
        await trio.sleep(0.05)
        raise ValueError("boom")

    loop, crashes = loop_of(crash)
    loop.start()
    time.sleep(0.3)
    assert [str(error) for error in crashes] == ["boom"]
    with pytest.raises(LoopStoppedError):
        loop.call(trio.sleep, 0)
    assert loop.stop(5)


def test_a_loop_that_crashes_before_it_is_ready_does_not_hang_its_start():
    async def crash(ready, stopping):
        raise ValueError("boom")

    loop, crashes = loop_of(crash)
    loop.start()
    assert len(crashes) == 1
    assert loop.stop(5)


def test_a_loop_may_be_stopped_twice_or_without_a_start():
    loop, _ = loop_of()
    assert loop.stop(1)
    loop.start()
    assert loop.stop(5)
    assert loop.stop(5)


async def test_a_lane_with_a_turn_takes_it_again_and_again_and_does_jobs_in_between():
    turns = []
    async with Lane("polling", turn=lambda: turns.append(time.sleep(0.001))) as lane:
        assert await lane.run(lambda: "done") == "done"
        before = len(turns)
        await until(lambda: len(turns) >= before + 3)


async def test_a_turn_that_raises_is_told_and_the_lane_still_does_jobs():
    def turn():
        raise OSError("no")

    async with Lane("polling", turn=turn) as lane:
        await until(lambda: lane.failure is not None)
        assert isinstance(lane.failure, OSError)
        assert await lane.run(lambda: "done") == "done"


async def test_a_lane_does_what_was_posted_by_any_thread_and_tells_what_it_raises():
    done = []
    async with Lane("test-posts") as lane:
        lane.post(lambda: done.append(1))
        await trio.to_thread.run_sync(lane.post, lambda: done.append(2))
        assert await lane.run(lambda: list(done)) == [1, 2]
        lane.post(lambda: 1 / 0)
        assert await lane.run(lambda: 3) == 3
        assert isinstance(lane.failure, ZeroDivisionError)
    lane.post(lambda: done.append(4))
    assert done == [1, 2]


# Bell


async def test_a_bell_that_is_rung_often_is_answered_once_and_again_when_it_rings_meanwhile():
    answered = []

    def answer():
        answered.append(threading.current_thread().name)
        if len(answered) == 1:
            bell.ring()

    bell = Bell(answer)
    await trio.to_thread.run_sync(lambda: [bell.ring() for _ in range(1000)])
    await until(lambda: len(answered) == 2)
    await trio.sleep(0.05)
    assert answered == [threading.current_thread().name] * 2


def test_a_bell_may_be_rung_when_the_loop_is_over():
    async def main():
        return Bell(lambda: None)

    trio.run(main).ring()


# Renewal


def test_one_thread_renews_at_a_time_and_the_others_have_their_turn_or_go_away():
    renewal = Renewal()
    assert renewal.begin(0)
    assert renewal.under_way
    with ThreadPoolExecutor() as pool:
        assert pool.submit(renewal.begin, 0).result() is False
        pool.submit(renewal.end).result()  # it is not this thread's to end
        assert renewal.under_way
        other = pool.submit(renewal.begin, 10)
        renewal.end()
        assert other.result() is True


def test_what_is_closed_is_left_by_all_and_never_renewed_again():
    renewal = Renewal()
    assert renewal.begin(0)
    with ThreadPoolExecutor() as pool:
        waiting = [pool.submit(renewal.begin, 10) for _ in range(3)]
        closing = pool.submit(renewal.close, 10)
        assert [one.result() for one in waiting] == [False] * 3
        assert not closing.done()
        renewal.end()
        assert closing.result() is True
    assert not renewal.begin(0)
    assert renewal.close(0)
