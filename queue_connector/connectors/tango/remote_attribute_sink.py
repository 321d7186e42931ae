"""Write data to an attribute of another device, one write for each datum.

* start     connects to nothing: a device that is away is awaited when there is something to write
* values    are cast to the attribute's own type where that keeps them, and refused otherwise; the
            attribute's lengths are the largest that go into it
* delivery  a datum is delivered when the device has taken it. After a connection was lost in the
            middle of a write, the value is written again: the device may get it twice
* outages   waited out for as long as it takes, with a pause of up to `RETRY_MOST` seconds between
            two tries; cancelling is the way out
* thread    one hop for each batch
* errors    `ConformError` for a value that does not fit the attribute, `RefusedError` for one that
            the device refuses. Tango's devices refuse NaN and infinities by default
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import attrs
import numpy as np
import trio
from tango import CmdArgType

from ...backoff import Backoff
from ...bridge import Worker, check_cancelled
from ...datatypes import Data, DataSpec
from ...descriptors import Place, Services, SinkDescriptor, option, sinks
from ...errors import ConformError, DataError, EndpointError, Fault
from ...stream import DataSink, Delivery
from .client import RefusedError, RemoteAttribute, thread_context
from .types import (
    TANGO_KINDS,
    attribute_name_faults,
    attribute_place,
    device_name_faults,
    fit,
    tango_type,
    type_faults,
    wire,
)

RETRY_FIRST = 0.25
RETRY_MOST = 4.0
"""Seconds between two tries to reach the device: the first pause, doubled up to the longest."""

_CARRIED = (
    "str", "bytes", "bool", "uint8", "uint16", "uint32", "uint64", "int16", "int32", "int64",
    "float32", "float64",
)  # fmt: skip
_DTYPES = {int(tango_type(DataSpec(name))): name for name in _CARRIED}
_DTYPES[int(CmdArgType.DevEnum)] = "int16"


@sinks.register("TangoRemoteAttributeSink")
@attrs.frozen(kw_only=True)
class TangoRemoteAttributeSinkDescriptor(SinkDescriptor):
    """Writes data to an attribute of another Tango device."""

    kinds = TANGO_KINDS
    dynamic_shapes = False
    max_dimensions = 2

    device_name: str = option(
        doc="The device: domain/family/member, or tango://host:port/domain/family/member#dbase=no."
    )
    attribute_name: str = option(doc="The attribute that is written.")

    @property
    def place(self) -> Place:
        """The attribute of the device, by the name that is written."""
        return attribute_place(self.device_name, self.attribute_name)

    def faults(self, spec: DataSpec) -> Iterator[Fault]:
        """What does not fit: kinds, dimensions, names."""
        yield from super().faults(spec)
        yield from type_faults(spec)
        yield from device_name_faults(self.device_name)
        yield from attribute_name_faults(self.attribute_name)

    def writes(self) -> Iterable[Hashable]:
        """The attribute, whatever device it is of."""
        return [("attribute", self.attribute_name.lower())]

    def build(self, spec: DataSpec, services: Services) -> TangoRemoteAttributeSink:
        """The sink, not started."""
        return TangoRemoteAttributeSink(self, services)


class TangoRemoteAttributeSink(DataSink):
    """Runtime side of `TangoRemoteAttributeSinkDescriptor`."""

    def __init__(self, descriptor: TangoRemoteAttributeSinkDescriptor, services: Services) -> None:
        self._name = f"{descriptor.device_name}/{descriptor.attribute_name}"
        self._attribute = RemoteAttribute(descriptor.device_name, descriptor.attribute_name)
        self._worker = Worker(thread_context)
        self._log = services.log
        self._exchange = services.exchange
        self._trouble = ""

    async def start(self) -> None:
        """Do nothing: the first write connects."""
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """Forget the connection."""
        await self._worker.run(self._attribute.close)

    async def awrite(self, value: Data) -> None:
        """Write one value; on return the device has taken it."""
        delivery = Delivery([value])
        await self.awrite_batch(delivery)
        for error in delivery.refused.values():
            raise error

    async def awrite_batch(self, delivery: Delivery) -> None:
        """Write all values in order; waits for a device that is away."""
        backoff, done = Backoff(RETRY_FIRST, RETRY_MOST), 0
        while True:
            before = done
            done, trouble = await self._worker.run(self._write, delivery, done)
            if trouble is None:
                self._say("")
                return
            self._say(trouble)
            if done > before:
                backoff.reset()
            await trio.sleep(backoff.next())

    def _write(self, delivery: Delivery, first: int) -> tuple[int, str | None]:
        """In the worker thread: how far it came, and what is in the way of the rest."""
        for index in range(first, len(delivery.values)):
            check_cancelled()
            try:
                self._attribute.write(self._fit(delivery.values[index]))
            except EndpointError as error:
                return index, error.reason
            except DataError as error:
                delivery.refuse(index, error)
            else:
                delivery.accept(index)
        return len(delivery.values), None

    def _fit(self, value: Data) -> Any:
        """The value in the form that the attribute takes, as it is described now."""
        info = self._attribute.describe()
        dtype = _DTYPES.get(int(info.data_type))
        if dtype is None:
            kind = CmdArgType.values.get(int(info.data_type), info.data_type)
            raise RefusedError(self._name, f"it is of the type {kind}, which is not supported")
        lengths = (info.max_dim_y, info.max_dim_x)[2 - int(info.data_format) :]
        spec = DataSpec(dtype, lengths)
        dimensions = value.ndim if isinstance(value, np.ndarray) else 0
        if dimensions != len(lengths):  # nothing is broadcast to an attribute's largest lengths
            found = f"a value of {dimensions} dimensions"
            raise ConformError(spec, found, f"{self._name} is of the format {info.data_format}")
        return wire(fit(value, spec))

    def _say(self, trouble: str) -> None:
        """Log what is in the way, once for each change of it."""
        if trouble == self._trouble:
            return
        self._trouble = trouble
        if trouble:
            self._log.warning("%s: %s: %s", self._exchange, self._name, trouble)
        else:
            self._log.info("%s: %s: written again", self._exchange, self._name)
