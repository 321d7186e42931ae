"""The client of etcd against etcd itself: stopped, killed, frozen, compacted, restored, locked."""

from __future__ import annotations

import random
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trio

from queue_connector.configdb import ConfigDatabase, from_environment
from queue_connector.configdb.etcd import EtcdDatabase
from queue_connector.configdb.gateway import Credentials, Gateway
from queue_connector.model.errors import EndpointError
from tests.services.etcd import EtcdServer, find_etcd_program
from tests.services.process import free_port
from tests.support.configdb_contract import ConfigDatabaseContract, contents, eventually, reaches

PATH = "/component/lmc-queueconnector-01/owner"


@asynccontextmanager
async def impatient(*endpoints: str) -> AsyncIterator[EtcdDatabase]:
    """A client that notices silence within some two seconds."""
    async with EtcdDatabase(Gateway(endpoints, timeout=1.5), probe_period=0.5) as database:
        yield database


async def test_a_read_that_is_given_up_does_the_server_no_harm(own_etcd: EtcdServer) -> None:
    """Servers before 3.5.5 die of a transaction that only reads and is given up."""
    values, chance = (
        {f"{PATH}/{number:03}": "x" * 10_000 for number in range(100)},
        random.Random(1),
    )
    async with impatient(own_etcd.endpoint) as database:
        await database.transact(values)
        for _ in range(200):
            with trio.move_on_after(chance.uniform(0, 0.03)):
                await database.children(PATH)
        assert own_etcd.running
        assert len((await database.children(PATH)).values) == len(values)


class TestEtcd(ConfigDatabaseContract):
    @pytest.fixture
    async def database(self, etcd: EtcdServer) -> AsyncIterator[ConfigDatabase]:
        environment = {"SDP_CONFIG_HOST": etcd.host, "SDP_CONFIG_PORT": str(etcd.port)}
        async with from_environment(environment) as database:
            yield database

    async def test_etcdctl_and_we_read_what_the_other_wrote(
        self, etcd: EtcdServer, database: ConfigDatabase, path: str
    ) -> None:
        async with database.watch(path) as watch:
            await trio.to_thread.run_sync(etcd.etcdctl, "put", f"4{path}/group", "by hand")
            await reaches(watch, lambda view: contents(view) == {"group": b"by hand"})
        await database.put(f"{path}/group", "by us")
        assert etcd.etcdctl("get", "--print-value-only", f"4{path}/group") == "by us\n"

    async def test_bytes_that_are_no_text_are_carried(
        self, database: ConfigDatabase, path: str
    ) -> None:
        await database.put(f"{path}/a", bytes(range(256)))
        assert contents(await database.children(path)) == {"a": bytes(range(256))}

    async def test_a_lease_that_is_not_renewed_ends(
        self, database: ConfigDatabase, path: str
    ) -> None:
        lease = await database.grant_lease(2)
        await database.transact({f"{path}/a": "1"}, lease=lease)
        async with database.watch(path) as watch:
            await reaches(watch, lambda view: set(view.values) == {"a"})
            await reaches(watch, lambda view: not view.values)
        assert await database.renew_lease(lease) is False

    async def test_a_value_that_is_too_large_is_refused(
        self, database: ConfigDatabase, path: str
    ) -> None:
        with pytest.raises(EndpointError, match=r"larger than max|too large"):
            await database.put(path, "x" * 2_000_000)
        await database.put(path, "x" * 1_000_000)

    async def test_what_is_put_is_seen_at_once(
        self, database: ConfigDatabase, path: str, capsys: pytest.CaptureFixture[str]
    ) -> None:
        times = []
        async with database.watch(path) as watch:
            await eventually(lambda: watch.connected)
            for number in range(300):
                text = str(number).encode()
                began = trio.current_time()
                await database.put(f"{path}/a", text)
                await reaches(watch, lambda view, text=text: contents(view) == {"a": text})
                times.append(1000 * (trio.current_time() - began))
        times.sort()
        p50, p99 = times[150], times[297]
        with capsys.disabled():
            print(f"\netcd: put -> seen p50 {p50:.1f} ms, p99 {p99:.1f} ms, 300 puts")
        assert p50 < 100  # ten times what a loaded machine shows


@pytest.mark.parametrize("end", ["stop", "kill"])
async def test_a_restart_loses_nothing(end: str, controlled_etcd: EtcdServer) -> None:
    told: list[bool] = []
    async with (
        impatient(controlled_etcd.endpoint) as database,
        database.watch(f"{PATH}/{end}", on_connected=told.append) as watch,
    ):
        await eventually(lambda: watch.connected)
        await database.put(f"{PATH}/{end}/a", "before")
        await database.put(f"{PATH}/{end}/b", "stays")
        await reaches(watch, lambda view: len(view.values) == 2)
        getattr(controlled_etcd, end)()
        await eventually(lambda: not watch.connected)
        with pytest.raises(EndpointError):
            await database.put(f"{PATH}/{end}/a", "not possible")
        await trio.to_thread.run_sync(controlled_etcd.start)
        # By another client, perhaps before our watch is back: it has to be seen all the same.
        await trio.to_thread.run_sync(controlled_etcd.etcdctl, "put", f"5{PATH}/{end}/a", "after")
        await reaches(watch, lambda view: contents(view) == {"a": b"after", "b": b"stays"})
        await eventually(lambda: watch.connected)
    assert told == [True, False, True, False]


async def test_of_writes_over_restarts_the_last_is_seen(controlled_etcd: EtcdServer) -> None:
    written = 0
    path = f"{PATH}/restarts"
    async with impatient(controlled_etcd.endpoint) as database, trio.open_nursery() as nursery:

        async def write() -> None:
            nonlocal written
            while True:
                try:
                    await database.put(f"{path}/n", str(written + 1))
                    written += 1
                except EndpointError:
                    await trio.sleep(0.05)
                await trio.sleep(0.001)

        async with database.watch(path) as watch:
            nursery.start_soon(write)
            for _ in range(3):
                await trio.sleep(0.3)
                controlled_etcd.kill()
                await trio.to_thread.run_sync(controlled_etcd.start)
            seen = written
            await reaches(watch, lambda view: int(contents(view)["n"]) > seen)
            nursery.cancel_scope.cancel()
    assert written > 50


async def test_a_frozen_server_is_noticed(controlled_etcd: EtcdServer) -> None:
    path = f"{PATH}/frozen"
    async with impatient(controlled_etcd.endpoint) as database, database.watch(path) as watch:
        await eventually(lambda: watch.connected)
        controlled_etcd.freeze()
        began = trio.current_time()
        await eventually(lambda: not watch.connected)
        assert trio.current_time() - began < 10
        assert "no answer within 1.5 s" in watch.problem
        with pytest.raises(EndpointError, match=r"no answer within 1\.5 s"):
            await database.get(path)
        await trio.sleep(max(0, began + 6 - trio.current_time()))
        controlled_etcd.thaw()
        await eventually(lambda: watch.connected)
        await database.put(f"{path}/a", "after")
        await reaches(watch, lambda view: contents(view) == {"a": b"after"})


async def test_a_frozen_server_does_not_delay_the_end(controlled_etcd: EtcdServer) -> None:
    async with impatient(controlled_etcd.endpoint) as database, database.watch(PATH) as watch:
        await eventually(lambda: watch.connected)
        controlled_etcd.freeze()
        began = trio.current_time()
    assert trio.current_time() - began < 1


class Line:
    """A way to a server on which connections can be cut so that neither end is told."""

    def __init__(self, server: EtcdServer) -> None:
        self._server = server
        self._watching: list[trio.CancelScope] = []
        self._others: list[trio.CancelScope] = []
        self.endpoint = ""

    async def serve(self, task_status: trio.TaskStatus[None]) -> None:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.endpoint = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        task_status.started()
        await trio.serve_listeners(self._carry, [listener])

    async def _carry(self, near: trio.SocketStream) -> None:
        far = await trio.open_tcp_stream("127.0.0.1", self._server.port)
        answers = trio.CancelScope()
        async with far, trio.open_nursery() as nursery:
            nursery.start_soon(self._answer, far, near, answers)
            async for data in near:
                (self._watching if b"/v3/watch" in data else self._others).append(answers)
                await far.send_all(data)
            nursery.cancel_scope.cancel()

    async def _answer(
        self, far: trio.SocketStream, near: trio.SocketStream, scope: trio.CancelScope
    ) -> None:
        with scope:
            async for data in far:
                await near.send_all(data)

    def cut(self, *, watching_only: bool) -> None:
        for scope in (*self._watching, *(() if watching_only else self._others)):
            scope.cancel()


@pytest.mark.parametrize("change", ["put", "delete", "own"])
@pytest.mark.parametrize("watching_only", [True, False])
async def test_a_connection_that_is_cut_without_a_word_is_noticed(
    change: str, watching_only: bool, controlled_etcd: EtcdServer
) -> None:
    path = f"{PATH}/cut/{change}/{watching_only}"
    line = Line(controlled_etcd)
    async with trio.open_nursery() as nursery:
        await nursery.start(line.serve)
        async with impatient(line.endpoint) as database, database.watch(path) as watch:
            await database.transact({f"{path}/a": "1", f"{path}/b": "1"})
            await reaches(watch, lambda view: set(view.values) == {"a", "b"})
            await eventually(lambda: watch.connected)
            line.cut(watching_only=watching_only)
            key = f"{5 + 2}{path}/a"
            command = {"put": ("put", key, "2"), "delete": ("del", key)}.get(
                change, ("put", f"{4 + 2}{path}", "own")
            )
            began = trio.current_time()
            await trio.to_thread.run_sync(controlled_etcd.etcdctl, *command)
            await reaches(
                watch,
                lambda view: (
                    {"put": contents(view).get("a") == b"2", "delete": set(view.values) == {"b"}}
                ).get(change, view.own is not None),
            )
            assert trio.current_time() - began < 6
            await eventually(lambda: watch.connected)
            await trio.sleep(1.2)
            assert watch.connected, "two comparisons later"
        nursery.cancel_scope.cancel()


async def test_what_was_compacted_while_away_is_seen_all_the_same(own_etcd: EtcdServer) -> None:
    async with impatient(own_etcd.endpoint) as database, database.watch(PATH) as watch:
        await database.transact({f"{PATH}/a": "1", f"{PATH}/b": "1"})
        await reaches(watch, lambda view: len(view.values) == 2)
        own_etcd.freeze()
        await eventually(lambda: not watch.connected)
        own_etcd.kill()
        # It comes back at another port first, so that all of this happens behind our back.
        port, own_etcd.port = own_etcd.port, free_port()
        await trio.to_thread.run_sync(own_etcd.start)
        for value in "234":
            own_etcd.etcdctl("put", f"4{PATH}/a", value)
        own_etcd.etcdctl("del", f"4{PATH}/b")
        own_etcd.etcdctl("put", f"4{PATH}/c", "1")
        async with impatient(own_etcd.endpoint) as other:
            revision = (await other.children(PATH)).revision
        own_etcd.etcdctl("compaction", "--physical", str(revision))
        own_etcd.stop()
        own_etcd.port = port
        await trio.to_thread.run_sync(own_etcd.start)
        await reaches(watch, lambda view: contents(view) == {"a": b"4", "c": b"1"})
        await eventually(lambda: watch.connected)
        await database.delete(f"{PATH}/a")
        await reaches(watch, lambda view: contents(view) == {"c": b"1"})


def restore(server: EtcdServer, snapshot: str) -> None:
    """Put *snapshot* in the place of the server's data, as an operator does."""
    data = server.directory / "data"
    shutil.rmtree(data)
    peer = f"http://127.0.0.1:{server.peer_port}"
    subprocess.run(
        [find_etcd_program("etcdutl"), "snapshot", "restore", snapshot, f"--data-dir={data}",
         "--name=default", f"--initial-cluster=default={peer}",
         f"--initial-advertise-peer-urls={peer}"],
        check=True, capture_output=True, timeout=30,
    )  # fmt: skip


@pytest.mark.parametrize("later_writes", [0, 100])
async def test_an_older_snapshot_that_is_restored_is_seen(
    later_writes: int, own_etcd: EtcdServer, tmp_path: Path
) -> None:
    """Also when writes have taken the restored database past the revision that we knew."""
    saved = str(tmp_path / "snapshot")
    async with impatient(own_etcd.endpoint) as database, database.watch(PATH) as watch:
        await database.put(f"{PATH}/a", "old")
        own_etcd.etcdctl("snapshot", "save", saved)
        await database.put(f"{PATH}/a", "new")
        await database.put(f"{PATH}/b", "new")
        known = await reaches(watch, lambda view: len(view.values) == 2)
        own_etcd.stop()
        restore(own_etcd, saved)
        if later_writes:
            port, own_etcd.port = own_etcd.port, free_port()
            await trio.to_thread.run_sync(own_etcd.start)
            async with impatient(own_etcd.endpoint) as other:
                for number in range(later_writes):
                    await other.put(f"{PATH}/other/path", str(number))
            own_etcd.stop()
            own_etcd.port = port
        await trio.to_thread.run_sync(own_etcd.start)
        view = await reaches(watch, lambda view: contents(view) == {"a": b"old"})
        assert (view.revision > known.revision) is bool(later_writes)
        await eventually(lambda: watch.connected)
        await database.put(f"{PATH}/a", "newer")
        await reaches(watch, lambda view: contents(view) == {"a": b"newer"})


async def test_a_member_that_is_gone_is_left_for_another(own_etcd: EtcdServer) -> None:
    gone = f"http://127.0.0.1:{free_port()}"
    async with impatient(gone, own_etcd.endpoint) as database, database.watch(PATH) as watch:
        await database.put(f"{PATH}/a", "1")
        await reaches(watch, lambda view: contents(view) == {"a": b"1"})


async def test_a_password_is_exchanged_for_tokens_that_expire(
    etcd: EtcdServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    with EtcdServer(tmp_path / "locked", options=["--auth-token-ttl=1"]) as server:
        server.etcdctl("user", "add", "root", "--interactive=false", stdin="r00t\n")
        server.etcdctl("user", "grant-role", "root", "root")
        server.etcdctl("user", "add", "me:s3cret")
        server.etcdctl("role", "add", "connector")
        server.etcdctl(
            "role", "grant-permission", "connector", "--prefix=true", "readwrite", f"4{PATH}/"
        )
        server.etcdctl("role", "grant-permission", "connector", "readwrite", f"3{PATH}")
        server.etcdctl("user", "grant-role", "me", "connector")
        server.etcdctl("auth", "enable")

        def client(username: str, password: str) -> EtcdDatabase:
            return EtcdDatabase(
                Gateway([server.endpoint], credentials=Credentials(username, password), timeout=3),
                probe_period=30,  # a probe would keep the token alive
            )

        texts = []
        async with client("me", "s3cret") as database, database.watch(PATH) as watch:
            await database.put(f"{PATH}/a", "1")
            await reaches(watch, lambda view: contents(view) == {"a": b"1"})
            first = database._gateway._token
            lease = await database.grant_lease(30)
            await trio.sleep(3)
            assert await database.renew_lease(lease)  # with a token that is too old
            assert await database.lease_remaining(lease) > 20
            await database.transact({f"{PATH}/leased": "1"}, lease=lease)
            await database.revoke_lease(lease)
            assert await database.get(f"{PATH}/leased") is None
            await database.put(f"{PATH}/a", "2")
            await reaches(watch, lambda view: contents(view) == {"a": b"2"})
            assert database._gateway._token != first
            texts += [first, database._gateway._token]
            with pytest.raises(EndpointError, match="permission denied") as raised:
                await database.put("/elsewhere", "")
            # A change of anybody's rights makes tokens old; the open watch has to go on.
            server.etcdctl("--user=root:r00t", "role", "add", "another")
            await database.put(f"{PATH}/a", "3")
            await reaches(watch, lambda view: contents(view) == {"a": b"3"})
            # After a restart the server knows no token of before.
            lease = await database.grant_lease(30)
            server.kill()
            await trio.to_thread.run_sync(server.start)
            await eventually(lambda: watch.connected)
            assert await database.renew_lease(lease)
            await database.put(f"{PATH}/a", "4")
            await reaches(watch, lambda view: contents(view) == {"a": b"4"})
            texts.append(database._gateway._token)
        shown = [caplog.text, str(raised.value), repr(database)]
        async with client("me", "wrong-s3cret") as database:
            with pytest.raises(EndpointError, match="authentication failed") as raised:
                await database.get(PATH)
        async with EtcdDatabase(Gateway([server.endpoint])) as database:
            with pytest.raises(EndpointError, match="user name is empty"):
                await database.get(PATH)
        shown.append(str(raised.value))
        for secret in ("s3cret", *texts):
            assert secret not in "".join(shown)


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a server's certificate and ours, each ``NAME.pem`` with ``NAME.key``."""
    here = tmp_path_factory.mktemp("pki")
    new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"]

    def openssl(*arguments: str) -> None:
        command = ["openssl", "req", "-x509", *new, *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=30, cwd=here)

    openssl("-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.pem")
    signed = ["-CA", "ca.pem", "-CAkey", "ca.key", "-addext", "subjectAltName=IP:127.0.0.1"]
    signed += ["-addext", "basicConstraints=critical,CA:FALSE"]
    for name in ("server", "client"):
        openssl("-subj", f"/O={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem", *signed)
    ours = (here / "client.pem", here / "client.key", here / "ca.pem")
    (here / "ours.pem").write_bytes(b"".join(part.read_bytes() for part in ours))
    return here


class TlsEtcdServer(EtcdServer):
    """Speaks TLS only; with *client_certificates*, to those whom the authority has signed."""

    def __init__(self, directory: Path, pki: Path, *, client_certificates: bool) -> None:
        self.pki = pki
        options = [f"--cert-file={pki / 'server.pem'}", f"--key-file={pki / 'server.key'}"]
        if client_certificates:
            options += ["--client-cert-auth", f"--trusted-ca-file={pki / 'ca.pem'}"]
        super().__init__(directory, options=options)

    @property
    def endpoint(self) -> str:
        return super().endpoint.replace("http:", "https:")

    def probe(self) -> bool:
        context = ssl.create_default_context(cafile=str(self.pki / "ca.pem"))
        context.load_cert_chain(self.pki / "ours.pem")

        url = f"{self.endpoint}/health"
        try:
            answer = httpx.get(url, timeout=1.0, trust_env=False, verify=context)
        except httpx.TransportError:
            return False
        return answer.status_code == httpx.codes.OK


@pytest.mark.parametrize("mutual", [False, True])
def test_tls(mutual: bool, etcd: EtcdServer, pki: Path, tmp_path: Path) -> None:
    with TlsEtcdServer(tmp_path / "tls", pki, client_certificates=mutual) as server:

        def client(certificate: str) -> ConfigDatabase:
            return from_environment(
                {
                    "SDP_CONFIG_PROTOCOL": "https",
                    "SDP_CONFIG_PORT": str(server.port),
                    "SDP_CONFIG_CERT": certificate and str(pki / certificate),
                }
            )

        async def check() -> None:
            async with (
                client("ours.pem" if mutual else "ca.pem") as database,
                database.watch(PATH) as watch,
            ):
                await database.put(f"{PATH}/a", "1")
                await reaches(watch, lambda view: contents(view) == {"a": b"1"})
            async with client("") as database:
                with pytest.raises(EndpointError, match="certificate verify failed"):
                    await database.get(PATH)
            if mutual:
                async with client("ca.pem") as database:
                    with pytest.raises(EndpointError, match="certificate"):
                        await database.get(PATH)

        trio.run(check)
