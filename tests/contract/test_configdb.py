"""The databases that need no server keep the contract; that of etcd is in ``tests/system``."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from queue_connector.configdb import ConfigDatabase
from queue_connector.configdb.memory import MemoryDatabase
from queue_connector.configdb.sdp import SdpDatabase
from tests.support.configdb_contract import ConfigDatabaseContract, reaches
from tests.support.sdp_stand_in import Library


class TestMemory(ConfigDatabaseContract):
    @pytest.fixture
    async def database(self) -> AsyncIterator[ConfigDatabase]:
        async with MemoryDatabase(uuid.uuid4().hex) as database:
            yield database

    async def test_a_lease_that_is_not_renewed_ends(
        self, database: ConfigDatabase, path: str
    ) -> None:
        lease = await database.grant_lease(1)
        await database.transact({f"{path}/a": "1"}, lease=lease)
        async with database.watch(path) as watch:
            await reaches(watch, lambda view: set(view.values) == {"a"})
            await reaches(watch, lambda view: not view.values)
        assert await database.renew_lease(lease) is False


class TestSdp(ConfigDatabaseContract):
    @pytest.fixture
    async def database(self) -> AsyncIterator[ConfigDatabase]:
        library = Library()
        async with SdpDatabase(lambda: library.Config(backend="etcd3")) as database:
            yield database
        assert all(config.closed for config in library.opened)
