import pytest
import trio
import trio.testing

from queue_connector.model.shared import Shared, background


class Client:
    """Counts how often it was opened and closed; opening takes a second."""

    def __init__(self, log, fails=False):
        self._log = log
        self._fails = fails

    async def __aenter__(self):
        await trio.sleep(1)
        if self._fails:
            raise OSError("no")
        self._log.append("open")
        return self

    async def __aexit__(self, *exc):
        await trio.sleep(1)
        self._log.append("close")


async def test_those_who_come_together_share_one_and_the_last_closes_it(autojump_clock):
    shared, log, had = Shared(), [], []

    async def user(seconds):
        async with shared.use("key", lambda: Client(log)) as client:
            had.append(client)
            await trio.sleep(seconds)
            assert log == ["open"]

    async with trio.open_nursery() as nursery:
        for seconds in (1, 2, 3):
            nursery.start_soon(user, seconds)
    assert len(set(map(id, had))) == 1
    assert log == ["open", "close"]


async def test_who_comes_while_it_is_being_closed_gets_another_one(autojump_clock):
    shared, log = Shared(), []

    async def user():
        async with shared.use("key", lambda: Client(log)) as client:
            return client

    async with trio.open_nursery() as nursery:
        nursery.start_soon(user)
        await trio.sleep(1.5)  # it is being closed now
        async with shared.use("key", lambda: Client(log)):
            assert log == ["open", "close", "open"]


async def test_where_opening_fails_the_next_tries_again(autojump_clock):
    shared, log = Shared(), []
    clients = iter([Client(log, fails=True), Client(log)])
    with pytest.raises(OSError, match="no"):
        async with shared.use("key", lambda: next(clients)):
            pass
    async with shared.use("key", lambda: next(clients)):
        assert log == ["open"]


async def test_a_cancelled_user_gives_it_back_and_waits_for_its_end(autojump_clock):
    shared, log = Shared(), []
    with trio.move_on_after(5):
        async with shared.use("key", lambda: Client(log)):
            await trio.sleep_forever()
    assert log == ["open", "close"]


async def test_what_runs_in_the_background_ends_when_it_is_left():
    seen = []

    async def forever():
        try:
            seen.append("begun")
            await trio.sleep_forever()
        finally:
            seen.append("ended")

    async with background(forever):
        await trio.testing.wait_all_tasks_blocked()
        assert seen == ["begun"]
    assert seen == ["begun", "ended"]


async def test_the_background_may_be_left_by_another_task():
    entered = background(trio.sleep_forever)

    async def leave():
        await entered.__aexit__(None, None, None)

    with trio.fail_after(1):
        await entered.__aenter__()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave)
