"""Write data to an attribute of another device, one write for each datum.

* start     connects to nothing: a device that is away is awaited when there is something to write
* values    are cast to the attribute's own type where that keeps them, and refused otherwise; the
            attribute's lengths are the largest that go into it
* delivery  a datum is delivered when the device has taken it. After a connection was lost in the
            middle of a write, the value is written again: the device may get it twice
* outages   waited out for as long as it takes, with a pause of up to `RETRY_MOST` seconds between
            two tries; cancelling is the way out. A device is asked for a sign of life before Tango
            calls it, without a thread
* slow      a device that lives and says nothing within the timeout is written to again, with twice
            the time up to `LONGEST_WAIT`, and what sufficed holds for what comes after. After so
            many tries the datum is refused, as the error policy says: the device may have it
* thread    one hop for each batch
* errors    `ConformError` for a value that does not fit the attribute, `RefusedError` for one that
            the device refuses. Tango's devices refuse NaN and infinities by default
"""

from __future__ import annotations

from typing import Any

import numpy as np
import trio
from tango import CmdArgType

from ...model.datatypes import Data, DataSpec
from ...model.delivery import Delivery
from ...model.errors import ConformError, DataError, EndpointError, untraced
from ...model.services import Services
from ...model.stream import DataSink
from ...runtime.backoff import Backoff
from ...runtime.worker import Worker, check_cancelled
from .client import thread_context
from .directory import Directory
from .locate import DeviceName, reach
from .remote_attribute import NoAnswerError, RefusedError, RemoteAttribute
from .remote_attribute_sink import LONGEST_WAIT, TangoRemoteAttributeSinkDescriptor
from .types import fit, tango_type, wire

RETRY_FIRST = 0.25
RETRY_MOST = 4.0
"""Seconds between two tries to reach the device: the first pause, doubled up to the longest."""

_CARRIED = (
    "str", "bytes", "bool", "uint8", "uint16", "uint32", "uint64", "int16", "int32", "int64",
    "float32", "float64",
)  # fmt: skip
_DTYPES = {tango_type(DataSpec(name)): name for name in _CARRIED}
_DTYPES["DevEnum"] = "int16"


class TangoRemoteAttributeSink(DataSink):
    """Runtime side of `TangoRemoteAttributeSinkDescriptor`."""

    def __init__(self, descriptor: TangoRemoteAttributeSinkDescriptor, services: Services) -> None:
        self._name = f"{descriptor.device_name}/{descriptor.attribute_name}"
        self._device = descriptor.device_name
        self._tries = descriptor.tries
        self._timeout = descriptor.timeout
        self._attribute = RemoteAttribute(
            descriptor.device_name, descriptor.attribute_name, descriptor.timeout
        )
        self._directory = Directory()
        self._worker = Worker(thread_context)
        self._log = services.log
        self._exchange = services.exchange
        self._condition = services.condition
        self._trouble = ""

    async def start(self) -> None:
        """Do nothing: the first write connects."""
        await trio.lowlevel.checkpoint()

    async def stop(self) -> None:
        """Forget the connection."""
        await self._worker.run(self._attribute.close)
        self._condition.closed()

    async def awrite_batch(self, delivery: Delivery) -> None:
        """Write all values in order; waits for a device that is away."""
        backoff, done, unanswered = Backoff(RETRY_FIRST, RETRY_MOST), 0, 0
        while done < len(delivery.values):
            before = done
            trouble: EndpointError | None = None
            try:
                if not self._attribute.is_connected:
                    await self._reach()
                    if unanswered:  # it lives
                        done = self._after_silence(delivery, done, unanswered)
                done, trouble = await self._worker.run(self._write, delivery, done)
            except EndpointError as error:
                trouble = error
            if done > before:
                unanswered = 0
                backoff.reset()
            if trouble is None:
                continue
            unanswered += isinstance(trouble, NoAnswerError)
            self._say(trouble)
            await trio.sleep(backoff.next())
        self._say(None)

    async def _reach(self) -> None:
        """Return if the device's server answers."""
        self._directory.forget(self._device)
        address = await self._directory.find(self._device)
        await reach(address, DeviceName.parse(self._device).device)

    def _after_silence(self, delivery: Delivery, index: int, unanswered: int) -> int:
        """Give the device more time for a value, or give the value up; which is to be written."""
        waited = self._attribute.timeout
        if unanswered < self._tries:
            self._attribute.timeout = min(2 * waited, max(self._timeout, LONGEST_WAIT))
            return index
        self._attribute.timeout = self._timeout
        told = f"it said nothing to {unanswered} tries, of {waited:g} s in the end, and may have it"
        delivery.refuse(index, RefusedError(self._name, told))
        return index + 1

    def _write(self, delivery: Delivery, first: int) -> tuple[int, EndpointError | None]:
        """In the worker thread: how far it came, and what is in the way of the rest."""
        for index in range(first, len(delivery.values)):
            check_cancelled()
            try:
                self._attribute.write(self._fit(delivery.values[index]))
            except EndpointError as error:
                return index, error
            except DataError as error:
                delivery.refuse(index, untraced(error))
            else:
                delivery.accept(index)
        return len(delivery.values), None

    def _fit(self, value: Data) -> Any:
        """The value in the form that the attribute takes, as it is described now."""
        info = self._attribute.describe()
        kind = str(CmdArgType.values.get(int(info.data_type), info.data_type))
        dtype = _DTYPES.get(kind)
        if dtype is None:
            raise RefusedError(self._name, f"it is of the type {kind}, which is not supported")
        lengths = (info.max_dim_y, info.max_dim_x)[2 - int(info.data_format) :]
        spec = DataSpec(dtype, lengths)
        dimensions = value.ndim if isinstance(value, np.ndarray) else 0
        if dimensions != len(lengths):  # nothing is broadcast to an attribute's largest lengths
            found = f"a value of {dimensions} dimensions"
            raise ConformError(spec, found, f"{self._name} is of the format {info.data_format}")
        return wire(fit(value, spec))

    def _say(self, trouble: EndpointError | None) -> None:
        """Tell what is in the way, in the log once for each change of it."""
        if trouble is None:
            self._condition.is_well()
        else:
            self._condition.waits(f"the device of {self._name}", str(trouble))
        reason = trouble.reason if trouble is not None else ""
        if reason == self._trouble:
            return
        self._trouble = reason
        if reason:
            self._log.warning("%s: %s: %s", self._exchange, self._name, reason)
        else:
            self._log.info("%s: %s: written again", self._exchange, self._name)
