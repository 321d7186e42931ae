"""What a monitor tells etcd and what it makes of etcd, with the server hurt and the keys odd."""

from __future__ import annotations

import json
import logging
import socket
from base64 import b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio

from queue_connector.configdb.etcd import EtcdDatabase
from queue_connector.configdb.gateway import Credentials, Gateway
from queue_connector.engine.supervisor import Supervisor, open_supervisor
from queue_connector.model import texts
from queue_connector.reconfiguration.monitor import Monitor
from queue_connector.testing.endpoints import Attributes
from tests.services.etcd import EtcdServer
from tests.support.configdb_contract import eventually

PATH = "/component/lmc-queueconnector-01/owner"
ODD = ["x" * 2000, "a\0b", "a\tb", "a\nb", "a\xa0b", "a\u200fb", "a\u200bb", "a\x1b[2Jb"]
HOST = socket.gethostname()


def text(*attributes: str) -> str:
    source = {"type": "InMemorySource", "data": [1.5], "delay": 3600}
    exchanges = [
        {
            "dtype": "float64",
            "source": source,
            "sink": {"type": "TangoLocalAttributeSink", "attribute_name": name},
        }
        for name in attributes
    ]
    return json.dumps({"exchanges": exchanges})


class Following:
    """A device without Tango: a supervisor and a monitor, on a client of its own."""

    def __init__(self, database: EtcdDatabase, path: str, supervisor: Supervisor, device: str):
        self.database = database
        self.path = path
        self.supervisor = supervisor
        self.monitor = Monitor(database, path, supervisor, device=device)

    async def told(self, child: str, what: str = "state") -> Any:
        found = await self.database.get(f"{self.path}/{child}/{what}")
        return None if found is None else json.loads(found.value)

    async def tells(self, child: str, **wanted: Any) -> dict[str, Any]:
        """Wait until the state of *child* says so."""
        with trio.fail_after(30):
            while True:
                found = await self.told(child)
                if found is not None and wanted.items() <= found.items():
                    return found
                await trio.sleep(0.02)

    async def tells_nothing(self, child: str) -> None:
        with trio.fail_after(30):
            while await self.told(child) is not None:  # noqa: ASYNC110 - nothing else tells it
                await trio.sleep(0.02)


@asynccontextmanager
async def following(
    etcd: EtcdServer, path: str = PATH, device: str = "a/b/c", **options: Any
) -> AsyncIterator[Following]:
    gateway = Gateway([etcd.endpoint], timeout=1.5, **options)
    monitors: list[Monitor] = []
    async with (
        open_supervisor(
            attributes=Attributes(), on_change=lambda: [m.group_changed() for m in monitors]
        ) as supervisor,
        trio.open_nursery() as nursery,
    ):
        database = EtcdDatabase(gateway, probe_period=0.5)
        found = Following(database, path, supervisor, device)
        monitors.append(found.monitor)
        nursery.start_soon(found.monitor.run)
        await eventually(lambda: found.monitor.connected)
        yield found
        nursery.cancel_scope.cancel()


async def raw(etcd: EtcdServer, key: bytes, value: str | None) -> None:
    """Write or delete a key that is no path, as any client can."""
    encoded = b64encode(key).decode()
    body: dict[str, str] = {"key": encoded}
    if value is not None:
        body["value"] = b64encode(value.encode()).decode()
    operation = "deleterange" if value is None else "put"
    gateway = Gateway([etcd.endpoint])
    await gateway.call(operation, f"/v3/kv/{operation}", body, repeatable=True)
    await gateway.aclose()


@pytest.mark.parametrize("name", [*ODD, "", ".", "..", "a b", "ü", "x" * 200])
async def test_an_odd_key_is_no_more_than_a_fault_of_its_own(
    name: str, own_etcd: EtcdServer
) -> None:
    async with following(own_etcd) as device:
        await raw(own_etcd, f"4{PATH}/{name}".encode(), text("odd"))
        await device.database.put(f"{PATH}/good", text("good"))
        await device.tells("good", state="ON")
        if name and name not in ODD:
            assert (await device.tells(name, state="ON"))["device"] == "a/b/c"
        elif name:
            fault = device.supervisor.groups[texts.name(name)].fault
            assert "is no name of a group (use printable characters, at most 255)" in fault.message
            assert fault.message.isprintable()
        await raw(own_etcd, f"4{PATH}/{name}".encode(), None)
        await eventually(lambda: set(device.supervisor.groups) == {"good"})
        await device.database.put(f"{PATH}/later", text("later"))
        await device.tells("later", state="ON")
        assert device.monitor.problems == []


@pytest.mark.parametrize("value", [b"\xff\xfe\x00", b"", b"null", b"[" * 100_000, b"1" * 10_000])
async def test_a_value_that_is_no_configuration_is_a_fault_of_its_child(
    value: bytes, own_etcd: EtcdServer
) -> None:
    async with following(own_etcd) as device:
        await device.database.put(f"{PATH}/bad", value)
        await device.database.put(f"{PATH}/good", text("good"))
        await device.tells("good", state="ON")
        await device.tells("bad", state="FAULT")
        assert (await device.told("bad", "fault"))["error"] == "ConfigError"


async def test_keys_that_are_no_text_are_passed_over(own_etcd: EtcdServer) -> None:
    async with following(own_etcd) as device:
        await raw(own_etcd, f"4{PATH}/".encode() + b"\xff\xfe", text("odd"))
        await device.database.put(f"{PATH}/good", text("good"))
        await device.tells("good", state="ON")
        assert set(device.supervisor.groups) == {"good"}


async def test_ten_thousand_faults_do_not_keep_others_from_being_told(
    own_etcd: EtcdServer,
) -> None:
    faulty = {f"key{number}": number for number in range(10_000)}
    many = json.dumps({f"group{n}": [{"source": 1, "sink": 1, **faulty}] for n in range(3)})
    async with following(own_etcd) as device:
        await device.database.put(f"{PATH}/a", f'{{"exchanges": {many}}}')
        await device.database.put(f"{PATH}/good", text("good"))
        await device.tells("a", state="FAULT")
        fault = await device.told("a", "fault")
        assert len(json.dumps(fault)) < 30_000
        assert "more faults" in fault["message"]
        await device.tells("good", state="ON")
        assert len(device.supervisor.status) < 10_000


def lock(server: EtcdServer, *writable: str) -> dict[str, Any]:
    """Let "me" read everything below the path, and write some; how to be "me"."""
    server.etcdctl("user", "add", "root:r00t")
    server.etcdctl("user", "grant-role", "root", "root")
    server.etcdctl("user", "add", "me:s3cret")
    server.etcdctl("role", "add", "connector")
    for key in (f"3{PATH}", f"4{PATH}/", f"5{PATH}/"):
        grant = ("role", "grant-permission", "connector", "--prefix=true")
        server.etcdctl(*grant, "read", key)
    for key in writable:
        server.etcdctl("role", "grant-permission", "connector", "--prefix=true", "readwrite", key)
    server.etcdctl("user", "grant-role", "me", "connector")
    server.etcdctl("auth", "enable")
    return {"credentials": Credentials("me", "s3cret")}


async def test_a_write_that_is_denied_stops_no_other_and_is_told_once(
    own_etcd: EtcdServer, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b", "good"):
        own_etcd.etcdctl("put", f"4{PATH}/{name}", text(name))
    credentials = lock(own_etcd, f"5{PATH}/good/")
    with caplog.at_level(logging.WARNING):
        async with following(own_etcd, **credentials) as device:
            await device.tells("good", state="ON")
            told = f"{PATH}: the state of a and 1 other is not written: etcdserver: permission"
            await eventually(lambda: any(p.startswith(told) for p in device.monitor.problems))
            await trio.sleep(1)
            alone = f"{PATH}: keeping others from streaming it too is refused: etcdserver"
            await eventually(lambda: any(p.startswith(alone) for p in device.monitor.problems))
            for told in ("is not written", "is refused"):
                lines = [record for record in caplog.records if told in record.message]
                assert [line.levelno for line in lines] == [logging.WARNING], told
            root = ("--user=root:r00t", "role", "grant-permission", "connector", "--prefix=true")
            await trio.to_thread.run_sync(own_etcd.etcdctl, *root, "readwrite", f"5{PATH}/")
            await device.tells("a", state="ON")
            await device.tells("b", state="ON")
            await eventually(lambda: device.monitor.problems == [])


@pytest.fixture
def short_leases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("queue_connector.reconfiguration.reporter.LEASE", 2)
    monkeypatch.setattr("queue_connector.reconfiguration.reporter.PERIOD", 0.5)


async def test_a_state_ends_with_the_device_that_told_it(own_etcd: EtcdServer) -> None:
    async with following(own_etcd) as device:
        revision = await device.database.put(f"{PATH}/my_id", text("a"))
        state = await device.tells("my_id", state="ON", revision=revision)
        assert (state["device"], state["host"]) == ("a/b/c", HOST)
        lease = own_etcd.etcdctl("lease", "timetolive", state["lease"])
        assert "granted with TTL(10s)" in lease
    left = own_etcd.etcdctl("get", "--prefix", "--print-value-only", f"5{PATH}/")
    assert json.loads(left)["released"] is True, "and that ends with its lease"
    assert "already expired" in own_etcd.etcdctl("lease", "timetolive", state["lease"])


async def test_after_an_outage_that_ends_the_lease_everything_is_told_again(
    own_etcd: EtcdServer, short_leases: None
) -> None:
    async with following(own_etcd) as device:
        for name in ("a", "b"):
            await device.database.put(f"{PATH}/{name}", text(name))
        leases = {(await device.tells(name, state="ON"))["lease"] for name in ("a", "b")}
        own_etcd.freeze()
        await eventually(lambda: not device.monitor.connected)
        await trio.sleep(2.5)
        own_etcd.thaw()
        await eventually(lambda: device.monitor.connected)
        later = {(await device.tells(name, state="ON"))["lease"] for name in ("a", "b")}
        await trio.sleep(2.5)
        later |= {(await device.tells(name, state="ON"))["lease"] for name in ("a", "b")}
        assert len(leases) == 1
        assert device.monitor.problems == []
        assert not later & leases or len(later) == 1


async def test_a_lease_that_somebody_revokes_and_a_state_that_somebody_deletes_come_again(
    own_etcd: EtcdServer, short_leases: None
) -> None:
    async with following(own_etcd) as device:
        await device.database.put(f"{PATH}/a", text("a"))
        state = await device.tells("a", state="ON")
        own_etcd.etcdctl("lease", "revoke", state["lease"])
        assert (await device.tells("a", state="ON"))["lease"] != state["lease"]
        own_etcd.etcdctl("del", f"5{PATH}/a/state")
        await device.tells("a", state="ON")
        own_etcd.etcdctl("put", f"5{PATH}/a/state", '{"state": "forged"}')
        await device.tells("a", state="ON")
