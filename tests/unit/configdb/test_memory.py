import threading
import uuid

import pytest
import trio

from queue_connector.configdb.memory import MemoryDatabase
from queue_connector.model.errors import EndpointError
from queue_connector.testing.checkpoints import cancel_at_every_step
from tests.support.configdb_contract import contents, reaches


@pytest.fixture
def name():
    return uuid.uuid4().hex


async def test_databases_of_one_name_are_one(name):
    await MemoryDatabase(name).put("/a", "1")
    assert (await MemoryDatabase(name).get("/a")).value == b"1"
    assert await MemoryDatabase(name + "2").get("/a") is None


async def test_a_watch_sees_what_another_thread_writes(name):
    async def write() -> None:
        await MemoryDatabase(name).put("/a/b", "1")

    async with MemoryDatabase(name).watch("/a") as watch:
        await watch.__anext__()
        thread = threading.Thread(target=trio.run, args=(write,))
        thread.start()
        await reaches(watch, lambda view: contents(view) == {"b": b"1"})
        thread.join()


def test_of_many_threads_that_count_none_is_lost(name):
    async def count() -> None:
        database = MemoryDatabase(name)
        done = 0
        while done < 100:
            found = await database.get("/n")
            number, revision = (int(found.value), found.mod_revision) if found else (0, 0)
            done += await database.compare_and_swap("/n", str(number + 1), revision) is not None

    async def read() -> int:
        return int((await MemoryDatabase(name).get("/n")).value)

    threads = [threading.Thread(target=trio.run, args=(count,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert trio.run(read) == 400


async def test_it_can_be_cut_off_and_comes_back_with_the_whole_truth(name):
    told: list[bool] = []
    database = MemoryDatabase(name)
    async with database.watch("/a", on_connected=told.append) as watch:
        await watch.__anext__()
        saved = database.save()
        await database.put("/a/b", "1")
        await reaches(watch, lambda view: contents(view) == {"b": b"1"})
        database.cut()
        with pytest.raises(EndpointError, match="cut off"):
            await database.get("/a")
        await trio.testing.wait_all_tasks_blocked()
        assert not watch.connected
        database.restore(saved)
        database.mend()
        await reaches(watch, lambda view: contents(view) == {} and view.revision == saved.revision)
    assert told == [True, False, True, False]


def test_a_watch_can_be_cancelled_at_every_step():
    async def scenario() -> None:
        database = MemoryDatabase(uuid.uuid4().hex)
        told: list[bool] = []
        try:
            async with database.watch("/a", on_connected=told.append) as watch:
                for number in range(3):
                    await database.put("/a/b", str(number))
                    while contents(await watch.__anext__()) != {"b": str(number).encode()}:
                        pass
        finally:
            assert told in ([], [True, False])
            assert database._store.inboxes == []

    assert cancel_at_every_step(scenario) > 5


def test_a_write_that_is_cancelled_is_done_or_not():
    async def scenario() -> None:
        database = MemoryDatabase(uuid.uuid4().hex)
        revision = None
        try:
            revision = await database.put("/a", "1")
        finally:
            with trio.CancelScope(shield=True):
                assert (await database.get("/a") is not None) is (revision is not None)

    assert cancel_at_every_step(scenario) > 0
