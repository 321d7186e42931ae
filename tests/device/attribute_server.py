"""A small device around `DynamicAttributes`: a Trio thread, a lane, and nothing else.

``Do`` takes ``("define", owner, wanted)``, ``("publish", values)``, ``("owners",)``,
``("refuse_removals", n)``: have Tango refuse the next n, or ``("churn", names, seconds)``: remove
and add attributes for so long. Each answers None or the text of an error.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any, ClassVar

import psutil
import tango
import trio
from tango import AutoTangoAllowThreads
from tango.server import Device, attribute, command

from queue_connector.connectors.tango.attributes import DynamicAttributes, lane_context
from queue_connector.connectors.tango.local_attribute_sink import TangoLocalAttributeSinkDescriptor
from queue_connector.connectors.tango.object_adapter import object_adapter
from queue_connector.model.datatypes import DataSpec
from queue_connector.model.delivery import Delivery
from queue_connector.model.errors import QueueConnectorError
from queue_connector.model.services import PublishedAttribute, Services
from queue_connector.runtime.lane import Lane
from queue_connector.runtime.loop import LoopStoppedError, TrioThread
from tests.device.servers import DEVICE, pack, serve, unpack


class AttributeServer(Device):
    _before: ClassVar[dict[str, DynamicAttributes]] = {}
    _attributes: DynamicAttributes | None = None
    _refusals = 0

    @attribute(dtype=float)
    def fixed(self) -> float:
        return 1.0

    def init_device(self) -> None:
        super().init_device()
        self.set_state(tango.DevState.ON)
        name = self.get_name().lower()
        if self._attributes is None:
            self._attributes = DynamicAttributes(self)
            if name in self._before:  # DevRestart made a new device object
                self._attributes.adopt_now(self._before[name])
            self._before[name] = self._attributes
        self._loop = TrioThread(
            self._main, context=tango.EnsureOmniThread, on_crash=lambda error: print(repr(error))
        )
        self._loop.start()

    async def _main(self, ready: Callable[[], None], stopping: trio.Event) -> None:
        async with Lane("tango", lane_context) as lane:
            self._attributes.use(lane)
            try:
                ready()
                await stopping.wait()
            finally:
                self._attributes.use(None)

    def delete_device(self) -> None:
        with AutoTangoAllowThreads(self):
            if not self._loop.stop(10.0):
                print("the loop did not stop", flush=True)
        super().delete_device()

    def remove_attribute(self, *args: Any, **options: Any) -> None:
        if self._refusals:
            self._refusals -= 1
            tango.Except.throw_exception("API_Test", "not now", "remove_attribute")
        super().remove_attribute(*args, **options)

    def dev_state(self) -> Any:
        return self.get_state()

    @command(dtype_in=str, dtype_out=str)
    def Do(self, message: str) -> str:
        try:
            with AutoTangoAllowThreads(self):
                return pack(self._loop.call(self._do, unpack(message)))
        except (QueueConnectorError, LoopStoppedError) as error:
            return pack(str(error))

    async def _do(self, message: Any) -> Any:
        attributes = self._attributes
        match message:
            case ("define", owner, wanted):
                await attributes.define(owner, wanted)
            case ("publish", values):
                await attributes.publish(values)
            case ("refuse_removals", count):
                self._refusals = count
            case ("hold", seconds):
                return await attributes._do(self._hold, seconds)
            case ("owners",):
                return attributes.owners()
            case ("threads",):
                return threading.active_count(), psutil.Process().num_threads()
            case ("rss",):
                return psutil.Process().memory_info().rss
            case ("bench", name, value, count, size):
                return await self._bench(name, value, count, size)
            case ("churn", names, seconds):
                return await self._churn(names, seconds)
        return None

    def _hold(self, seconds: float) -> tuple[float, float]:
        """Hold the requests of clients; the times between which none is answered."""
        with tango.AutoTangoMonitor(self), object_adapter().requests_held():
            began = time.monotonic()
            time.sleep(seconds)
            return began, time.monotonic()

    async def _bench(self, name: str, value: Any, count: int, size: int) -> float:
        """Values per second through the local attribute sink, in batches of a size."""
        spec = next(a.spec for group in self._attributes.owners().values() for a in group)
        descriptor = TangoLocalAttributeSinkDescriptor(attribute_name=name)
        async with descriptor.build(spec, Services(attributes=self._attributes)) as sink:
            started = time.perf_counter()
            for _ in range(count // size):
                await sink.awrite_batch(Delivery([value] * size))
            return count / (time.perf_counter() - started)

    async def _churn(self, names: list[str], seconds: float) -> int:
        """Add, publish, change and remove attributes as fast as it goes."""
        count, end = 0, time.monotonic() + seconds
        while time.monotonic() < end:
            for spec, value in (
                (DataSpec("float64", (4,)), [float(count)] * 4),
                (DataSpec("str"), f"text {count}"),
                (DataSpec("int32", (2, 2)), [[count] * 2] * 2),
            ):
                wanted = [PublishedAttribute(name, spec, _ready(value, spec)) for name in names]
                await self._attributes.define("churn", wanted)
                await self._attributes.publish([(w.name, w.default) for w in wanted])
                count += 1
            await self._attributes.define("churn", [])
        return count


def _ready(value: Any, spec: DataSpec) -> Any:
    from queue_connector.connectors.tango.types import fit

    return fit(value, spec)


if __name__ == "__main__":
    serve(AttributeServer, DEVICE, DEVICE.replace("01", "02"))
