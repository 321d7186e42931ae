"""What every configuration database must do: inherit it and give a fixture ``database``."""

from __future__ import annotations

import math
import uuid
from collections.abc import Awaitable, Callable

import pytest
import trio

from queue_connector.configdb import (
    ABSENT,
    EXISTS,
    MAX_OPERATIONS,
    Children,
    ConfigDatabase,
    LeaseEndedError,
    Level,
    Watch,
)
from queue_connector.model.errors import ConfigError
from tests.support.waiting import until

PATIENCE = 20.0  # s, for a machine that others use too


def contents(view: Children) -> dict[str, bytes]:
    return {name: versioned.value for name, versioned in view.values.items()}


async def reaches(watch: Watch[Children], wanted: Callable[[Children], bool]) -> Children:
    """The first view that is *wanted*; the ones before it may have collapsed, or not."""
    with trio.fail_after(PATIENCE):
        async for view in watch:
            if wanted(view):
                return view
    raise AssertionError


async def eventually(condition: Callable[[], bool]) -> None:
    with trio.fail_after(PATIENCE):
        await until(condition)


class ConfigDatabaseContract:
    """The contract of `queue_connector.configdb.ConfigDatabase`."""

    @pytest.fixture
    def path(self) -> str:
        return f"/test/{uuid.uuid4().hex}/owner"

    async def test_what_is_put_is_got(self, database: ConfigDatabase, path: str) -> None:
        assert await database.get(path) is None
        for value in ('{"a": "ü"}', ""):
            revision = await database.put(path, value)
            found = await database.get(path)
            assert (found.value, found.mod_revision) == (value.encode(), revision)

    async def test_revisions_grow(self, database: ConfigDatabase, path: str) -> None:
        revisions = [await database.put(path, "same") for _ in range(3)]
        revisions.append(await database.put(f"{path}/other", "same"))
        assert revisions == sorted(set(revisions))
        assert (await database.get(path)).mod_revision == revisions[2]

    async def test_delete_says_whether_there_was_something(
        self, database: ConfigDatabase, path: str
    ) -> None:
        await database.put(path, "value")
        assert await database.delete(path) is True
        assert await database.delete(path) is False
        assert await database.get(path) is None

    async def test_compare_and_swap_writes_over_what_is_expected_only(
        self, database: ConfigDatabase, path: str
    ) -> None:
        first = await database.compare_and_swap(path, "1", ABSENT)
        assert first is not None
        assert await database.compare_and_swap(path, "no", ABSENT) is None
        second = await database.compare_and_swap(path, "2", first)
        assert second is not None
        assert second > first
        assert await database.compare_and_swap(path, "no", first) is None
        assert await database.compare_and_swap(path, None, first) is None
        assert (await database.get(path)).value == b"2"
        assert await database.compare_and_swap(path, None, second) is not None
        assert await database.get(path) is None

    async def test_of_many_that_count_with_compare_and_swap_none_is_lost(
        self, database: ConfigDatabase, path: str
    ) -> None:
        await database.put(path, "0")

        async def count() -> None:
            while True:
                found = await database.get(path)
                number = str(int(found.value) + 1)
                if await database.compare_and_swap(path, number, found.mod_revision):
                    return

        with trio.fail_after(PATIENCE):
            async with trio.open_nursery() as nursery:
                for _ in range(8):
                    nursery.start_soon(count)
        assert (await database.get(path)).value == b"8"

    async def test_a_transaction_is_all_or_nothing(
        self, database: ConfigDatabase, path: str
    ) -> None:
        kept = await database.put(f"{path}/kept", "1")
        changes = {f"{path}/new": "n", f"{path}/kept": None, f"{path}/never": None}
        for expected in (
            {f"{path}/new": EXISTS},
            {f"{path}/kept": ABSENT},
            {f"{path}/kept": kept + 1000},
            {f"{path}/kept": EXISTS, f"{path}/new": EXISTS},
        ):
            assert await database.transact(changes, expected=expected) is None
        assert contents(await database.children(path)) == {"kept": b"1"}
        expected = {f"{path}/kept": EXISTS, f"{path}/new": ABSENT}
        revision = await database.transact(changes, expected=expected)
        view = await database.children(path)
        assert contents(view) == {"new": b"n"}
        assert view.values["new"].mod_revision == revision
        assert view.revision >= revision

    async def test_a_transaction_has_a_limit(self, database: ConfigDatabase, path: str) -> None:
        most = {f"{path}/{number}": "" for number in range(MAX_OPERATIONS)}
        assert await database.transact(most, expected=dict.fromkeys(most, ABSENT)) is not None
        assert len((await database.children(path)).values) == MAX_OPERATIONS
        with pytest.raises(ValueError, match="at most 128 changes"):
            await database.transact({**most, f"{path}/more": ""})
        with pytest.raises(ValueError, match="at most 128 changes"):
            await database.transact({}, expected={**dict.fromkeys(most, 1), path: 1})

    async def test_what_is_written_under_a_lease_goes_with_it(
        self, database: ConfigDatabase, path: str
    ) -> None:
        lease = await database.grant_lease(60)
        assert await database.renew_lease(lease) is True
        assert (await database.lease_remaining(lease) or 0) > 50
        async with database.watch(path) as watch:
            await database.transact({f"{path}/a": "1", f"{path}/b": "1"}, lease=lease)
            await database.transact({f"{path}/a": "2", f"{path}/c": "2"}, lease=lease)
            await database.put(f"{path}/b", "stays: the last write had no lease")
            await database.put(f"{path}/d", "never had one")
            await reaches(watch, lambda view: set(contents(view)) == set("abcd"))
            await database.revoke_lease(lease)
            await reaches(watch, lambda view: set(contents(view)) == set("bd"))
        await database.revoke_lease(lease)
        assert await database.renew_lease(lease) is False
        assert await database.lease_remaining(lease) is None
        with pytest.raises(LeaseEndedError):
            await database.transact({f"{path}/a": "3"}, lease=lease)
        assert await database.get(f"{path}/a") is None

    async def test_a_lease_ends_alone_without_the_others(
        self, database: ConfigDatabase, path: str
    ) -> None:
        first, second = await database.grant_lease(60), await database.grant_lease(60)
        assert first != second
        await database.transact({f"{path}/a": "1"}, lease=first)
        await database.transact({f"{path}/b": "1"}, lease=second)
        await database.transact({f"{path}/a": "2"}, lease=second)
        await database.revoke_lease(first)
        assert contents(await database.children(path)) == {"a": b"2", "b": b"1"}
        assert await database.renew_lease(second) is True

    async def test_children_are_direct(self, database: ConfigDatabase, path: str) -> None:
        for key in (f"{path}/a", f"{path}/b", f"{path}/a/state", f"{path}2/c", f"{path}2"):
            await database.put(key, key)
        view = await database.children(path)
        assert contents(view) == {name: f"{path}/{name}".encode() for name in "ab"}
        assert view.own is None
        await database.put(path, "own")
        assert (await database.children(path)).own.value == b"own"

    @pytest.mark.parametrize(
        "bad", ["", "/", "a/b", "/a/", "//a", "/a//b", "/a\n", "/a\0b", "/\ud800"]
    )
    async def test_what_is_no_path_is_refused(self, database: ConfigDatabase, bad: str) -> None:
        async def watch() -> None:
            async with database.watch(bad):
                pass

        operations: list[Callable[[], Awaitable[object]]] = [
            lambda: database.get(bad),
            lambda: database.children(bad),
            lambda: database.put(bad, ""),
            lambda: database.delete(bad),
            lambda: database.compare_and_swap(bad, "", ABSENT),
            lambda: database.transact({}, expected={bad: EXISTS}),
            watch,
        ]
        for operation in operations:
            with pytest.raises(ConfigError, match="a path"):
                await operation()

    async def test_a_watch_begins_with_what_is_there(
        self, database: ConfigDatabase, path: str
    ) -> None:
        async with database.watch(path) as watch:
            assert contents(await watch.__anext__()) == {}
        revision = await database.put(f"{path}/a", "1")
        async with database.watch(path) as watch:
            with trio.fail_after(PATIENCE):
                view = await watch.__anext__()
            assert contents(view) == {"a": b"1"}
            assert view.revision >= view.values["a"].mod_revision
            assert type(view.values["a"].mod_revision) is type(revision)

    async def test_a_watch_sees_every_kind_of_change(
        self, database: ConfigDatabase, path: str
    ) -> None:
        async with database.watch(path) as watch:
            await database.put(f"{path}/a", "1")
            await reaches(watch, lambda view: contents(view) == {"a": b"1"})
            await database.put(f"{path}/b", "2")
            await reaches(watch, lambda view: contents(view) == {"a": b"1", "b": b"2"})
            await database.put(f"{path}/a", "3")
            await reaches(watch, lambda view: contents(view) == {"a": b"3", "b": b"2"})
            await database.delete(f"{path}/a")
            await reaches(watch, lambda view: contents(view) == {"b": b"2"})
            await database.put(path, "own")
            view = await reaches(watch, lambda view: view.own is not None)
            assert (view.own.value, contents(view)) == (b"own", {"b": b"2"})
            await database.delete(path)
            await reaches(watch, lambda view: view.own is None)

    async def test_a_watch_sleeps_through_what_is_deeper_or_beside(
        self, database: ConfigDatabase, path: str
    ) -> None:
        async with database.watch(path) as watch:
            await database.put(f"{path}/a", "1")
            await reaches(watch, lambda view: bool(view.values))
            for key in (f"{path}/a/state", f"{path}2/a", f"{path}2"):
                await database.put(key, "not to be seen")
            with trio.move_on_after(0.2):
                view = await watch.__anext__()
                assert contents(view) == {"a": b"1"}
            await database.put(f"{path}/b", "2")
            view = await reaches(watch, lambda view: "b" in view.values)
            assert contents(view) == {"a": b"1", "b": b"2"}
            assert view.own is None

    async def test_while_the_reader_is_busy_views_collapse_into_the_last(
        self, database: ConfigDatabase, path: str
    ) -> None:
        async with database.watch(path) as watch:
            await watch.__anext__()
            for number in range(50):
                await database.put(f"{path}/a", str(number))
            seen = []
            await reaches(watch, lambda view: seen.append(contents(view)["a"]) or seen[-1] == b"49")
            assert len(seen) < 50

    async def test_a_transaction_is_seen_whole(self, database: ConfigDatabase, path: str) -> None:
        async with database.watch(path) as watch:
            for number in range(10):
                await database.transact({f"{path}/{name}": str(number) for name in "abc"})
                while True:
                    with trio.fail_after(PATIENCE):
                        found = contents(await watch.__anext__())
                    assert len(set(found.values())) <= 1
                    if found.get("a") == str(number).encode():
                        break

    async def test_levels_are_followed_together_and_a_transaction_over_them_is_seen_whole(
        self, database: ConfigDatabase, path: str
    ) -> None:
        levels = [Level(path), Level(path, 2), Level(f"{path}-2")]
        paths = [f"{path}/a", f"{path}/a/state", f"{path}/a/owner", f"{path}-2/c"]
        await database.put(f"{path}/a/state/deeper", "no")
        await database.put(path, "no")
        async with database.watch_levels("three levels", levels) as watch:
            for number in range(10):
                await database.transact(dict.fromkeys(paths, str(number)))
                while True:
                    with trio.fail_after(PATIENCE):
                        view = await watch.__anext__()
                    found = {path: versioned.value for path, versioned in view.values.items()}
                    assert len({*found.values()}) <= 1
                    if number and found:
                        assert [*sorted(found)] == sorted(paths)
                    if found.get(paths[0]) == str(number).encode():
                        break
            now = await database.view(levels)
            assert {*now.values} == {*paths}
            await database.transact(dict.fromkeys(paths))
            with trio.fail_after(PATIENCE):
                while (await watch.__anext__()).values:
                    pass

    async def test_a_cancelled_wait_loses_nothing(
        self, database: ConfigDatabase, path: str
    ) -> None:
        async with database.watch(path) as watch:
            await reaches(watch, lambda view: True)
            with trio.move_on_after(0.02):
                await watch.__anext__()
            await database.put(f"{path}/a", "1")
            for delay in (-math.inf, 0, 0.001):
                with trio.CancelScope(deadline=trio.current_time() + delay) as scope:
                    scope.cancel()
                    await watch.__anext__()
            await reaches(watch, lambda view: contents(view) == {"a": b"1"})

    async def test_a_watch_tells_whether_it_is_connected(
        self, database: ConfigDatabase, path: str
    ) -> None:
        told: list[bool] = []
        async with database.watch(path, on_connected=told.append) as watch:
            await eventually(lambda: watch.connected)
            assert watch.problem == ""
        assert told == [True, False]
        assert not watch.connected
        assert watch.problem == "stopped"

    async def test_watches_do_not_disturb_each_other(
        self, database: ConfigDatabase, path: str
    ) -> None:
        async with database.watch(path) as first:
            async with database.watch(path) as second:
                await database.put(f"{path}/a", "1")
                for watch in (first, second):
                    await reaches(watch, lambda view: contents(view) == {"a": b"1"})
            await database.put(f"{path}/a", "2")
            await reaches(first, lambda view: contents(view) == {"a": b"2"})
