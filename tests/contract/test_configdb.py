"""The databases that need no server keep the contract; that of etcd is in ``tests/system``."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from queue_connector.configdb import ConfigDatabase
from queue_connector.configdb.memory import MemoryDatabase
from queue_connector.configdb.sdp import SdpDatabase
from tests.configdb_contract import ConfigDatabaseContract
from tests.sdp_stand_in import Library


class TestMemory(ConfigDatabaseContract):
    @pytest.fixture
    async def database(self) -> AsyncIterator[ConfigDatabase]:
        async with MemoryDatabase(uuid.uuid4().hex) as database:
            yield database


class TestSdp(ConfigDatabaseContract):
    @pytest.fixture
    async def database(self) -> AsyncIterator[ConfigDatabase]:
        library = Library()
        async with SdpDatabase(lambda: library.Config(backend="etcd3")) as database:
            yield database
        assert all(config.closed for config in library.opened)
