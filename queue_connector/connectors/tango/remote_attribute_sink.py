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

from collections.abc import Hashable, Iterable, Iterator
from typing import Any

import attrs
import numpy as np
import trio
from tango import CmdArgType

from ...model.datatypes import Data, DataSpec
from ...model.delivery import Delivery
from ...model.endpoints import SinkDescriptor, sinks
from ...model.errors import ConformError, DataError, EndpointError, Fault, untraced
from ...model.option import option
from ...model.probe import Probe
from ...model.services import Place, Services
from ...model.stream import DataSink
from ...runtime.backoff import Backoff
from ...runtime.worker import Worker, check_cancelled
from .client import thread_context
from .directory import Directory
from .locate import DeviceName, reach
from .probing import probe_attribute
from .remote_attribute import NoAnswerError, RefusedError, RemoteAttribute
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

WRITE_TIMEOUT = 3.0
"""Seconds that a device has to take a value, which is Tango's own default."""

LONGEST_WAIT = 12.0
"""Seconds up to which that grows; a stop may have to wait for so long."""

WRITE_TRIES = 4
"""How often a value is written to a device that lives and does not say that it has it."""

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
    timeout: float = option(
        default=WRITE_TIMEOUT,
        gt=0.0,
        unit="s",
        doc="How long the device has to take a value. It has twice as long with each further try, "
        f"up to {LONGEST_WAIT:g} s.",
    )
    tries: int = option(
        default=WRITE_TRIES,
        ge=1,
        doc="How often a value is written to a device that lives and gives no answer in time, "
        "before it is given up as a bad datum. A device that is away is waited for.",
    )

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

    def probe(self) -> Iterator[Probe]:
        """Whether the device answers, and has an attribute that can be written."""
        yield from probe_attribute(self.device_name, self.attribute_name, None)

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
