"""The device of `propertied`, which a client asks for ``Init`` before its server has started."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import tango
from tango.test_context import get_server_host_port

from tests.device.propertied import Propertied
from tests.device.servers import DEVICE, serve


def ask_for_init() -> None:
    port = get_server_host_port()[1]
    with tango.EnsureOmniThread():
        tango.DeviceProxy(f"tango://127.0.0.1:{port}/{DEVICE}#dbase=no").command_inout("Init")


class AskedEarly(Propertied):
    def server_init_hook(self) -> None:
        assert tango.Util.instance().is_svr_starting()
        with ThreadPoolExecutor() as pool:
            pool.submit(ask_for_init).result()
        super().server_init_hook()


if __name__ == "__main__":
    serve(AskedEarly, DEVICE)
