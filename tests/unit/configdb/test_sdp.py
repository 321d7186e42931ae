import math
import sys
import threading

import pytest
import trio

from queue_connector.configdb import LeaseEndedError, from_environment, sdp
from queue_connector.configdb.sdp import SdpDatabase
from queue_connector.model.errors import EndpointError
from tests.support.configdb_contract import contents, eventually, reaches
from tests.support.sdp_stand_in import Library


@pytest.fixture
def library(monkeypatch) -> Library:
    library = Library()
    monkeypatch.setitem(sys.modules, "ska_sdp_config", library)
    return library


def chosen(**more: str) -> SdpDatabase:
    database = from_environment({"SDP_CONFIG_BACKEND": "ska-sdp-config", **more})
    assert isinstance(database, SdpDatabase)
    return database


async def test_the_installed_library_is_used(library):
    library.values = {"/a/b": "1"}
    async with chosen() as database:
        assert (await database.get("/a/b")).value == b"1"
    assert [config.closed for config in library.opened] == [True]


async def test_revisions_tell_whether_a_value_was_changed_by_others(library):
    library.values = {"/a": "1"}
    async with chosen() as database:
        first = await database.get("/a")
        assert await database.get("/a") == first
        library.values["/a"] = "2"
        assert await database.compare_and_swap("/a", "no", first.mod_revision) is None
        second = await database.get("/a")
        assert second.mod_revision > first.mod_revision
        assert await database.compare_and_swap("/a", "3", second.mod_revision) is not None
    assert library.values == {"/a": "3"}


async def test_what_the_library_raises_is_an_endpoint_error_without_secrets(library):
    async with chosen(SDP_CONFIG_USERNAME="me", SDP_CONFIG_PASSWORD="s3cret") as database:
        library.failure = RuntimeError("s3cret was refused")
        with pytest.raises(EndpointError) as raised:
            await database.get("/a")
    assert str(raised.value) == "ska-sdp-config: get /a failed: RuntimeError: *** was refused"


async def test_a_watch_that_fails_is_tried_again(library, monkeypatch):
    monkeypatch.setattr(sdp, "RETRY_DELAY", 0.01)
    library.failure = RuntimeError("no database")
    told: list[bool] = []
    async with chosen().watch("/a", on_connected=told.append) as watch:
        await watch.__anext__()
        await eventually(lambda: watch.connected)
        library.failure = RuntimeError("lost")
        with library.changed:
            library.values["/a/b"] = "1"
            library.changed.notify_all()
        await reaches(watch, lambda view: contents(view) == {"b": b"1"})
    assert told == [True, False, True, False]


async def test_a_cancelled_watch_leaves_no_thread(library):
    async with chosen().watch("/a") as watch:
        await watch.__anext__()
        began = trio.current_time()
    assert trio.current_time() - began < sdp.LOOK_PERIOD / 2
    assert all(config.closed for config in library.opened)
    assert threading.active_count() < 20


async def test_a_write_that_fails_counts_as_one_under_a_lease_that_has_ended(library):
    """The library does not tell which it is; whoever writes begins with a new lease."""
    async with chosen() as database:
        lease = await database.grant_lease(10)
        library.failure = RuntimeError("lease not found")
        with pytest.raises(LeaseEndedError, match="lease not found"):
            await database.transact({"/a": "1"}, lease=lease)
        library.failure = RuntimeError("without a lease it is what it is")
        with pytest.raises(EndpointError) as raised:
            await database.transact({"/a": "1"})
        assert type(raised.value) is EndpointError


async def test_leases_end_with_the_connection(library):
    async with chosen() as database:
        lease = await database.grant_lease(10)
        await database.transact({"/a": "1"}, lease=lease)
        await database.transact({"/a": "2"}, lease=lease)
        await database.put("/b", "stays")
        assert library.values == {"/a": "2", "/b": "stays"}
    assert library.values == {"/b": "stays"}


async def test_whether_a_lease_of_another_lives_is_not_known(library):
    async with chosen() as database:
        assert await database.lease_remaining(12345) == math.inf
