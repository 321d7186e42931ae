"""The configuration database is lost while data flow."""

from __future__ import annotations

import json
import time

from tests.faults.guarantees import endure
from tests.faults.rig import Rig, eventually
from tests.services.etcd import EtcdServer

PATH = "/component/lmc-queueconnector-01/owner"


class WatchedRig(Rig):
    """A rig whose connector has its groups from etcd."""

    def __init__(self, servers: str, etcd: EtcdServer) -> None:
        environment = {
            "SDP_CONFIG_BACKEND": "etcd3",
            "SDP_CONFIG_HOST": etcd.host,
            "SDP_CONFIG_PORT": str(etcd.port),
        }
        super().__init__(servers, environment=environment, arguments=["--config-path", PATH])
        self._etcd = etcd

    def prepare(self) -> None:
        super().prepare()
        for route in self.routes:
            self.write(route.name)

    def write(self, group: str) -> None:
        text = json.dumps({"exchanges": self.connector.configuration["exchanges"][group]})
        self._etcd.etcdctl("put", f"{PATH.count('/') + 1}{PATH}/{group}", stdin=text)


def test_database_lost(etcd, kafka, publish):
    with WatchedRig(kafka.bootstrap_servers, etcd) as rig:

        def hurt() -> None:
            etcd.kill()
            eventually(lambda: not rig.connector.proxy().IsMonitoringDB(), rig.report)
            rig.await_flow(time.time())  # no stream waits for the database
            etcd.start()
            eventually(lambda: rig.connector.proxy().IsMonitoringDB(), rig.report)

        publish(endure(rig, "configuration database killed and started", hurt))


def test_database_frozen(etcd, kafka, publish):
    with WatchedRig(kafka.bootstrap_servers, etcd) as rig:

        def hurt() -> None:
            etcd.freeze()
            try:
                eventually(lambda: not rig.connector.proxy().IsMonitoringDB(), rig.report)
                rig.await_flow(time.time())
                rig.connector.proxy().State()
            finally:
                etcd.thaw()
            eventually(lambda: rig.connector.proxy().IsMonitoringDB(), rig.report)

        publish(endure(rig, "configuration database stopped and continued (SIGSTOP)", hurt))
