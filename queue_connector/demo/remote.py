"""The dishes and the connector as the demonstration sees them: commands and counts over Tango.

Each has a worker thread of its own, in which all devices of it are asked in one go.

* errors    `DemoError` when a device refuses or does not answer; `connected` waits for it instead
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, TypeVar, TypeVarTuple

import tango
import trio
from trio_util import periodic

from ..runtime.worker import Worker
from .children import Child, DemoError
from .routes import Dish, device_address

TIMEOUT = 3000  # ms for an answer

T = TypeVar("T")
Args = TypeVarTuple("Args")


async def refused(child: Child, error: tango.DevFailed) -> DemoError:
    """What to raise when Tango fails; waits a moment, since a process that died says so itself."""
    await trio.sleep(1)
    return child.trouble(f"refuses or does not answer: {error.args[0].desc.strip()}")


class Remote:
    """Devices of one server, which is a child process."""

    def __init__(self, child: Child, addresses: Sequence[str]) -> None:
        self._child = child
        self._addresses = addresses
        self._worker = Worker(tango.EnsureOmniThread)
        self._proxies: list[Any] = []

    async def connected(self) -> None:
        """Wait until the server answers."""
        async for _ in periodic(0.05):
            try:
                await self._worker.run(self._connect)
            except tango.DevFailed:
                continue
            return

    def _connect(self) -> None:
        proxies = [tango.DeviceProxy(address) for address in self._addresses]
        for proxy in proxies:
            proxy.set_timeout_millis(TIMEOUT)
            proxy.ping()
        self._proxies = proxies

    async def _ask(self, function: Callable[[*Args], T], *args: *Args) -> T:
        try:
            return await self._worker.run(function, *args)
        except tango.DevFailed as error:
            raise await refused(self._child, error) from None

    async def command(self, name: str) -> None:
        """Give every device a command."""
        await self._ask(self._command, name)

    def _command(self, name: str) -> None:
        for proxy in self._proxies:
            proxy.command_inout(name)

    async def read(self, *names: str) -> list[list[Any]]:
        """The values of attributes, by device."""
        return await self._ask(self._read, names)

    def _read(self, names: Sequence[str]) -> list[list[Any]]:
        return [
            [reading.value for reading in proxy.read_attributes(list(names))]
            for proxy in self._proxies
        ]


class Dishes(Remote):
    """The simulated dishes."""

    def __init__(self, child: Child, port: int, dishes: Sequence[Dish]) -> None:
        super().__init__(child, [device_address(port, dish.device) for dish in dishes])

    async def counts(self) -> list[tuple[int, int]]:
        """Events pushed and values read, by dish."""
        found = await self.read("eventsPushed", "valuesRead")
        return [(int(pushed), int(read)) for pushed, read in found]


class Connector(Remote):
    """The connector's device."""

    def __init__(self, child: Child, address: str) -> None:
        super().__init__(child, [address])
        self.address = address

    async def report(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """The state and the fault of each group, and the ledger of each exchange."""
        [[groups, statistics]] = await self.read("groups", "statistics")
        return json.loads(groups), json.loads(statistics)
